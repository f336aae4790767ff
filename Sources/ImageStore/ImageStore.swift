import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// What a store must know of those who use it.
public struct StoreSurroundings: Sendable {
    /// Told, in one sentence with its remedy, of what is damaged and was passed over.
    public var warn: @Sendable (String) -> Void
    /// The lower directories ("ROOT/layers/…/root") that containers are made of: they stay whatever the index says.
    ///
    /// Throws where that cannot be known; no layer is collected then.
    public var layersInUse: @Sendable () throws -> Set<String>

    /// Whoever does not say which layers are in use knows of no container, and collects none.
    public init(
        warn: @escaping @Sendable (String) -> Void = { _ in },
        layersInUse: @escaping @Sendable () throws -> Set<String> = { throw LayerUsersUnknown() }
    ) {
        self.warn = warn
        self.layersInUse = layersInUse
    }
}

/// Which layers containers are made of is not known here.
public struct LayerUsersUnknown: Error, Sendable, CustomStringConvertible {
    public let description = "the containers that may use it are not known here"
    public init() {}
}

/// Images on disk: an OCI image layout, and beside it the layers, extracted once each.
///
///     ROOT/oci-layout  ROOT/index.json            the image layout; each name is an entry of the index
///     ROOT/blobs/sha256/HEX                       verified content; `.incoming-…` is content on its way
///     ROOT/layers/sha256-HEX/root                 a layer's tree, keyed by diffID, ready to be an overlay's lower directory
///     ROOT/layers/sha256-HEX/layer.json           what is known of it (LayerRecord)
///     ROOT/layers/.partial-sha256-HEX/            the same while it is being extracted; renamed when done
///     ROOT/lock  ROOT/hold.lock                   flock(2): changes of the index; claims against garbage collection
///
/// Many processes may use one store at a time. Everything is mode 0700 or 0600.
public struct ImageStore: Sendable {
    /// Absolute path.
    public let root: String
    /// The program whose hidden `internal` subcommands extract and remove trees: the running one, unless a test names another.
    let program: String
    private(set) var surroundings: StoreSurroundings

    /// Opens the store, and makes it where there is none.
    ///
    /// - Parameters:
    ///   - root: absolute path of the image layout ("…/coffer/images").
    ///   - surroundings: what the store must know of those who use it.
    public init(root: String, program: String = "/proc/self/exe", surroundings: StoreSurroundings = StoreSurroundings()) throws {
        self.root = root
        self.program = program
        self.surroundings = surroundings
        let directories = [root, "\(root)/blobs", "\(root)/blobs/sha256", "\(root)/blobs/sha512", "\(root)/layers"]
        try storing("create the image store \(root)") {
            for directory in directories {
                if mkdir(directory, 0o700) != 0 && errno != EEXIST { throw KernelError.last("mkdir", directory) }
            }
            if access("\(root)/\(ImageLayoutMarker.fileName)", F_OK) != 0 {
                let marker = try StrictJSONEncoder().encode(ImageLayoutMarker())
                try replaceFile("\(root)/\(ImageLayoutMarker.fileName)", with: marker)
            }
        }
    }

    // MARK: Blobs

    func blobDirectory(_ algorithm: Digest.Algorithm) -> String { "\(root)/blobs/\(algorithm.rawValue)" }

    /// Where a blob is, or would be.
    public func blobPath(_ digest: Digest) -> String { "\(blobDirectory(digest.algorithm))/\(digest.hex)" }

    /// Whether the store has the blob.
    public func contains(_ digest: Digest) -> Bool { access(blobPath(digest), F_OK) == 0 }

    /// Whether the store has a blob of this digest and size: an empty or shortened file does not count, and is fetched again.
    public func contains(_ blob: Descriptor) -> Bool {
        var status = stat()
        return lstat(blobPath(blob.digest), &status) == 0 && status.st_mode & S_IFMT == S_IFREG && Int64(status.st_size) == blob.size
    }

    /// A writer for one blob.
    ///
    /// - Parameter expected: verified while streaming; nil for content that names itself.
    public func blobWriter(expecting expected: Descriptor? = nil) throws -> BlobWriter {
        try BlobWriter(store: self, expected: expected)
    }

    /// Stores bytes in memory as a blob.
    @discardableResult
    public func addBlob(_ bytes: [UInt8], mediaType: MediaType) throws -> Descriptor {
        let writer = try blobWriter()
        try writer.write(bytes)
        let (digest, size) = try writer.finish()
        return Descriptor(mediaType: mediaType, digest: digest, size: size)
    }

    /// Opens a blob for reading.
    public func openBlob(_ digest: Digest) throws -> FileDescriptor {
        do {
            return try FileDescriptor.open(blobPath(digest), O_RDONLY | O_NOFOLLOW)
        } catch {
            throw error.errno == ENOENT ? .missingBlob(digest) : ImageStoreError.failed(error, "read the blob \(digest)")
        }
    }

    /// Reads a small blob (a document) and verifies its digest again.
    ///
    /// - Parameter limit: bytes; a document beyond it is refused.
    public func readBlob(_ digest: Digest, limit: Int = 8 << 20) throws -> [UInt8] {
        let file = try openBlob(digest)
        let bytes: [UInt8]
        do {
            bytes = try file.readAll(limit: limit)
        } catch let error where error.errno == EFBIG {
            throw ImageStoreError.badDocument("\(digest)", reason: "it is longer than \(limit) bytes")
        } catch {
            throw ImageStoreError.failed(error, "read the blob \(digest)")
        }
        let actual = Digest(of: bytes, digest.algorithm)
        guard actual == digest else {
            throw ImageStoreError.badDocument("the blob \(digest)", reason: "its content has the digest \(actual)")
        }
        return bytes
    }

    /// Reads and decodes a document.
    func readDocument<Value: Decodable>(_ type: Value.Type, _ digest: Digest, called name: String) throws -> Value {
        try Self.decode(type, from: try readBlob(digest), called: "\(name) \(digest)")
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8], called name: String) throws -> Value {
        do {
            return try StrictJSONDecoder().decode(type, from: bytes)
        } catch {
            throw ImageStoreError.badDocument(name, reason: "\(error)")
        }
    }

    /// The same store, with nobody to be told of what is damaged.
    var silent: ImageStore {
        var store = self
        store.surroundings.warn = { _ in }
        return store
    }

    // MARK: Locks

    /// A claim that keeps garbage from being collected; see `StoreHold`.
    public func hold() throws -> StoreHold {
        try storing("lock \(root)/hold.lock") { try StoreHold("\(root)/hold.lock", LOCK_SH) }
    }

    /// Runs `body` while no other process changes the index.
    func locked<Value>(_ body: () throws -> Value) throws -> Value {
        let lock = try storing("lock \(root)/lock") { try StoreHold("\(root)/lock", LOCK_EX) }
        return try withExtendedLifetime(lock) { try body() }
    }

    /// Sixteen hexadecimal digits that no other file of the store has.
    static func uniqueSuffix() -> String {
        var generator = SystemRandomNumberGenerator()
        let text = String(generator.next(), radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
