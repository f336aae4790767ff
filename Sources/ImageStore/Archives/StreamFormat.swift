import OCISpec

/// Tells a stream's compression from its first bytes.
enum StreamFormat {
    /// How many bytes `compression(of:)` wants to see.
    static let magicBytes = 6

    /// Magic numbers of compressions that are known but not supported.
    private static let unsupported: [(name: String, magic: [UInt8])] = [
        ("xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), ("bzip2", [0x42, 0x5a, 0x68]), ("lz4", [0x04, 0x22, 0x4d, 0x18]),
        ("compress", [0x1f, 0x9d]),
    ]

    /// - Throws: `UnpackFailure` for a compression that is not supported.
    static func compression(of bytes: [UInt8]) throws -> MediaType.Compression {
        if bytes.starts(with: [0x1f, 0x8b]) { return .gzip }
        if bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) { return .zstd }
        // A skippable frame may come first (RFC 8878, 3.1.2).
        if bytes.count >= 4, bytes[0] & 0xf0 == 0x50, bytes[1...3].elementsEqual([0x2a, 0x4d, 0x18]) { return .zstd }
        if let format = unsupported.first(where: { bytes.starts(with: $0.magic) }) {
            throw UnpackFailure("the compression \(format.name) is not supported: use gzip, zstd or none")
        }
        return .none
    }
}

extension MediaType {
    /// The OCI media type of a layer with this compression.
    static func layer(_ compression: Compression) -> MediaType {
        switch compression {
        case .none: .ociLayer
        case .gzip: .ociLayerGzip
        case .zstd: .ociLayerZstd
        }
    }
}
