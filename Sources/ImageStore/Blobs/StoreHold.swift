import Glibc
import LinuxKernel

/// A shared claim on the store: while one exists, in any process, garbage is not collected.
///
/// Hold one from the first blob of an image until its name is recorded, and from `layers(of:)` until the container that
/// uses them is recorded.
public final class StoreHold: Sendable {
    private let file: FileDescriptor

    convenience init(_ path: String, _ operation: Int32) throws(KernelError) {
        try self.init(opening: try FileDescriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600), operation, path)
    }

    init(opening file: consuming FileDescriptor, _ operation: Int32, _ path: String) throws(KernelError) {
        let raw = file.rawValue
        self.file = file
        try retrying("flock", path) { flock(raw, operation) }
    }

    /// Whether `path` still names what is locked.
    func isStill(_ path: String) throws(KernelError) -> Bool {
        let own = try file.status()
        var named = stat()
        if lstat(path, &named) != 0 {
            if errno == ENOENT { return false }
            throw .last("lstat", path)
        }
        return own.st_dev == named.st_dev && own.st_ino == named.st_ino
    }
}
