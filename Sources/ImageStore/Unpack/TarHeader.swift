/// One 512-byte header block of a tar archive (POSIX.1-2017 pax, "ustar Interchange Format"; tar(5) for GNU and V7).
struct TarHeader {
    static let blockSize = 512

    let name: [UInt8]
    let mode: Int64
    let user: Int64
    let group: Int64
    let size: Int64
    let modified: Int64
    let typeFlag: UInt8
    let linkName: [UInt8]

    /// - Returns: nil for a block of zeros, which ends an archive.
    /// - Throws: `UnpackFailure` for a wrong checksum or a number that is none.
    init?(_ block: UnsafeRawBufferPointer) throws {
        if block.allSatisfy({ $0 == 0 }) { return nil }
        try Self.verifyChecksum(block)
        let isPOSIX = block[257..<263].elementsEqual("ustar\0".utf8)
        var name = Self.text(block[0..<100])
        if isPOSIX {
            let prefix = Self.text(block[345..<500])
            if !prefix.isEmpty { name = prefix + [UInt8(ascii: "/")] + name }
        }
        self.name = name
        mode = try Self.number(block[100..<108], "mode", name)
        user = try Self.number(block[108..<116], "user ID", name)
        group = try Self.number(block[116..<124], "group ID", name)
        size = try Self.number(block[124..<136], "size", name)
        modified = try Self.number(block[136..<148], "time", name)
        typeFlag = block[156]
        linkName = Self.text(block[157..<257])
    }

    /// Sum of all bytes with the checksum field itself as spaces; historic writers summed signed bytes.
    private static func verifyChecksum(_ block: UnsafeRawBufferPointer) throws {
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for (index, byte) in block.enumerated() {
            let value = (148..<156).contains(index) ? 0x20 : byte
            unsigned += Int64(value)
            signed += Int64(Int8(bitPattern: value))
        }
        let stored = try number(block[148..<156], "checksum", [])
        guard stored == unsigned || stored == signed else {
            throw UnpackFailure("a header of the archive has a wrong checksum")
        }
    }

    /// The bytes up to the first NUL.
    private static func text(_ field: Slice<UnsafeRawBufferPointer>) -> [UInt8] { Array(field.prefix { $0 != 0 }) }

    /// An octal number, or GNU's base-256 where the first bit is set.
    private static func number(_ field: Slice<UnsafeRawBufferPointer>, _ what: String, _ name: [UInt8]) throws -> Int64 {
        let bad = UnpackFailure("the \(what) of \(printable(name)) is not a valid number")
        guard let first = field.first else { throw bad }
        if first & 0x80 != 0 { return try base256(Array(field), bad) }
        let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
        let rest = field.drop { $0 == 0x20 }.dropFirst(digits.count)
        guard rest.allSatisfy({ $0 == 0x20 || $0 == 0 }) else { throw bad }
        var value: Int64 = 0
        for digit in digits {
            guard digit >= 0x30, digit <= 0x37 else { throw bad }
            value = value << 3 | Int64(digit - 0x30)  // At most 12 digits: 36 bits.
        }
        return value
    }

    private static func base256(_ field: [UInt8], _ bad: UnpackFailure) throws -> Int64 {
        let isNegative = field[0] & 0x40 != 0
        var value: Int64 = isNegative ? -1 : 0
        for (index, byte) in field.enumerated() {
            let part = index == 0 ? (isNegative ? byte | 0x80 : byte & 0x7f) : byte
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 256)
            let base = index == 0 ? (isNegative ? Int64(-256) : 0) : shifted
            if overflow && index > 0 { throw bad }
            value = base | Int64(part)
        }
        return value
    }
}
