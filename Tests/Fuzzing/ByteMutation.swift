/// Damage to bytes that knows nothing of what they mean.
public enum ByteMutation {
    private static let interesting: [UInt8] =
        Array("\"\\{}[],:/=.u0-eE+ \n\t@%#'".utf8) + [0, 1, 0x1f, 0x7f, 0x80, 0xc0, 0xc3, 0xe2, 0xed, 0xf0, 0xf4, 0xff]

    /// Changes the bytes once and says how.
    public static func apply(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) -> String {
        if bytes.isEmpty {
            bytes.append(generator.pick(interesting))
            return "one byte"
        }
        let position = generator.below(bytes.count)
        let length = min(bytes.count - position, 1 + generator.below(generator.once(in: 3) ? 200 : 8))
        switch generator.below(8) {
        case 0:
            bytes[position] ^= 1 << UInt8(generator.below(8))
            return "a bit of byte \(position)"
        case 1:
            bytes[position] = generator.pick(interesting)
            return "byte \(position) is 0x\(String(bytes[position], radix: 16))"
        case 2:
            bytes.removeSubrange(position..<(position + length))
            return "\(length) bytes from \(position) are gone"
        case 3:
            bytes.insert(contentsOf: bytes[position..<(position + length)], at: position)
            return "\(length) bytes from \(position) are there twice"
        case 4:
            let byte = generator.pick(interesting)
            bytes.insert(byte, at: position)
            return "0x\(String(byte, radix: 16)) before byte \(position)"
        case 5:
            bytes.removeSubrange(position...)
            return "cut after \(position) bytes"
        case 6:
            let target = generator.below(bytes.count - length + 1)
            let part = Array(bytes[position..<(position + length)])
            bytes.replaceSubrange(target..<(target + length), with: part)
            return "\(length) bytes from \(position) over those from \(target)"
        default:
            // Far more nesting than any stack could take.
            let byte = generator.pick(Array("[{(\"".utf8))
            let count = generator.pick([100, 200, 100_000])
            bytes.insert(contentsOf: [UInt8](repeating: byte, count: count), at: position)
            return "\(count) times 0x\(String(byte, radix: 16)) before byte \(position)"
        }
    }
}
