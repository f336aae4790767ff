import Glibc

/// An IPv4 or IPv6 address, without a zone.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    public enum Family: Sendable, Hashable {
        case v4, v6

        /// AF_INET or AF_INET6 as netlink carries it (one byte).
        var number: UInt8 { self == .v4 ? UInt8(AF_INET) : UInt8(AF_INET6) }
        /// Bytes of an address: 4 or 16.
        public var length: Int { self == .v4 ? 4 : 16 }
    }

    /// The address in network byte order: 4 or 16 bytes.
    public let bytes: [UInt8]

    /// - Returns: nil unless there are 4 or 16 bytes.
    public init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = Array(bytes)
    }

    /// An IPv4 address from its four numbers.
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) { bytes = [a, b, c, d] }

    /// Reads the textual form (inet_pton(3)): "192.0.2.1", "fd00::2". No names are resolved and no zone is accepted.
    public init?(_ text: String) {
        var buffer = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &buffer) == 1 {
            bytes = Array(buffer[..<4])
        } else if inet_pton(AF_INET6, text, &buffer) == 1 {
            bytes = buffer
        } else {
            return nil
        }
    }

    public var family: Family { bytes.count == 4 ? .v4 : .v6 }

    /// 127.0.0.0/8 or ::1.
    public var isLoopback: Bool {
        family == .v4 ? bytes[0] == 127 : bytes[..<15].allSatisfy { $0 == 0 } && bytes[15] == 1
    }

    /// 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291).
    public var isLinkLocal: Bool {
        family == .v4 ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80
    }

    /// 0.0.0.0 or ::, which mean "every address" to bind(2).
    public var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }

    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = family == .v4 ? AF_INET : AF_INET6
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "\(bytes)" }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// A range of addresses that share their first `length` bits.
public struct IPPrefix: Hashable, Sendable, CustomStringConvertible {
    /// The lowest address of the range; bits below the prefix are 0.
    public let first: IPAddress
    /// 0…32 or 0…128.
    public let length: Int

    /// - Parameter address: any address of the range.
    /// - Returns: nil when `length` is out of the family's range.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.family.length * 8).contains(length) else { return nil }
        let masked = address.bytes.enumerated().map { index, byte in
            byte & IPPrefix.maskByte(at: index, length: length)
        }
        guard let first = IPAddress(bytes: masked) else { return nil }
        self.first = first
        self.length = length
    }

    /// Exactly one address.
    public init(_ address: IPAddress) {
        first = address
        length = address.family.length * 8
    }

    /// The highest address of the range.
    public var lastBytes: [UInt8] {
        first.bytes.enumerated().map { index, byte in byte | ~IPPrefix.maskByte(at: index, length: length) }
    }

    public func contains(_ address: IPAddress) -> Bool {
        address.family == first.family
            && IPPrefix(address, length: length).map { $0.first == first } ?? false
    }

    /// Whether the two ranges share an address.
    public func overlaps(_ other: IPPrefix) -> Bool { contains(other.first) || other.contains(first) }

    public var description: String { "\(first)/\(length)" }

    private static func maskByte(at index: Int, length: Int) -> UInt8 {
        let bits = min(max(length - index * 8, 0), 8)
        return bits == 0 ? 0 : UInt8.max << (8 - UInt8(bits))
    }
}
