/// Writes a JSON value as bytes.
public struct JSONWriter: Sendable, Equatable {
    public enum Layout: Sendable, Equatable {
        /// No white space.
        case compact
        /// One member a line, `indent` spaces a level. Empty arrays and objects stay `[]` and `{}`.
        case pretty(indent: Int)
    }

    public enum KeyOrder: Sendable, Equatable {
        case insertion
        /// By the bytes of the UTF-8 text, as Go's encoder sorts maps.
        case sorted
    }

    public var layout: Layout
    public var keyOrder: KeyOrder
    /// Writes `<`, `>`, `&`, U+2028 and U+2029 as escapes, as Go's `json.Marshal` does.
    public var escapesHTML: Bool

    public init(layout: Layout = .compact, keyOrder: KeyOrder = .insertion, escapesHTML: Bool = false) {
        self.layout = layout
        self.keyOrder = keyOrder
        self.escapesHTML = escapesHTML
    }

    public static let compact = JSONWriter()
    public static let pretty = JSONWriter(layout: .pretty(indent: 2))
    /// Four spaces and the order of insertion, as `docker inspect` prints.
    public static let docker = JSONWriter(layout: .pretty(indent: 4))

    /// The document without a final newline.
    public func write(_ value: JSONValue) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(512)
        append(value, level: 0, to: &output)
        return output
    }

    /// The document as text, without a final newline.
    public func text(_ value: JSONValue) -> String { String(decoding: write(value), as: UTF8.self) }

    private func append(_ value: JSONValue, level: Int, to output: inout [UInt8]) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let number): output.append(contentsOf: number.text.utf8)
        case .string(let text): append(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (position, element) in elements.enumerated() {
                if position > 0 { output.append(UInt8(ascii: ",")) }
                breakLine(level + 1, &output)
                append(element, level: level + 1, to: &output)
            }
            if !elements.isEmpty { breakLine(level, &output) }
            output.append(UInt8(ascii: "]"))
        case .object(let object):
            output.append(UInt8(ascii: "{"))
            for (position, entry) in ordered(object).enumerated() {
                if position > 0 { output.append(UInt8(ascii: ",")) }
                breakLine(level + 1, &output)
                append(entry.key, to: &output)
                output.append(UInt8(ascii: ":"))
                if layout != .compact { output.append(UInt8(ascii: " ")) }
                append(entry.value, level: level + 1, to: &output)
            }
            if !object.isEmpty { breakLine(level, &output) }
            output.append(UInt8(ascii: "}"))
        }
    }

    private func ordered(_ object: JSONObject) -> [JSONObject.Entry] {
        switch keyOrder {
        case .insertion: object.entries
        case .sorted: object.entries.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        }
    }

    private func breakLine(_ level: Int, _ output: inout [UInt8]) {
        guard case .pretty(let indent) = layout else { return }
        output.append(0x0A)
        for _ in 0..<level * indent { output.append(0x20) }
    }

    private func append(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { bytes in
            var plainStart = 0
            var position = 0
            while position < bytes.count {
                let (replacement, length) = escape(bytes, at: position)
                if let replacement {
                    output.append(contentsOf: bytes[plainStart..<position])
                    output.append(contentsOf: replacement.utf8)
                    plainStart = position + length
                }
                position += length
            }
            output.append(contentsOf: bytes[plainStart...])
        }
        output.append(UInt8(ascii: "\""))
    }

    /// The escape that stands for the character at `position`, or nil, and how many bytes are dealt with.
    private func escape(_ bytes: UnsafeBufferPointer<UInt8>, at position: Int) -> (String?, Int) {
        switch bytes[position] {
        case UInt8(ascii: "\""): return ("\\\"", 1)
        case UInt8(ascii: "\\"): return ("\\\\", 1)
        case 0x0A: return ("\\n", 1)
        case 0x0D: return ("\\r", 1)
        case 0x09: return ("\\t", 1)
        case 0x08: return ("\\b", 1)
        case 0x0C: return ("\\f", 1)
        case let byte where byte < 0x20: return (Self.unicodeEscape(UInt16(byte)), 1)
        case let byte where escapesHTML && (byte == 0x3C || byte == 0x3E || byte == 0x26):
            return (Self.unicodeEscape(UInt16(byte)), 1)
        case 0xE2
        where escapesHTML && position + 2 < bytes.count && bytes[position + 1] == 0x80
            && bytes[position + 2] & 0xFE == 0xA8:
            return (Self.unicodeEscape(0x2000 + UInt16(bytes[position + 2] & 0x3F)), 3)
        default: return (nil, 1)
        }
    }

    private static func unicodeEscape(_ code: UInt16) -> String {
        let digits = String(code, radix: 16)
        return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
}
