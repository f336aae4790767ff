import Glibc
import LinuxKernel

/// How the owners of files change on their way between a container and an archive.
public struct OwnerTranslation: Sendable {
    /// Inside the container ↔ outside, as the copying process sees files. Empty: nothing is mapped.
    let users: [IDMapping]
    let groups: [IDMapping]
    /// Give every file to this user and group (inside numbers) instead; nil keeps the archive's.
    let fixed: (user: UInt32, group: UInt32)?

    /// - Parameters:
    ///   - maps: the container's ID maps, nil where the numbers are the same.
    ///   - fixed: the owner that every file gets.
    public init(maps: IDMaps?, fixed: (user: UInt32, group: UInt32)?) {
        users = maps?.users ?? []
        groups = maps?.groups ?? []
        self.fixed = fixed
    }

    /// Nobody's number (user_namespaces(7), overflow ID), for an owner that has no number inside.
    private static let overflow: UInt32 = 65534

    func archived(user: UInt32, group: UInt32) -> (UInt32, UInt32) {
        (Self.inside(user, users), Self.inside(group, groups))
    }

    func onDisk(user: UInt32, group: UInt32) -> (UInt32, UInt32) {
        let (user, group) = fixed ?? (user, group)
        return (Self.outside(user, users), Self.outside(group, groups))
    }

    private static func inside(_ id: UInt32, _ map: [IDMapping]) -> UInt32 {
        map.isEmpty ? id : map.lazy.compactMap { $0.inside(of: id) }.first ?? overflow
    }

    private static func outside(_ id: UInt32, _ map: [IDMapping]) -> UInt32 {
        // An owner without a number outside becomes container root's: nothing is ever given to an ID of the host.
        map.isEmpty ? id : map.lazy.compactMap { $0.outside(of: id) }.first ?? map.lazy.compactMap { $0.outside(of: 0) }.first ?? overflow
    }
}

/// Writes a file or a tree as a tar stream (PAX), for `cp`. The tree may be hostile and change meanwhile: everything is
/// opened by its parent's descriptor, and no link is followed.
public struct TreeArchiveWriter {
    private let output: Int32
    private let owners: OwnerTranslation

    /// - Parameter output: a descriptor that stays the caller's.
    public init(_ output: Int32, owners: OwnerTranslation) {
        self.output = output
        self.owners = owners
    }

    /// Writes what `name` in `parent` is, called `archived` in the archive, and the archive's end.
    public func write(_ name: String, in parent: borrowing FileDescriptor, as archived: String) throws {
        try add(name, parent.rawValue, archived)
        try put([UInt8](repeating: 0, count: 1024))
    }

    private func add(_ name: String, _ parent: Int32, _ path: String) throws {
        var status = stat()
        try retrying("fstatat", path) { fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: try addFile(name, parent, path)
        case S_IFDIR: try addDirectory(name, parent, path)
        case S_IFLNK:
            var target = [UInt8](repeating: 0, count: 4096)
            let count = try retrying("readlinkat", path) { readlinkat(parent, name, &target, target.count) }
            try header(path, status, type: "2", size: 0, link: String(decoding: target[..<count], as: UTF8.self))
        case S_IFIFO: try header(path, status, type: "6", size: 0)
        // Devices and sockets mean something only where they are: they are not copied, as tar leaves sockets out.
        default: break
        }
    }

    private func addFile(_ name: String, _ parent: Int32, _ path: String) throws {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let file = FileDescriptor(owning: try retrying("openat", path) { openat(parent, name, flags) })
        let status = try file.status()
        guard status.st_mode & S_IFMT == S_IFREG else { throw KernelError(call: "openat", errno: EAGAIN, subject: path) }
        try header(path, status, type: "0", size: Int64(status.st_size))
        // The file may grow or shrink while it is read; the archive has room for exactly what its header says.
        var left = Int(status.st_size)
        while left > 0 {
            var part = try file.read(upTo: min(left, 1 << 18))
            if part.isEmpty { part = [UInt8](repeating: 0, count: min(left, 1 << 18)) }
            try put(part)
            left -= part.count
        }
        try put([UInt8](repeating: 0, count: (512 - Int(status.st_size) % 512) % 512))
    }

    private func addDirectory(_ name: String, _ parent: Int32, _ path: String) throws {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        let directory = FileDescriptor(owning: try retrying("openat", path) { openat(parent, name, flags) })
        try header(path + "/", try directory.status(), type: "5", size: 0)
        for entry in try DirectoryListing.read(directory.rawValue).map(\.text).sorted() { try add(entry, directory.rawValue, path + "/" + entry) }
    }

    // MARK: Headers

    private func put(_ bytes: [UInt8]) throws {
        var offset = 0
        while offset < bytes.count {
            offset += try retrying("write", "the archive") {
                bytes.withUnsafeBytes { Glibc.write(output, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
            }
        }
    }

    private func header(_ path: String, _ status: stat, type: Character, size: Int64, link: String = "") throws {
        let (user, group) = owners.archived(user: status.st_uid, group: status.st_gid)
        var records = ""
        if path.utf8.count > 100 { records += Self.record("path", path) }
        if link.utf8.count > 100 { records += Self.record("linkpath", link) }
        if size >= 1 << 33 { records += Self.record("size", "\(size)") }
        if user > 0o7777777 { records += Self.record("uid", "\(user)") }
        if group > 0o7777777 { records += Self.record("gid", "\(group)") }
        if !records.isEmpty {
            let body = Array(records.utf8)
            try put(
                Self.block("PaxHeaders/\(path.suffix(60))", mode: 0o644, user: 0, group: 0, size: Int64(body.count), time: 0, type: "x", link: ""))
            try put(body + [UInt8](repeating: 0, count: (512 - body.count % 512) % 512))
        }
        try put(
            Self.block(
                path, mode: status.st_mode & 0o7777, user: min(user, 0o7777777), group: min(group, 0o7777777),
                size: min(size, (1 << 33) - 1), time: max(0, Int64(status.st_mtim.tv_sec)), type: type, link: link))
    }

    /// One PAX record: its own length counts.
    private static func record(_ key: String, _ value: String) -> String {
        let rest = " \(key)=\(value)\n"
        var length = rest.utf8.count + 1
        while "\(length)".utf8.count + rest.utf8.count != length { length = "\(length)".utf8.count + rest.utf8.count }
        return "\(length)" + rest
    }

    private static func block(
        _ path: String, mode: UInt32, user: UInt32, group: UInt32, size: Int64, time: Int64, type: Character, link: String
    ) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, at offset: Int) { block.replaceSubrange(offset..<(offset + bytes.count), with: bytes) }
        func octal(_ value: Int64, _ digits: Int) -> String.UTF8View {
            let text = String(value, radix: 8)
            return (String(repeating: "0", count: max(0, digits - text.count)) + text).utf8
        }
        put(path.utf8.prefix(100), at: 0)
        put(octal(Int64(mode), 7), at: 100)
        put(octal(Int64(user), 7), at: 108)
        put(octal(Int64(group), 7), at: 116)
        put(octal(size, 11), at: 124)
        put(octal(time, 11), at: 136)
        put(String(type).utf8, at: 156)
        put(link.utf8.prefix(100), at: 157)
        put("ustar\u{0}00".utf8, at: 257)
        put("        ".utf8, at: 148)
        put(octal(block.reduce(0) { $0 + Int64($1) }, 6), at: 148)
        put([0, 0x20], at: 154)
        return block
    }
}
