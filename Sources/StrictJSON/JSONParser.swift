/// A document that is not JSON as RFC 8259 defines it, or that is ambiguous or too deep.
public struct JSONSyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, without the place.
    public let reason: String
    /// Bytes before the error.
    public let offset: Int
    /// Line and column (in characters), both from 1.
    public let line: Int
    public let column: Int

    public var description: String { "invalid JSON at line \(line), column \(column) (byte \(offset)): \(reason)" }
}

/// A strict JSON parser (RFC 8259). What other parsers accept and read differently from one another is refused: duplicate
/// keys, invalid UTF-8, lone surrogates, control characters in strings, leading zeros, a byte order mark, trailing text.
public struct JSONParser: Sendable {
    /// Nesting of arrays and objects beyond which a document is refused, so that no input can exhaust the stack.
    public var maximumDepth: Int

    public init(maximumDepth: Int = 128) { self.maximumDepth = maximumDepth }

    /// Reads one document; nothing but white space may follow it.
    public func parse(_ bytes: [UInt8]) throws(JSONSyntaxError) -> JSONValue {
        let result: Result<JSONValue, JSONSyntaxError> = bytes.withUnsafeBufferPointer { buffer in
            var scanner = Scanner(bytes: buffer, maximumDepth: maximumDepth)
            do throws(ScanFailure) {
                return .success(try scanner.document())
            } catch {
                return .failure(Self.located(error, in: buffer))
            }
        }
        return try result.get()
    }

    public func parse(_ text: String) throws(JSONSyntaxError) -> JSONValue { try parse(Array(text.utf8)) }

    private static func located(_ failure: ScanFailure, in bytes: UnsafeBufferPointer<UInt8>) -> JSONSyntaxError {
        var line = 1
        var column = 1
        for byte in bytes.prefix(failure.offset) {
            if byte == 0x0A {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return JSONSyntaxError(reason: failure.reason, offset: failure.offset, line: line, column: column)
    }
}

private struct ScanFailure: Error {
    let reason: String
    let offset: Int
}

/// One pass over the bytes. The buffer outlives the scanner (it lives inside one closure of `parse`).
private struct Scanner {
    let bytes: UnsafeBufferPointer<UInt8>
    var position = 0
    var depth = 0
    let maximumDepth: Int

    init(bytes: UnsafeBufferPointer<UInt8>, maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func document() throws(ScanFailure) -> JSONValue {
        if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
            throw ScanFailure(reason: "the document starts with a byte order mark", offset: 0)
        }
        skipSpace()
        let value = try value()
        skipSpace()
        if position < bytes.count { throw fail("text follows the end of the document") }
        return value
    }

    func fail(_ reason: String) -> ScanFailure { ScanFailure(reason: reason, offset: position) }

    func unexpected(_ wanted: String) -> ScanFailure {
        guard position < bytes.count else { return fail("the document ends where \(wanted) should be") }
        let byte = bytes[position]
        let shown =
            byte > 0x20 && byte < 0x7F
            ? "“\(Character(Unicode.Scalar(byte)))”" : "byte 0x" + String(byte, radix: 16, uppercase: true)
        return fail("found \(shown) where \(wanted) should be")
    }

    mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    mutating func value() throws(ScanFailure) -> JSONValue {
        guard position < bytes.count else { throw unexpected("a value") }
        switch bytes[position] {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: throw unexpected("a value")
        }
    }

    mutating func literal(_ word: StaticString, _ value: JSONValue) throws(ScanFailure) -> JSONValue {
        let length = word.utf8CodeUnitCount
        guard bytes.count - position >= length else { throw unexpected("a value") }
        for offset in 0..<length where bytes[position + offset] != word.utf8Start[offset] { throw unexpected("a value") }
        position += length
        return value
    }

    mutating func enter() throws(ScanFailure) {
        depth += 1
        if depth > maximumDepth { throw fail("arrays and objects are nested more than \(maximumDepth) deep") }
        position += 1
        skipSpace()
    }

    mutating func object() throws(ScanFailure) -> JSONValue {
        try enter()
        var object = JSONObject()
        if position < bytes.count, bytes[position] == UInt8(ascii: "}") {
            position += 1
            depth -= 1
            return .object(object)
        }
        while true {
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw unexpected("a key") }
            let start = position
            let key = try string()
            skipSpace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else { throw unexpected("“:”") }
            position += 1
            skipSpace()
            let member = try value()
            guard object.appendIfNew(key, member) else {
                throw ScanFailure(reason: "the key “\(key)” occurs twice in one object", offset: start)
            }
            skipSpace()
            guard position < bytes.count else { throw unexpected("“,” or “}”") }
            switch bytes[position] {
            case UInt8(ascii: ","):
                position += 1
                skipSpace()
            case UInt8(ascii: "}"):
                position += 1
                depth -= 1
                return .object(object)
            default: throw unexpected("“,” or “}”")
            }
        }
    }

    mutating func array() throws(ScanFailure) -> JSONValue {
        try enter()
        var elements: [JSONValue] = []
        if position < bytes.count, bytes[position] == UInt8(ascii: "]") {
            position += 1
            depth -= 1
            return .array(elements)
        }
        while true {
            elements.append(try value())
            skipSpace()
            guard position < bytes.count else { throw unexpected("“,” or “]”") }
            switch bytes[position] {
            case UInt8(ascii: ","):
                position += 1
                skipSpace()
            case UInt8(ascii: "]"):
                position += 1
                depth -= 1
                return .array(elements)
            default: throw unexpected("“,” or “]”")
            }
        }
    }

    // MARK: Numbers

    private func isDigit(_ at: Int) -> Bool { at < bytes.count && bytes[at] &- 0x30 < 10 }

    private mutating func digits(_ what: String) throws(ScanFailure) {
        guard isDigit(position) else { throw unexpected(what) }
        while isDigit(position) { position += 1 }
    }

    mutating func number() throws(ScanFailure) -> JSONNumber {
        let start = position
        let negative = bytes[position] == UInt8(ascii: "-")
        if negative { position += 1 }
        let firstDigit = position
        try digits("a digit")
        if bytes[firstDigit] == 0x30, position - firstDigit > 1 {
            position = firstDigit
            throw fail("a number starts with a zero that means nothing")
        }
        var whole = true
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            whole = false
            position += 1
            try digits("a digit after the point")
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            whole = false
            position += 1
            if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") {
                position += 1
            }
            try digits("a digit of the exponent")
        }
        if whole, let exact = integer(from: firstDigit, to: position, negative: negative) { return exact }
        return .text(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    /// Nil for `-0` and for what does not fit into 64 bits: both keep their text.
    private func integer(from start: Int, to end: Int, negative: Bool) -> JSONNumber? {
        var magnitude: UInt64 = 0
        for at in start..<end {
            let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[at] &- 0x30))
            if overflow || carry { return nil }
            magnitude = sum
        }
        if negative {
            guard magnitude > 0, magnitude <= UInt64(Int64.max) + 1 else { return nil }
            return .signed(Int64(truncatingIfNeeded: 0 &- magnitude))
        }
        if let signed = Int64(exactly: magnitude) { return .signed(signed) }
        return .unsigned(magnitude)
    }

    // MARK: Strings

    mutating func string() throws(ScanFailure) -> String {
        position += 1
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                let text = String(decoding: bytes[start..<position], as: UTF8.self)
                position += 1
                return text
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            if byte < 0x20 { throw fail("a control character is in a string without an escape") }
            if byte < 0x80 { position += 1 } else { position += try sequenceLength() }
        }
        throw fail("the document ends inside a string")
    }

    /// Slow path: `position` is at the first backslash, everything from `start` to there is plain.
    private mutating func escapedString(from start: Int) throws(ScanFailure) -> String {
        var text = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw fail("a control character is in a string without an escape")
            case 0x20..<0x80:
                text.append(byte)
                position += 1
            default:
                let length = try sequenceLength()
                text.append(contentsOf: bytes[position..<position + length])
                position += length
            }
        }
        throw fail("the document ends inside a string")
    }

    private mutating func escape(into text: inout [UInt8]) throws(ScanFailure) {
        guard position + 1 < bytes.count else { throw fail("the document ends inside a string") }
        let letter = bytes[position + 1]
        let plain: UInt8? =
            switch letter {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
            case UInt8(ascii: "b"): 0x08
            case UInt8(ascii: "f"): 0x0C
            case UInt8(ascii: "n"): 0x0A
            case UInt8(ascii: "r"): 0x0D
            case UInt8(ascii: "t"): 0x09
            default: nil
            }
        if let plain {
            text.append(plain)
            position += 2
            return
        }
        guard letter == UInt8(ascii: "u") else { throw fail("an unknown escape is in a string") }
        var code = try hexQuad(at: position + 2)
        var length = 6
        if code & 0xFC00 == 0xD800, position + 7 < bytes.count, bytes[position + 6] == UInt8(ascii: "\\"),
            bytes[position + 7] == UInt8(ascii: "u")
        {
            let low = try hexQuad(at: position + 8)
            if low & 0xFC00 == 0xDC00 {
                code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
                length = 12
            }
        }
        guard let scalar = Unicode.Scalar(code) else { throw fail("half of a surrogate pair stands alone in a string") }
        text.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
        position += length
    }

    private func hexQuad(at start: Int) throws(ScanFailure) -> UInt32 {
        var code: UInt32 = 0
        for at in start..<start + 4 {
            let digit: UInt8
            switch at < bytes.count ? bytes[at] : 0 {
            case let byte where byte &- 0x30 < 10: digit = byte &- 0x30
            case let byte where (byte | 0x20) &- 0x61 < 6: digit = (byte | 0x20) &- 0x61 + 10
            default: throw fail("a \\u escape needs four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
        }
        return code
    }

    /// Length of the UTF-8 sequence at `position` (Unicode 15, table 3-7).
    private func sequenceLength() throws(ScanFailure) -> Int {
        func next(_ offset: Int) -> UInt8 { position + offset < bytes.count ? bytes[position + offset] : 0 }
        func continues(_ offset: Int) -> Bool { next(offset) & 0xC0 == 0x80 }
        let second = next(1)
        switch bytes[position] {
        case 0xC2...0xDF where continues(1): return 2
        case 0xE0 where second >= 0xA0 && second <= 0xBF && continues(2): return 3
        case 0xED where second >= 0x80 && second <= 0x9F && continues(2): return 3
        case 0xE1...0xEC where continues(1) && continues(2), 0xEE...0xEF where continues(1) && continues(2): return 3
        case 0xF0 where second >= 0x90 && second <= 0xBF && continues(2) && continues(3): return 4
        case 0xF1...0xF3 where continues(1) && continues(2) && continues(3): return 4
        case 0xF4 where second >= 0x80 && second <= 0x8F && continues(2) && continues(3): return 4
        default: throw fail("the text is not valid UTF-8")
        }
    }
}
