import CLinux
import Glibc
import LinuxKernel

/// Work on trees that belong to containers' IDs, done by a child of this program in the owner namespace where the caller is
/// a user; root does it at once.
public enum OwnedTrees {
    /// Gives a tree to somebody; IDs as the owner namespace counts.
    static func changeOwner(of path: String, uid: UInt32, gid: UInt32) throws(EngineError) {
        try run(["internal", "change-owner", path, "\(uid)", "\(gid)"], doing: "the owner of \(path) cannot be changed")
    }

    /// Runs a hidden subcommand in the owner namespace to its end.
    ///
    /// - Parameter doing: begins the message of a failure.
    static func run(_ arguments: [String], doing: String) throws(EngineError) {
        let message: [UInt8]
        do {
            let namespace = try OwnerNamespace.forTrees()
            let child = try namespace.start(arguments)
            if let maps = namespace.maps { try child.completeMaps(maps) }
            message = try child.receive()
            try child.process.wait()
        } catch {
            throw EngineError("\(doing): \(error)")
        }
        // "K" is done; anything else is the reason.
        if message != [UInt8(ascii: "K")] {
            throw EngineError("\(doing): \(message.isEmpty ? "the work was cut short" : String(decoding: message, as: UTF8.self))")
        }
    }

    /// The child's half: enters the namespace, does the work, answers.
    ///
    /// - Returns: the exit code.
    public static func serve(with namespaces: [NamespaceKind] = [], _ work: () throws -> Void) -> Int32 {
        do {
            if geteuid() != 0 || !namespaces.isEmpty { try OwnerNamespace.enter(with: namespaces) }
            try work()
            answer("K")
            return 0
        } catch {
            answer("\(error)")
            return 1
        }
    }

    /// Enters a user namespace of its own and stays until it is killed: its parent wants the namespace, not the process.
    public static func holdNamespace() -> Int32 {
        do {
            try OwnerNamespace.enter()
        } catch {
            return 1
        }
        while true { pause() }
    }

    private static func answer(_ text: String) {
        let bytes = Array(text.utf8.prefix(4096))
        send(OwnerNamespace.socketDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
}

/// Changes the owner of a tree, following no link and crossing no mount.
public enum TreeOwner {
    /// - Throws: `KernelError` with the path of what could not be changed.
    public static func change(_ path: String, uid: UInt32, gid: UInt32) throws(KernelError) {
        let top = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        let status = try top.status()
        let raw = top.rawValue
        try retrying("fchown", path) { fchown(raw, uid, gid) }
        if status.st_mode & S_IFMT == S_IFDIR { try changeEntries(of: top, device: status.st_dev, uid, gid, path) }
    }

    private static func changeEntries(
        of directory: borrowing FileDescriptor, device: dev_t, _ uid: UInt32, _ gid: UInt32, _ path: String
    ) throws(KernelError) {
        let raw = directory.rawValue
        for entry in try DirectoryListing.read(raw) {
            let shown = path + "/" + entry.text
            var status = stat()
            try retrying("fstatat", shown) { fstatat(raw, entry.name, &status, AT_SYMLINK_NOFOLLOW) }
            if status.st_dev != device { continue }
            try retrying("fchownat", shown) { fchownat(raw, entry.name, uid, gid, AT_SYMLINK_NOFOLLOW) }
            guard status.st_mode & S_IFMT == S_IFDIR else { continue }
            let child = FileDescriptor(
                owning: try retrying("openat", shown) { openat(raw, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            try changeEntries(of: child, device: device, uid, gid, shown)
        }
    }
}
