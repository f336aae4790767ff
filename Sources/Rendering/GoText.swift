/// Go's syntax for strings, characters and numbers (strconv).
enum GoText {
    /// `%q`: the string as a Go literal.
    static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{07}": result += "\\a"
            case "\u{08}": result += "\\b"
            case "\u{0b}": result += "\\v"
            case "\u{0c}": result += "\\f"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f: result += "\\x" + hex(scalar.value, width: 2)
            case _ where (0x80..<0xa0).contains(scalar.value): result += "\\u" + hex(scalar.value, width: 4)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// `%#U`, as the lexer's messages show a character: `U+0040 '@'`.
    static func describe(_ scalar: Unicode.Scalar) -> String {
        "U+" + hex(scalar.value, width: 4).uppercased() + " '\(HumanUnits.printable(String(scalar)))'"
    }

    static func hex(_ value: some BinaryInteger, width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    /// The text of a Go string, raw string or character literal; nil when it is not one.
    static func unquote(_ literal: String) -> String? {
        let body = literal.dropFirst().dropLast()
        guard let mark = literal.first, literal.count >= 2 else { return nil }
        // Go drops carriage returns from raw strings.
        if mark == "`" { return String(String.UnicodeScalarView(body.unicodeScalars.filter { $0 != "\r" })) }
        var bytes: [UInt8] = []
        var rest = Array(body.unicodeScalars)[...]
        while let scalar = rest.popFirst() {
            guard scalar == "\\" else {
                bytes.append(contentsOf: String(scalar).utf8)
                continue
            }
            guard let escape = rest.popFirst() else { return nil }
            if let simple = simpleEscapes[escape] {
                bytes.append(simple)
            } else if let digits = hexEscapes[escape] {
                guard let value = UInt32(text(rest.prefix(digits)), radix: 16), rest.count >= digits else { return nil }
                rest = rest.dropFirst(digits)
                if escape == "x" {
                    bytes.append(UInt8(truncatingIfNeeded: value))
                } else {
                    guard let character = Unicode.Scalar(value) else { return nil }
                    bytes.append(contentsOf: String(character).utf8)
                }
            } else if ("0"..."7").contains(escape), let value = UInt8(text([escape] + rest.prefix(2)), radix: 8) {
                rest = rest.dropFirst(2)
                bytes.append(value)
            } else {
                return nil
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let hexEscapes: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]
    private static let simpleEscapes: [Unicode.Scalar: UInt8] = [
        "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, "\"": 34,
    ]

    private static func text(_ scalars: some Sequence<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    /// A Go number literal: decimal, hexadecimal, octal or binary, or a float.
    static func number(_ literal: String) -> TemplateValue? {
        var text = Substring(literal.lowercased().filter { $0 != "_" })
        var isNegative = false
        if let sign = text.first, sign == "+" || sign == "-" {
            isNegative = sign == "-"
            text = text.dropFirst()
        }
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where text.hasPrefix(prefix) {
            return Int64((isNegative ? "-" : "") + text.dropFirst(2), radix: radix).map(TemplateValue.int)
        }
        if text.count > 1, text.first == "0", text.allSatisfy({ ("0"..."7").contains($0) }) {
            return Int64((isNegative ? "-" : "") + text, radix: 8).map(TemplateValue.int)
        }
        if let integer = Int64((isNegative ? "-" : "") + text) { return .int(integer) }
        guard text.first?.isNumber == true || text.first == ".", let number = Double(String(text)) else { return nil }
        return .float(isNegative ? -number : number)
    }
}
