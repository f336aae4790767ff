/// A systemd unit file as text: sections of assignments, in the order of the file (systemd.syntax(7)).
public struct UnitFile: Sendable, Equatable {
    public struct Assignment: Sendable, Equatable {
        public let section: String
        public let key: String
        public let value: String

        public init(section: String, key: String, value: String) {
            self.section = section
            self.key = key
            self.value = value
        }
    }

    public let assignments: [Assignment]

    /// Bytes of the longest unit file that is read; systemd's own limit on a line is 1 MiB.
    public static let maximumSize = 1 << 20

    /// Reads a file. Lines that are no assignment are passed over, as systemd does.
    ///
    /// - Throws: when the file is longer than `maximumSize` or is not text.
    public init(_ bytes: [UInt8], name: String) throws(ExposureError) {
        guard bytes.count <= Self.maximumSize else {
            throw ExposureError("\(name) is longer than \(Self.maximumSize) bytes, which no unit file is")
        }
        guard !bytes.contains(0) else { throw ExposureError("\(name) is no unit file: it contains a zero byte") }
        var section = ""
        var found: [Assignment] = []
        for line in Self.logicalLines(String(decoding: bytes, as: UTF8.self)) {
            if line.hasPrefix("["), line.hasSuffix("]") {
                section = String(line.dropFirst().dropLast())
                continue
            }
            guard let equals = line.utf8.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = trimmed(line[..<equals])
            let value = trimmed(line[line.utf8.index(after: equals)...])
            found.append(Assignment(section: section, key: String(key), value: String(value)))
        }
        assignments = found
    }

    /// Lines with those that end in a backslash joined by a space; comments, also between joined lines, are gone.
    private static func logicalLines(_ text: String) -> [String] {
        var lines: [String] = []
        var continued = ""
        var isContinued = false
        let body = text.hasPrefix("\u{FEFF}") ? text.dropFirst() : Substring(text)
        for raw in body.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let line = trimmed(raw)
            if let first = line.first, first == "#" || first == ";" { continue }
            let joined = isContinued ? continued + String(raw) : String(raw)
            if endsInOpenBackslash(raw) {
                continued = String(joined.dropLast()) + " "
                isContinued = true
                continue
            }
            isContinued = false
            let whole = trimmed(Substring(joined))
            if !whole.isEmpty { lines.append(String(whole)) }
        }
        if isContinued {
            let whole = trimmed(Substring(continued))
            if !whole.isEmpty { lines.append(String(whole)) }
        }
        return lines
    }

    /// An even number of backslashes is so many halves of escaped ones.
    private static func endsInOpenBackslash(_ line: Substring) -> Bool {
        line.utf8.reversed().prefix { $0 == UInt8(ascii: "\\") }.count % 2 == 1
    }
}

/// A text without white space at its ends.
func trimmed(_ text: Substring) -> Substring {
    var text = text
    while let first = text.utf8.first, first == 0x20 || first == 0x09 || first == 0x0D { text = text.dropFirst() }
    while let last = text.utf8.last, last == 0x20 || last == 0x09 || last == 0x0D { text = text.dropLast() }
    return text
}

/// Words of a value, with quotes taken off.
func words(_ value: String) -> [String] {
    var result: [String] = []
    var current = ""
    var quote: Character?
    var inWord = false
    for character in value {
        if let open = quote {
            if character == open { quote = nil } else { current.append(character) }
        } else if character == "\"" || character == "'" {
            quote = character
            inWord = true
        } else if character == " " || character == "\t" || character == "\n" {
            if inWord { result.append(current) }
            current = ""
            inWord = false
        } else {
            current.append(character)
            inWord = true
        }
    }
    if inWord { result.append(current) }
    return result
}
