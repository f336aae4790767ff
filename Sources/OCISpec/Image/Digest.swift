/// A content digest, parsed: nothing else can ever become part of a blob's path (CVE-2024-3727).
///
/// OCI image specification, "Digests". Only the two registered algorithms with their exact lengths, in lower case.
public struct Digest: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// A registered hash algorithm.
    public enum Algorithm: String, Sendable, CaseIterable {
        case sha256, sha512

        /// The number of hexadecimal digits.
        public var hexLength: Int { self == .sha256 ? 64 : 128 }
    }

    public let algorithm: Algorithm
    /// Lower-case hexadecimal digits.
    public let hex: String

    /// The digest in `algorithm:hex` form, or nil when the text is not exactly that.
    public init?(_ text: String) {
        for algorithm in Algorithm.allCases where text.utf8.starts(with: "\(algorithm.rawValue):".utf8) {
            self.init(algorithm, hex: String(text.dropFirst(algorithm.rawValue.count + 1)))
            return
        }
        return nil
    }

    /// A digest of known algorithm, or nil when `hex` has another length or other characters.
    public init?(_ algorithm: Algorithm, hex: String) {
        let digits = hex.utf8
        guard digits.count == algorithm.hexLength,
            digits.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) })
        else { return nil }
        self.algorithm = algorithm
        self.hex = hex
    }

    /// SHA-256 or SHA-512 from its raw bytes.
    ///
    /// - Precondition: `bytes` has the algorithm's length.
    public init(_ algorithm: Algorithm, bytes: some Collection<UInt8>) {
        precondition(bytes.count * 2 == algorithm.hexLength)
        let digits = Array("0123456789abcdef".utf8)
        var hex: [UInt8] = []
        hex.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            hex.append(digits[Int(byte >> 4)])
            hex.append(digits[Int(byte & 15)])
        }
        self.algorithm = algorithm
        self.hex = String(decoding: hex, as: UTF8.self)
    }

    public var description: String { "\(algorithm.rawValue):\(hex)" }

    /// The first twelve digits, as listings show an image.
    public var short: String { String(hex.prefix(12)) }

    public static func < (left: Digest, right: Digest) -> Bool { left.description < right.description }
}

extension Digest: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let digest = Digest(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(text.prefix(160))\" is not a sha256 or sha512 digest")
        }
        self = digest
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
