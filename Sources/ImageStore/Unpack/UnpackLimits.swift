import OCISpec

/// What one layer may ask for. Beyond it the layer is refused, not cut short.
public struct UnpackLimits: Codable, Sendable, Equatable {
    /// Entries of the archive.
    public var entries: Int
    /// Bytes of a path or link target (PATH_MAX is 4096 with its NUL).
    public var pathBytes: Int
    /// Bytes of one component (NAME_MAX).
    public var nameBytes: Int
    /// Components of a path.
    public var depth: Int
    /// Bytes of the uncompressed archive.
    public var streamBytes: Int64
    /// Bytes of extended headers (PAX, GNU long names) before one entry.
    public var headerBytes: Int

    /// The limits for a blob of this size: a compressed archive may grow 200-fold, and to 2 GiB in any case.
    public init(compressedBytes: Int64) {
        entries = 1_000_000
        pathBytes = 4095
        nameBytes = 255
        depth = 256
        streamBytes = max(2 << 30, min(compressedBytes, 1 << 40).multipliedReportingOverflow(by: 200).partialValue)
        headerBytes = 1 << 20
    }
}

/// What an extraction did.
struct UnpackReport: Codable, Sendable, Equatable {
    var diffID: Digest
    var bytes: Int64 = 0
    var entries = 0
    var droppedDevices = 0
    var droppedAttributes = 0
}

/// Why an archive cannot be extracted. Crosses from the sandbox to its parent as a value.
public struct UnpackFailure: Error, Codable, Sendable, Equatable, CustomStringConvertible {
    /// One clause, without the layer's name.
    public var reason: String
    /// The error number of a failed call, or 0.
    public var errno: Int32
    /// The input ended too early: whoever fed it may know better.
    public var isEarlyEnd: Bool

    init(_ reason: String, errno: Int32 = 0, isEarlyEnd: Bool = false) {
        self.reason = reason
        self.errno = errno
        self.isEarlyEnd = isEarlyEnd
    }

    public var description: String { reason }
}

/// Text of an archive for people: control characters, quotes and what is no UTF-8 are escaped, long ones are cut.
func printable(_ bytes: some Collection<UInt8>) -> String {
    var text = "\""
    for scalar in String(decoding: bytes.prefix(160), as: UTF8.self).unicodeScalars {
        switch scalar.value {
        case 0..<0x20, 0x22, 0x5c, 0x7f..<0xa0, 0x200b...0x200f, 0x202a...0x202e, 0x2066...0x2069, 0xfeff, 0xfffd:
            text += "\\u{\(String(scalar.value, radix: 16))}"
        default: text.unicodeScalars.append(scalar)
        }
    }
    return text + (bytes.count > 160 ? "…\"" : "\"")
}
