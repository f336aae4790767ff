import Crypto
import OCISpec

/// A digest that is computed while bytes stream by.
public struct Digester {
    private enum State {
        case sha256(SHA256)
        case sha512(SHA512)
    }
    private var state: State

    public init(_ algorithm: OCISpec.Digest.Algorithm = .sha256) {
        state = algorithm == .sha256 ? .sha256(SHA256()) : .sha512(SHA512())
    }

    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch state {
        case .sha256(var hash):
            hash.update(bufferPointer: bytes)
            state = .sha256(hash)
        case .sha512(var hash):
            hash.update(bufferPointer: bytes)
            state = .sha512(hash)
        }
    }

    /// The digest of everything so far.
    public func digest() -> OCISpec.Digest {
        switch state {
        case .sha256(let hash): OCISpec.Digest(.sha256, bytes: Array(hash.finalize()))
        case .sha512(let hash): OCISpec.Digest(.sha512, bytes: Array(hash.finalize()))
        }
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
