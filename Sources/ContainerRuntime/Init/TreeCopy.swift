import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// Copies a tree of an image from inside the container's own namespaces, with no more rights than container root: by
/// descriptors, one component at a time, following no link (CVE-2018-15664, CVE-2022-23648). Regular files, directories and
/// links keep owner, mode and modification time; devices, sockets and pipes are left out.
struct TreeCopy {
    /// How many entries may still be copied.
    private var budget: Int

    init(limit: Int) { budget = limit }

    static let itself: [CChar] = [0x2e, 0]
    /// A name for a message; names of an image are bytes, not always UTF-8.
    static func text(_ name: [CChar]) -> String { String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }

    mutating func copyEntries(from source: Int32, to target: Int32) throws {
        for name in try Self.entries(of: source) {
            budget -= 1
            if budget < 0 { throw KernelError(call: "copy", errno: E2BIG, subject: Self.text(name)) }
            try copyEntry(name, from: source, to: target)
        }
    }

    private mutating func copyEntry(_ name: [CChar], from source: Int32, to target: Int32) throws {
        var status = stat()
        try retrying("fstatat", Self.text(name)) { fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            try retrying("mkdirat", Self.text(name)) { mkdirat(target, name, 0o700) }
            let from = try Self.open(name, in: source, O_RDONLY | O_DIRECTORY)
            let to = try Self.open(name, in: target, O_RDONLY | O_DIRECTORY)
            try copyEntries(from: from.rawValue, to: to.rawValue)
            try Self.take(status, for: to.rawValue, name)
        case S_IFREG:
            let from = try Self.open(name, in: source, O_RDONLY | O_NONBLOCK)
            let to = FileDescriptor(
                owning: try retrying("openat", Self.text(name)) { openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600) })
            while true {
                let part = try from.read(upTo: 1 << 18)
                if part.isEmpty { break }
                try to.writeAll(part)
            }
            try Self.take(status, for: to.rawValue, name)
        case S_IFLNK:
            var buffer = [UInt8](repeating: 0, count: 4096)
            let length = try retrying("readlinkat", Self.text(name)) { readlinkat(source, name, &buffer, 4095) }
            let link = buffer[0..<length].map { CChar(bitPattern: $0) } + [0]
            try retrying("symlinkat", Self.text(name)) { symlinkat(link, target, name) }
            try retrying("fchownat", Self.text(name)) { fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) }
        default: return
        }
    }

    /// Owner first: changing it takes the set-user-ID bits away.
    static func take(_ status: stat, for file: Int32, _ name: [CChar]) throws(KernelError) {
        try retrying("fchown", Self.text(name)) { fchown(file, status.st_uid, status.st_gid) }
        try retrying("fchmod", Self.text(name)) { fchmod(file, status.st_mode & 0o7777) }
        let times = [status.st_atim, status.st_mtim]
        try retrying("futimens", Self.text(name)) { futimens(file, times) }
    }

    static func open(_ name: [CChar], in parent: Int32, _ flags: Int32) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("openat", Self.text(name)) { openat(parent, name, flags | O_NOFOLLOW | O_CLOEXEC) })
    }

    /// The names in a directory, without "." and "..".
    static func entries(of directory: Int32) throws(KernelError) -> [[CChar]] {
        try DirectoryListing.read(directory, limit: 1_000_000).map(\.name)
    }

    /// Removes a file or a directory of the runtime's own making, links as links.
    ///
    /// - Parameter levels: how deep it may be, where a container can have added to it: each level takes a descriptor and a part of the stack.
    static func remove(_ name: [CChar], in parent: Int32, levels: Int = .max) throws(KernelError) {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        if errno != EISDIR && errno != EPERM { throw .last("unlinkat", text(name)) }
        guard levels > 0 else { throw KernelError(call: "unlinkat", errno: ELOOP, subject: text(name)) }
        let directory = try open(name, in: parent, O_RDONLY | O_DIRECTORY)
        for inner in try entries(of: directory.rawValue) { try remove(inner, in: directory.rawValue, levels: levels - 1) }
        try retrying("unlinkat", Self.text(name)) { unlinkat(parent, name, AT_REMOVEDIR) }
    }
}

extension ContainerInit {
    /// `tmpcopyup`: what the image has at a mount point is copied into the new tmpfs.
    func copyTree(from source: borrowing FileDescriptor, to target: borrowing FileDescriptor) throws {
        var copy = TreeCopy(limit: 10_000)
        try copy.copyEntries(from: source.rawValue, to: target.rawValue)
    }

    /// Where a volume is filled before its entries are moved to their places.
    private static let staging: [CChar] = ".coffer-filling".utf8.map { CChar(bitPattern: $0) } + [0]

    /// Gives a volume that is still empty what the image has in its place, and that place's owner and mode, as Docker does.
    ///
    /// The entries are copied into a directory of the volume and then renamed: a start that is killed meanwhile leaves that
    /// directory, by which the next one knows that it has to begin again. A lock keeps two starts with one volume apart.
    ///
    /// - Parameter place: the directory of the image, resolved in the root.
    func fill(_ volume: borrowing FileDescriptor, from place: borrowing FileDescriptor, _ destination: String) throws {
        let target = try TreeCopy.open(TreeCopy.itself, in: volume.rawValue, O_RDONLY | O_DIRECTORY)
        let source = try TreeCopy.open(TreeCopy.itself, in: place.rawValue, O_RDONLY | O_DIRECTORY)
        let status = try source.status()
        // Only what is the image's: not a file system that is mounted there.
        guard try Self.isUnfilled(target.rawValue), status.st_dev == (try root.descriptor.status()).st_dev else { return }
        try Self.lock(target.rawValue, destination)
        guard try Self.isUnfilled(target.rawValue) else { return }
        if try !TreeCopy.entries(of: source.rawValue).isEmpty || !TreeCopy.entries(of: target.rawValue).isEmpty {
            do {
                try Self.move(from: source.rawValue, to: target.rawValue)
            } catch {
                try TreeCopy.remove(Self.staging, in: target.rawValue)
                throw error
            }
        }
        try TreeCopy.take(status, for: target.rawValue, TreeCopy.itself)
    }

    private static func move(from source: Int32, to target: Int32) throws {
        try TreeCopy.remove(staging, in: target)
        try retrying("mkdirat", TreeCopy.text(staging)) { mkdirat(target, staging, 0o700) }
        let directory = try TreeCopy.open(staging, in: target, O_RDONLY | O_DIRECTORY)
        let raw = directory.rawValue
        var copy = TreeCopy(limit: 1_000_000)
        try copy.copyEntries(from: source, to: raw)
        for name in try TreeCopy.entries(of: raw) where cl_rename_new(raw, name, target, name) != 0 {
            // Moved by a start that was killed before it had moved all.
            if errno != EEXIST { throw KernelError.last("renameat2", TreeCopy.text(name)) }
        }
        try TreeCopy.remove(staging, in: target)
    }

    private static func isUnfilled(_ volume: Int32) throws(KernelError) -> Bool {
        let names = try TreeCopy.entries(of: volume)
        return names.isEmpty || names.contains { $0.elementsEqual(staging) }
    }

    /// Another start with the same volume is waited for; a container that has it and holds the lock is not waited for long.
    private static func lock(_ volume: Int32, _ destination: String) throws {
        for _ in 0..<1000 {
            if flock(volume, LOCK_EX | LOCK_NB) == 0 { return }
            if errno != EWOULDBLOCK && errno != EINTR { throw KernelError.last("flock", destination) }
            usleep(10_000)
        }
        throw LaunchFailure(.mount, "the volume on \(destination) is being filled by another container", errno: EBUSY, subject: destination)
    }
}
