import CLinux
import Glibc

/// The one resolver (rule R4): every path of a container is resolved below its root by openat2(2) with RESOLVE_IN_ROOT and
/// RESOLVE_NO_MAGICLINKS, and what comes back is a descriptor. No path string below a root is ever handed to another
/// call: that is the shape of CVE-2021-30465, CVE-2019-16884, CVE-2024-45310 and most of runc's others.
public struct RootDirectory: ~Copyable, Sendable {
    public let descriptor: FileDescriptor

    public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    private static let inRoot: UInt64 = 0x10  // RESOLVE_IN_ROOT
    private static let noMagicLinks: UInt64 = 0x02
    private static let noSymbolicLinks: UInt64 = 0x04
    private static let beneath: UInt64 = 0x08
    /// O_PATH: the number is the same on every architecture.
    public static let pathOnly: Int32 = 0x20_0000

    /// Opens a path as a program inside would, links included, but never outside and never through /proc's magic links.
    public borrowing func open(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(KernelError) -> FileDescriptor {
        try resolve(path, flags, mode: mode, Self.inRoot | Self.noMagicLinks)
    }

    /// As `open`, but nil when there is nothing at the path.
    public borrowing func openIfPresent(_ path: String, _ flags: Int32) throws(KernelError) -> FileDescriptor? {
        do {
            return try open(path, flags)
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw error
        }
    }

    /// Opens a path and follows no symbolic link at all.
    public borrowing func openWithoutLinks(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(KernelError) -> FileDescriptor {
        try resolve(path, flags, mode: mode, Self.inRoot | Self.noMagicLinks | Self.noSymbolicLinks)
    }

    /// Opens a relative path that must not leave this directory nor use any link (for procfs and other trees of our own).
    public borrowing func openBeneath(_ path: String, _ flags: Int32) throws(KernelError) -> FileDescriptor {
        try resolve(path, flags, mode: 0, Self.beneath | Self.noMagicLinks | Self.noSymbolicLinks)
    }

    private borrowing func resolve(
        _ path: String, _ flags: Int32, mode: mode_t, _ resolution: UInt64
    ) throws(KernelError) -> FileDescriptor {
        if path.utf8.contains(0) { throw KernelError(call: "openat2", errno: EINVAL, subject: path) }
        let raw = descriptor.rawValue
        // EAGAIN: a rename raced with the resolution. A hostile container can keep that up: bounded, then an error.
        for _ in 0..<256 {
            let opened = cl_openat2(raw, path, UInt64(flags | O_CLOEXEC), UInt64(mode), resolution)
            if opened >= 0 { return FileDescriptor(owning: opened) }
            if errno != EAGAIN && errno != EINTR { throw .last("openat2", path) }
        }
        throw KernelError(call: "openat2", errno: EAGAIN, subject: path)
    }

    /// The directory at `path`, made where it is missing (0755, as the caller's identity), each component resolved in the root.
    public borrowing func makeDirectories(_ path: String) throws(KernelError) -> FileDescriptor {
        do {
            return try open(path, Self.pathOnly | O_DIRECTORY)
        } catch  where error.errno == ENOENT {
            // Walk: the longest existing part first, then one component at a time.
        }
        var current = try open("/", Self.pathOnly | O_DIRECTORY)
        var walked = ""
        for component in path.split(separator: "/") where component != "." {
            walked += "/" + component
            do {
                current = try open(walked, Self.pathOnly | O_DIRECTORY)
            } catch  where error.errno == ENOENT {
                let parent = current.rawValue
                let name = String(component)
                if name == ".." { throw KernelError(call: "mkdirat", errno: EINVAL, subject: path) }
                if mkdirat(parent, name, 0o755) == -1 && errno != EEXIST { throw .last("mkdirat", walked) }
                // Opened without following a link: a dangling link here would have been resolved by the image's will.
                let made = openat(parent, name, Self.pathOnly | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                if made == -1 { throw .last("openat", walked) }
                current = FileDescriptor(owning: made)
            }
        }
        return current
    }

    /// An O_PATH descriptor of the file at `path`, made empty where it is missing, to be a mount point for a file.
    ///
    /// A link that leads nowhere stands for its target, which is made as if it had been named: looked up in this root, component by component.
    public borrowing func makeFile(_ path: String) throws(KernelError) -> FileDescriptor { try makeFile(path, followingAtMost: 40) }

    private borrowing func makeFile(_ path: String, followingAtMost links: Int) throws(KernelError) -> FileDescriptor {
        do {
            return try open(path, Self.pathOnly)
        } catch  where error.errno == ENOENT {
            // Made below.
        }
        let components = path.split(separator: "/").filter { $0 != "." }
        guard let name = components.last.map(String.init), name != ".." else {
            throw KernelError(call: "openat", errno: EINVAL, subject: path)
        }
        let directory = "/" + components.dropLast().joined(separator: "/")
        let parent = try makeDirectories(directory)
        let raw = parent.rawValue
        if let target = try Self.linkTarget(name, in: raw) {
            if links == 0 { throw KernelError(call: "openat", errno: ELOOP, subject: path) }
            return try makeFile(target.hasPrefix("/") ? target : "\(directory)/\(target)", followingAtMost: links - 1)
        }
        let made = FileDescriptor(
            owning: try retrying("openat", path) { openat(raw, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644) })
        try made.close()
        return FileDescriptor(owning: try retrying("openat", path) { openat(raw, name, Self.pathOnly | O_NOFOLLOW | O_CLOEXEC) })
    }

    /// What a link says, or nil for anything else and for nothing.
    private static func linkTarget(_ name: String, in directory: Int32) throws(KernelError) -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlinkat(directory, name, &buffer, 4095)
        if length < 0 {
            if errno == EINVAL || errno == ENOENT { return nil }
            throw .last("readlinkat", name)
        }
        return String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether a path exists and whether it is a directory; nil when it does not exist.
    public borrowing func isDirectory(_ path: String) throws(KernelError) -> Bool? {
        do {
            let status = try open(path, Self.pathOnly).status()
            return status.st_mode & S_IFMT == S_IFDIR
        } catch {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw error
        }
    }
}
