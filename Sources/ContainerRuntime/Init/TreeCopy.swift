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
        let listing = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if listing < 0 { throw KernelError.last("openat", ".") }
        guard let stream = fdopendir(listing) else {
            close(listing)
            throw KernelError.last("fdopendir")
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            budget -= 1
            if budget < 0 { throw KernelError(call: "tmpcopyup", errno: E2BIG, subject: name) }
            try copyEntry(name, from: source, to: target, &budget)
        }
    }

    private func copyEntry(_ name: String, from source: Int32, to target: Int32, _ budget: inout Int) throws {
        var status = stat()
        try retrying("fstatat", name) { fstatat(source, name, &status, AT_SYMLINK_NOFOLLOW) }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            try retrying("mkdirat", name) { mkdirat(target, name, status.st_mode & 0o7777) }
            let from = FileDescriptor(
                owning: try retrying("openat", name) { openat(source, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try retrying("openat", name) { openat(target, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            try copyEntries(from: from.rawValue, to: to.rawValue, &budget)
        case S_IFREG:
            let from = FileDescriptor(
                owning: try retrying("openat", name) { openat(source, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) })
            let to = FileDescriptor(
                owning: try retrying("openat", name) {
                    openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, status.st_mode & 0o7777)
                })
            while true {
                let part = try from.read(upTo: 65536)
                if part.isEmpty { break }
                try to.writeAll(part)
            }
        case S_IFLNK:
            var buffer = [CChar](repeating: 0, count: 4096)
            let length = try retrying("readlinkat", name) { readlinkat(source, name, &buffer, 4095) }
            let link = String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            try retrying("symlinkat", name) { symlinkat(link, target, name) }
        default: return  // devices, sockets and pipes are not copied
        }
        try retrying("fchownat", name) { fchownat(target, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW) }
    }
}
