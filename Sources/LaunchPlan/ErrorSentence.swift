/// What a user is told of a failure: the words of a configuration come along in it, and those may be anything.
public enum ErrorSentence {
    /// Characters of a line for a user.
    static let limit = 1000

    /// One line that no terminal obeys, of bounded length.
    public static func of(_ text: String) -> String {
        var line = ""
        for scalar in shortened(text, to: limit).unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7f..<0xa0, 0x200b...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff: line += scalar.escaped(asASCII: true)
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    /// What is longer loses its middle: the beginning says what was being done, the end why it failed.
    static func shortened(_ text: String, to limit: Int) -> String {
        let scalars = text.unicodeScalars
        if scalars.count <= limit { return text }
        let (first, last) = (String(scalars.prefix(limit / 2)), String(scalars.suffix(limit / 2)))
        return "\(first)… (\(scalars.count - limit) characters left out) …\(last)"
    }
}
