/// One token inside or outside of an action.
struct TemplateToken: Sendable {
    enum Kind: Sendable, Equatable {
        case text, leftDelimiter, rightDelimiter, end
        case space, dot, pipe, comma, leftParenthesis, rightParenthesis, declare, assign
        case field, variable, identifier, keyword, bool, `nil`, number, string, rawString, character
    }

    let kind: Kind
    let text: String
    /// Bytes before the token.
    let position: Int
    let line: Int
}

/// Splits a template into tokens, by the rules of Go's text/template.
struct TemplateLexer {
    let bytes: [UInt8]
    private let escapesInText: Bool
    private var position = 0
    private var line = 1
    private var parenthesisDepth = 0
    private var result: [TemplateToken] = []

    static let keywords: Set<String> = [
        "if", "else", "end", "range", "with", "break", "continue", "define", "template", "block",
    ]

    init(_ source: String, escapesInText: Bool) {
        bytes = Array(source.utf8)
        self.escapesInText = escapesInText
    }

    mutating func tokens() throws(TemplateError) -> [TemplateToken] {
        var trimsNext = false
        while position < bytes.count {
            let open = find("{{", from: position)
            try text(until: open ?? bytes.count, trimsStart: trimsNext)
            trimsNext = false
            guard open != nil else { break }
            trimsNext = try action()
        }
        result.append(TemplateToken(kind: .end, text: "", position: position, line: line))
        return result
    }

    // MARK: Text

    private mutating func text(until end: Int, trimsStart: Bool) throws(TemplateError) {
        var range = position..<end
        if trimsStart { while range.lowerBound < end, isSpace(bytes[range.lowerBound]) { range = range.lowerBound + 1..<end } }
        let opensWithTrim =
            end + 3 < bytes.count && bytes[end + 2] == UInt8(ascii: "-") && isSpace(bytes[end + 3])
        if opensWithTrim {
            while range.upperBound > range.lowerBound, isSpace(bytes[range.upperBound - 1]) {
                range = range.lowerBound..<range.upperBound - 1
            }
        }
        if !range.isEmpty {
            var text = String(decoding: bytes[range], as: UTF8.self)
            if escapesInText { text = Self.unescapeTabsAndNewlines(text) }
            result.append(TemplateToken(kind: .text, text: text, position: range.lowerBound, line: line))
        }
        line += bytes[position..<end].count { $0 == 0x0a }
        position = end
    }

    private static func unescapeTabsAndNewlines(_ text: String) -> String {
        var result = ""
        var isEscaped = false
        for character in text {
            if isEscaped {
                isEscaped = false
                switch character {
                case "t": result += "\t"
                case "n": result += "\n"
                default:
                    result += "\\"
                    if character == "\\" { isEscaped = true } else { result.append(character) }
                }
            } else if character == "\\" {
                isEscaped = true
            } else {
                result.append(character)
            }
        }
        return isEscaped ? result + "\\" : result
    }

    // MARK: Actions

    /// Reads from `{{` to `}}`; true when the text behind it loses its leading white space.
    private mutating func action() throws(TemplateError) -> Bool {
        let start = position
        position += 2
        if peek() == UInt8(ascii: "-"), isSpace(peek(1)) { position += 2 }
        if hasPrefix("/*") { return try comment() }
        result.append(TemplateToken(kind: .leftDelimiter, text: "{{", position: start, line: line))
        parenthesisDepth = 0
        while true {
            if isSpace(peek()), peek(1) == UInt8(ascii: "-"), hasPrefix("}}", at: position + 2) {
                try close(length: 4)
                return true
            }
            if hasPrefix("}}") {
                try close(length: 2)
                return false
            }
            guard position < bytes.count else { throw .parsing(line: line, "unclosed action") }
            try token()
        }
    }

    private mutating func close(length: Int) throws(TemplateError) {
        guard parenthesisDepth == 0 else { throw .parsing(line: line, "unclosed left paren") }
        result.append(TemplateToken(kind: .rightDelimiter, text: "}}", position: position, line: line))
        position += length
    }

    private mutating func comment() throws(TemplateError) -> Bool {
        guard let end = find("*/", from: position) else { throw .parsing(line: line, "unclosed comment") }
        line += bytes[position..<end].count { $0 == 0x0a }
        position = end + 2
        let trims = isSpace(peek()) && peek(1) == UInt8(ascii: "-") && hasPrefix("}}", at: position + 2)
        guard trims || hasPrefix("}}") else { throw .parsing(line: line, "comment ends before closing delimiter") }
        position += trims ? 4 : 2
        return trims
    }

    private mutating func token() throws(TemplateError) {
        let start = position
        let byte = bytes[position]
        switch byte {
        case _ where isSpace(byte):
            while isSpace(peek()), !(peek(1) == UInt8(ascii: "-") && hasPrefix("}}", at: position + 2)) {
                if peek() == 0x0a { line += 1 }
                position += 1
            }
            append(.space, from: start)
        case UInt8(ascii: "|"): append(.pipe, length: 1)
        case UInt8(ascii: ","): append(.comma, length: 1)
        case UInt8(ascii: "="): append(.assign, length: 1)
        case UInt8(ascii: ":"):
            guard peek(1) == UInt8(ascii: "=") else { throw .parsing(line: line, "expected :=") }
            append(.declare, length: 2)
        case UInt8(ascii: "("):
            parenthesisDepth += 1
            append(.leftParenthesis, length: 1)
        case UInt8(ascii: ")"):
            parenthesisDepth -= 1
            guard parenthesisDepth >= 0 else { throw .parsing(line: line, "unexpected right paren") }
            append(.rightParenthesis, length: 1)
        case UInt8(ascii: "\""): try quoted(.string, end: byte, name: "quoted string")
        case UInt8(ascii: "'"): try quoted(.character, end: byte, name: "character constant")
        case UInt8(ascii: "`"): try quoted(.rawString, end: byte, name: "raw quoted string")
        case UInt8(ascii: "$"): try name(.variable)
        case UInt8(ascii: ".") where !isDigit(peek(1)):
            if isLetter(peek(1)) { try name(.field) } else { append(.dot, length: 1) }
        case _ where isDigit(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-"):
            while isDigit(peek()) || isLetter(peek()) || [UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-")].contains(peek()) {
                position += 1
            }
            append(.number, from: start)
        case _ where isLetter(byte): try name(.identifier)
        default:
            let rest = String(decoding: bytes[position...], as: UTF8.self)
            let scalar = rest.unicodeScalars.first.map { GoText.describe($0) } ?? ""
            throw .parsing(line: line, "unexpected \(scalar) in command")
        }
    }

    /// A field, variable, identifier or keyword: a name, and something that may follow one behind it.
    private mutating func name(_ kind: TemplateToken.Kind) throws(TemplateError) {
        let start = position
        if kind != .identifier { position += 1 }
        while isLetter(peek()) || isDigit(peek()) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        let next = peek()
        let mayFollow =
            position == bytes.count || isSpace(next) || hasPrefix("}}")
            || [".", ",", "|", ":", "=", "(", ")"].contains { (mark: Character) in mark.asciiValue == next }
        guard mayFollow else {
            let rest = String(decoding: bytes[position...], as: UTF8.self)
            let scalar = rest.unicodeScalars.first.map { GoText.describe($0) } ?? ""
            throw .parsing(line: line, "bad character \(scalar)")
        }
        var kind = kind
        if kind == .identifier {
            if Self.keywords.contains(text) { kind = .keyword }
            if text == "true" || text == "false" { kind = .bool }
            if text == "nil" { kind = .nil }
        }
        result.append(TemplateToken(kind: kind, text: text, position: start, line: line))
    }

    private mutating func quoted(_ kind: TemplateToken.Kind, end: UInt8, name: String) throws(TemplateError) {
        let start = position
        let startLine = line
        position += 1
        while peek() != end {
            if position >= bytes.count || (kind != .rawString && peek() == 0x0a) {
                throw .parsing(line: startLine, "unterminated \(name)")
            }
            if peek() == 0x0a { line += 1 }
            position += peek() == UInt8(ascii: "\\") && kind != .rawString ? 2 : 1
        }
        position += 1
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        result.append(TemplateToken(kind: kind, text: text, position: start, line: startLine))
    }

    // MARK: Bytes

    private mutating func append(_ kind: TemplateToken.Kind, length: Int) {
        let start = position
        position += length
        append(kind, from: start)
    }

    private mutating func append(_ kind: TemplateToken.Kind, from start: Int) {
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        result.append(TemplateToken(kind: kind, text: text, position: start, line: line))
    }

    /// The byte at the position, 0 behind the end.
    private func peek(_ distance: Int = 0) -> UInt8 {
        position + distance < bytes.count ? bytes[position + distance] : 0
    }

    private func hasPrefix(_ text: String, at offset: Int? = nil) -> Bool {
        bytes.dropFirst(offset ?? position).starts(with: text.utf8)
    }

    private func find(_ text: String, from start: Int) -> Int? {
        let pattern = Array(text.utf8)
        guard bytes.count >= pattern.count else { return nil }
        var index = start
        while index <= bytes.count - pattern.count {
            if bytes[index..<index + pattern.count].elementsEqual(pattern) { return index }
            index += 1
        }
        return nil
    }

    private func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0a, 0x0d].contains(byte) }
    private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
    /// A letter, an underscore, or a byte of a letter outside of ASCII.
    private func isLetter(_ byte: UInt8) -> Bool {
        (0x61...0x7a).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte >= 0x80
    }
}
