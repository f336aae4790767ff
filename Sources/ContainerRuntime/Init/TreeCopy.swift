import Glibc
import LaunchPlan
import LinuxKernel

extension ContainerInit {
    /// `tmpcopyup`: what the image has at a mount point is copied into the new tmpfs, regular files, directories and links
    /// only, at most `limit` entries, without following a link.
    func copyTree(from source: borrowing FileDescriptor, to target: borrowing FileDescriptor) throws {
        var budget = 10_000
        try copyEntries(from: source.rawValue, to: target.rawValue, &budget)
    }

    private func copyEntries(from source: Int32, to target: Int32, _ budget: inout Int) throws {
        for entry in try DirectoryListing.read(source, limit: budget) {
            budget -= 1
            if budget < 0 { throw KernelError(call: "tmpcopyup", errno: E2BIG, subject: entry.text) }
            try copyEntry(entry.name, entry.text, from: source, to: target, &budget)
        }
    }

    private func copyEntry(_ name: [CChar], _ shown: String, from source: Int32, to target: Int32, _ budget: inout Int) throws {
        var status = stat()
        try retrying("fstatat", shown) { fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            try retrying("mkdirat", shown) { mkdirat(target, name, status.st_mode & 0o7777) }
            let from = FileDescriptor(
                owning: try retrying("openat", shown) { openat(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try retrying("openat", shown) { openat(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            try copyEntries(from: from.rawValue, to: to.rawValue, &budget)
        case S_IFREG:
            let from = FileDescriptor(
                owning: try retrying("openat", shown) { openat(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try retrying("openat", shown) {
                    openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, status.st_mode & 0o7777)
                })
            while true {
                let part = try from.read(upTo: 65536)
                if part.isEmpty { break }
                try to.writeAll(part)
            }
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: 4096)
            let length = try retrying("readlinkat", shown) { readlinkat(source, name, &buffer, 4095) }
            buffer.removeLast(4096 - length - 1)  // one zero byte stays
            try retrying("symlinkat", shown) { symlinkat(buffer, target, name) }
        default: return  // devices, sockets and pipes are not copied
        }
        try retrying("fchownat", shown) { fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) }
    }
}
