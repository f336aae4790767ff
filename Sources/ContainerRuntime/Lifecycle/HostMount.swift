import CLinux
import Glibc
import LinuxKernel

/// The root of a container that has no mount namespace: a mount of the host's own. Everything that the container mounts lies below it, so that
/// it takes all of that along when it is removed.
public struct HostMount: Codable, Sendable, Equatable {
    /// Absolute, without links.
    var path: String
    /// As the kernel numbers mounts (proc_pid_mountinfo(5)), so that nothing is taken away that somebody else has mounted there.
    var number: UInt64

    /// Mounts a directory, and what is mounted below it, on itself.
    static func make(over path: String) throws(KernelError) -> HostMount {
        guard let resolved = realpath(path, nil) else { throw .last("realpath", path) }
        defer { free(resolved) }
        let place = String(cString: resolved)
        // What is mounted over the root of everybody is reached by nobody, not even to take it away.
        if place == "/" { throw KernelError(call: "mount", errno: EBUSY, subject: "/") }
        let directory = try FileDescriptor.open(place, RootDirectory.pathOnly | O_DIRECTORY | O_NOFOLLOW)
        let tree = try Mounts.cloneTree(directory, recursive: true)
        try Mounts.setAttributes(tree, propagation: .private, recursive: true)
        let mount = HostMount(path: place, number: try number(of: tree))
        try Mounts.attach(tree, on: directory)
        do {
            // What is mounted below a shared mount is shared too; what the container mounts is nobody else's.
            try Mounts.setAttributes(tree, propagation: .private, recursive: true)
        } catch {
            try mount.remove()
            throw error
        }
        return mount
    }

    /// Detached, with everything below. One that is gone already is no error.
    func remove() throws(KernelError) {
        do {
            let top = try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY | O_NOFOLLOW)
            if try Self.number(of: top) != number { return }
        } catch  where error.errno == ENOENT || error.errno == ENOTDIR || error.errno == ELOOP {
            return
        }
        let place = path
        try retrying("umount2", place) { cl_umount2(place, 2 | 8) }  // MNT_DETACH, UMOUNT_NOFOLLOW
    }

    private static func number(of file: borrowing FileDescriptor) throws(KernelError) -> UInt64 {
        if let number = try file.information("mnt_id"), let mount = UInt64(exactly: number) { return mount }
        throw KernelError(call: "fdinfo", errno: EINVAL, subject: "mnt_id")
    }
}
