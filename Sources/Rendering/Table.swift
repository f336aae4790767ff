/// Text in columns, laid out as Docker's listings are: at least ten wide, three spaces between, the last one as it comes.
public enum Table {
    private static let minimumWidth = 10
    private static let padding = 3

    /// Lays out rows of cells; every row ends with a newline.
    public static func layOut(_ rows: [[String]]) -> String {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.dropLast().enumerated() {
                if column == widths.count { widths.append(minimumWidth) }
                widths[column] = max(widths[column], columns(of: cell) + padding)
            }
        }
        var text = ""
        for row in rows {
            for (column, cell) in row.enumerated() {
                text += cell
                if column < row.count - 1 { text += String(repeating: " ", count: widths[column] - columns(of: cell)) }
            }
            text += "\n"
        }
        return text
    }

    /// The cells a terminal needs for a text: East Asian wide characters and emoji take two.
    static func columns(of text: String) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        return text.reduce(0) { $0 + (isWide($1) ? 2 : 1) }
    }

    private static func isWide(_ character: Character) -> Bool {
        guard let scalar = character.unicodeScalars.first else { return false }
        switch scalar.value {
        case 0x1100...0x115f, 0x2e80...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60,
            0xffe0...0xffe6, 0x1f300...0x1faff, 0x20000...0x3fffd:
            return true
        default: return false
        }
    }
}
