import Glibc
import LinuxKernel
import OCISpec

/// A blob on its way into the store: verified while it streams, visible under its digest only when whole and right.
///
/// The bytes go to a temporary file beside the blobs; `finish` compares size and digest, and renames. Until then, on an
/// error, and when the writer is dropped, nothing remains. A process killed meanwhile leaves a `.incoming-…` file, which the
/// next collection of garbage removes.
public final class BlobWriter {
    private let store: ImageStore
    private let expected: Descriptor?
    private let path: String
    private var descriptor: Int32
    private var digester: Digester
    /// Bytes written so far.
    public private(set) var size: Int64 = 0
    private var finished = false
    /// Held for the writer's life: garbage is not collected while a blob is on its way.
    private let hold: StoreHold

    /// - Parameter expected: digest and size to verify, or nil for content that names itself.
    init(store: ImageStore, expected: Descriptor?, algorithm: Digest.Algorithm = .sha256) throws {
        self.store = store
        self.expected = expected
        hold = try store.hold()
        digester = Digester(expected?.digest.algorithm ?? algorithm)
        let directory = store.blobDirectory(expected?.digest.algorithm ?? algorithm)
        path = "\(directory)/.incoming-\(ImageStore.uniqueSuffix())"
        let path = self.path
        descriptor = try storing("create \(path)") {
            try FileDescriptor.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        }.release()
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
        if !finished { unlink(path) }
    }

    /// Appends bytes.
    ///
    /// - Throws: `ImageStoreError.sizeMismatch` as soon as there are more than expected (an endless body), `.noSpace`.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        let total = size + Int64(bytes.count)
        if let expected, total > expected.size {
            throw ImageStoreError.sizeMismatch(expected.digest, expected: expected.size, actual: total)
        }
        digester.update(bytes)
        var offset = 0
        while offset < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            offset += try storing("write \(path)") {
                try retrying("write", path) { Glibc.write(descriptor, rest.baseAddress, rest.count) }
            }
        }
        size = total
    }

    /// Appends bytes.
    public func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

    /// Verifies size and digest, and moves the blob to its place.
    ///
    /// Data is not forced to the disk here: after a crash of the machine a blob is verified again when it is extracted.
    /// - Returns: digest and size.
    /// - Throws: `ImageStoreError.sizeMismatch` or `.digestMismatch`; the bytes are then gone.
    @discardableResult
    public func finish() throws -> (digest: Digest, size: Int64) {
        let digest = digester.digest()
        if let expected {
            guard size == expected.size else {
                throw ImageStoreError.sizeMismatch(expected.digest, expected: expected.size, actual: size)
            }
            guard digest == expected.digest else {
                throw ImageStoreError.digestMismatch(expected: expected.digest, actual: digest)
            }
        }
        let target = store.blobPath(digest)
        try storing("store the blob \(digest)") {
            let closing = FileDescriptor(owning: descriptor)
            descriptor = -1
            try closing.close()
            try retrying("rename", target) { rename(path, target) }
        }
        finished = true
        return (digest, size)
    }
}
