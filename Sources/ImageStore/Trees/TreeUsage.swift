import Glibc
import LinuxKernel

/// Disk usage of a tree.
enum TreeUsage {
    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    /// Bytes on disk (512-byte blocks) of everything below a directory and of itself; hard links count once.
    static func bytes(of directory: consuming FileDescriptor) throws(KernelError) -> Int64 {
        var seen = Set<Identity>()
        let own = try directory.status()
        var total = Int64(own.st_blocks) * 512
        var pending = [directory.release()]
        defer { for descriptor in pending { close(descriptor) } }
        while let descriptor = pending.popLast() {
            let current = FileDescriptor(owning: descriptor)
            for entry in try DirectoryListing.read(current.rawValue) {
                var status = stat()
                if fstatat(current.rawValue, entry.name, &status, AT_SYMLINK_NOFOLLOW) != 0 {
                    if errno == ENOENT { continue }  // A running container removes files meanwhile.
                    throw .last("fstatat")
                }
                let isDirectory = status.st_mode & S_IFMT == S_IFDIR
                let identity = Identity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
                if !isDirectory, status.st_nlink > 1, !seen.insert(identity).inserted { continue }
                total += Int64(status.st_blocks) * 512
                guard isDirectory else { continue }
                let child = openat(current.rawValue, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                if child < 0 {
                    if errno == ENOENT || errno == ENOTDIR || errno == ELOOP { continue }
                    throw .last("openat")
                }
                pending.append(child)
            }
        }
        return total
    }
}
