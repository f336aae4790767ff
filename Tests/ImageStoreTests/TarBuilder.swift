/// Builds tar archives byte by byte, also such as no tar program would write.
struct TarBuilder {
    private(set) var bytes: [UInt8] = []

    /// Everything a header says. Fields given as text go in as they are.
    struct Header {
        var name: [UInt8]
        var type: Character = "0"
        var link: [UInt8] = []
        var mode = 0o644
        var user = 0
        var group = 0
        var size: Int?
        var modified = 1_700_000_000
        var rawFields: [(offset: Int, bytes: [UInt8])] = []
        var checksum: Int?
        var magic = "ustar\u{0}00"
    }

    mutating func add(_ header: Header, content: [UInt8] = []) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in text.enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8)
        }
        put(header.name.prefix(100), at: 0)
        put(octal(header.mode, 7), at: 100)
        put(octal(header.user, 7), at: 108)
        put(octal(header.group, 7), at: 116)
        put(octal(header.size ?? content.count, 11), at: 124)
        put(octal(header.modified, 11), at: 136)
        put(String(header.type).utf8, at: 156)
        put(header.link.prefix(100), at: 157)
        put(header.magic.utf8, at: 257)
        for field in header.rawFields { put(field.bytes, at: field.offset) }
        put("        ".utf8, at: 148)
        let sum = block.reduce(0) { $0 + Int($1) }
        put(octal(header.checksum ?? sum, 6) + [0, 0x20], at: 148)
        bytes += block
        bytes += content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    mutating func file(_ name: String, _ content: String = "", mode: Int = 0o644) {
        add(Header(name: Array(name.utf8), mode: mode), content: Array(content.utf8))
    }

    mutating func file(bytes name: [UInt8], _ content: String = "") { add(Header(name: name), content: Array(content.utf8)) }

    mutating func directory(_ name: String, mode: Int = 0o755) { add(Header(name: Array(name.utf8), type: "5", mode: mode)) }

    mutating func symbolicLink(_ name: String, to target: String) {
        add(Header(name: Array(name.utf8), type: "2", link: Array(target.utf8), mode: 0o777))
    }

    mutating func hardLink(_ name: String, to target: String) {
        add(Header(name: Array(name.utf8), type: "1", link: Array(target.utf8)))
    }

    /// An extended header; "g" for a global one.
    mutating func pax(_ records: [(String, [UInt8])], type: Character = "x") {
        var content: [UInt8] = []
        for (key, value) in records { content += Self.record(key, value) }
        add(Header(name: Array("pax".utf8), type: type), content: content)
    }

    mutating func pax(_ records: [(String, String)], type: Character = "x") {
        pax(records.map { ($0.0, Array($0.1.utf8)) }, type: type)
    }

    /// GNU's long name ("L") or long link target ("K").
    mutating func longName(_ text: [UInt8], type: Character = "L") {
        add(Header(name: Array("././@LongLink".utf8), type: type, magic: "ustar  \u{0}"), content: text + [0])
    }

    static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let body = [0x20] + Array(key.utf8) + [0x3d] + value + [0x0a]
        var length = body.count + 1
        while String(length).utf8.count + body.count != length { length = String(length).utf8.count + body.count }
        return Array(String(length).utf8) + body
    }

    mutating func append(_ raw: [UInt8]) { bytes += raw }

    /// The archive with its two blocks of zeros.
    func finished() -> [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

    /// An archive built in one expression.
    static func archive(_ build: (inout TarBuilder) -> Void) -> [UInt8] {
        var builder = TarBuilder()
        build(&builder)
        return builder.finished()
    }
}
