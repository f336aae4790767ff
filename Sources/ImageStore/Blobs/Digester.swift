import CCrypto
import OCISpec

/// A digest that is computed while bytes stream by.
public struct Digester {
    private enum State {
        case sha256(SHA256_CTX)
        case sha512(SHA512_CTX)
    }
    private var state: State

    public init(_ algorithm: OCISpec.Digest.Algorithm = .sha256) {
        switch algorithm {
        case .sha256:
            var context = SHA256_CTX()
            Self.require(SHA256_Init(&context))
            state = .sha256(context)
        case .sha512:
            var context = SHA512_CTX()
            Self.require(SHA512_Init(&context))
            state = .sha512(context)
        }
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch state {
        case .sha256(var context):
            Self.require(SHA256_Update(&context, bytes.baseAddress, bytes.count))
            state = .sha256(context)
        case .sha512(var context):
            Self.require(SHA512_Update(&context, bytes.baseAddress, bytes.count))
            state = .sha512(context)
        }
    }

    /// The digest of everything so far.
    public func digest() -> OCISpec.Digest {
        switch state {
        case .sha256(var context):
            var bytes = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
            Self.require(SHA256_Final(&bytes, &context))
            return OCISpec.Digest(.sha256, bytes: bytes)
        case .sha512(var context):
            var bytes = [UInt8](repeating: 0, count: Int(SHA512_DIGEST_LENGTH))
            Self.require(SHA512_Final(&bytes, &context))
            return OCISpec.Digest(.sha512, bytes: bytes)
        }
    }

    /// SHA256_Init(3) and its like answer 1. Anything else is a digest of something else, and nothing goes on from there.
    private static func require(_ answer: Int32) {
        if answer != 1 { fatalError("libcrypto refuses to hash") }
    }
}

extension OCISpec.Digest {
    /// The digest of bytes in memory.
    public init(of bytes: [UInt8], _ algorithm: OCISpec.Digest.Algorithm = .sha256) {
        var digester = Digester(algorithm)
        bytes.withUnsafeBytes { digester.update($0) }
        self = digester.digest()
    }
}
