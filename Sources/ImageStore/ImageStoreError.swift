import Glibc
import LinuxKernel
import OCISpec

/// What the image store refuses or cannot do. Each is one sentence for the user.
public enum ImageStoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No image of this name, ID or digest.
    case noSuchImage(String)
    /// An ID prefix that several images share.
    case ambiguousID(String)
    /// An image whose documents cannot be read.
    case damagedImage(String, reason: String)
    /// A container uses the image.
    case imageInUse(String, container: String)
    /// Several names point to the image: an ID alone does not say which to remove.
    case severalNames(Digest, [String])
    /// A blob's bytes are not what its descriptor says.
    case digestMismatch(expected: Digest, actual: Digest)
    /// A blob ended early or went on beyond its size.
    case sizeMismatch(Digest, expected: Int64, actual: Int64)
    /// A blob that a document refers to is not there.
    case missingBlob(Digest)
    /// A layer's content, uncompressed, has another digest than the image's configuration says.
    case diffIDMismatch(layer: Digest, expected: Digest, actual: Digest)
    /// A layer cannot be extracted.
    case badLayer(Digest, reason: String)
    /// A media type that nothing here can read.
    case unknownMediaType(String, of: String)
    /// A document of an image is wrong.
    case badDocument(String, reason: String)
    /// An archive, or a directory in its place, is wrong.
    case badArchive(String, reason: String)
    /// The image has no variant for the platform.
    case noSuchPlatform(String, wanted: Platform)
    /// A `--change` instruction of `import`.
    case badChange(String, reason: String)
    /// The disk, or the user's quota, is full.
    case noSpace(String)
    /// A system call failed.
    case system(KernelError, doing: String)

    public var description: String {
        switch self {
        case .noSuchImage(let name): "no such image: \(name)"
        case .ambiguousID(let prefix): "several images have an ID that starts with \(prefix): give more digits"
        case .damagedImage(let name, let reason):
            "image \(name) is damaged (\(reason)): remove it with 'coffer rmi -f \(name)', then pull or load it again"
        case .imageInUse(let name, let container):
            "image \(name) is in use by container \(container): remove the container first, or use --force to remove only the name"
        case .severalNames(let id, let names):
            "image \(id.short) has several names (\(names.joined(separator: ", "))): name one of them, or use --force to remove all"
        case .digestMismatch(let expected, let actual):
            "the content of \(expected) has the digest \(actual): it is damaged or was tampered with, and was discarded"
        case .sizeMismatch(let digest, let expected, let actual):
            "the content of \(digest) has \(actual < expected ? "only " : "")\(actual)\(actual > expected ? " or more" : "") "
                + "bytes instead of \(expected), and was discarded"
        case .missingBlob(let digest): "the blob \(digest) is missing"
        case .diffIDMismatch(let layer, let expected, let actual):
            "layer \(layer) unpacks to \(actual), but the image's configuration says \(expected): nothing of it was kept"
        case .badLayer(let digest, let reason): "layer \(digest) cannot be extracted: \(reason)"
        case .unknownMediaType(let type, let subject): "\(subject) has the media type \"\(type)\", which is not supported"
        case .badDocument(let subject, let reason): "\(subject) is not valid: \(reason)"
        case .badArchive(let subject, let reason): "\(subject) is not an image archive: \(reason)"
        case .noSuchPlatform(let name, let wanted): "\(name) has no image for the platform \(wanted)"
        case .badChange(let text, let reason): "--change \"\(text)\": \(reason)"
        case .noSpace(let place): "no space left in \(place): free some, or choose another place with --root"
        case .system(let error, let action): "cannot \(action): \(error)"
        }
    }

    /// A failed call with what it was for; a full disk in words of its own.
    static func failed(_ error: KernelError, _ action: String, in place: String = "the image store") -> ImageStoreError {
        error.errno == ENOSPC || error.errno == EDQUOT ? .noSpace(place) : .system(error, doing: action)
    }
}

/// Runs system calls whose failure is told as "cannot ACTION: …".
@discardableResult
func storing<Value: ~Copyable>(_ action: @autoclosure () -> String, _ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch let error as KernelError {
        throw ImageStoreError.failed(error, action())
    }
}

/// How far a long operation is.
public struct TransferProgress: Sendable, Equatable {
    public enum Phase: String, Sendable { case copying, extracting, done, exists }
    /// The blob.
    public let digest: Digest
    public let phase: Phase
    /// Bytes of the blob, as it is stored.
    public let completed: Int64
    public let total: Int64

    public init(digest: Digest, phase: Phase, completed: Int64, total: Int64) {
        self.digest = digest
        self.phase = phase
        self.completed = completed
        self.total = total
    }
}

/// Receives progress, on the calling thread, about ten times a second.
public typealias ProgressHandler = (TransferProgress) -> Void
