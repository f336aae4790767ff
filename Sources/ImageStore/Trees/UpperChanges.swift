import CLinux
import Glibc
import LinuxKernel

/// What `docker diff` shows: an overlay's upper directory compared with its lower directories.
///
/// Upper and lowers are walked together by descriptors, merged as overlayfs merges them: a whiteout or a file ends the
/// search in lower layers, and so does an opaque directory after its own layer.
struct UpperChanges {
    /// Depth at which a tree is refused: each level keeps descriptors open.
    private static let maximumDepth = 200

    private var changes: [TreeChange] = []

    static func list(upper: String, lowers: [String]) throws(KernelError) -> [TreeChange] {
        var walk = UpperChanges()
        var merged: [SharedDescriptor] = []
        for lower in lowers { merged.append(SharedDescriptor(try TreeProgram.openDirectory(lower))) }
        try walk.compare(try TreeProgram.openDirectory(upper), merged, path: "", depth: 0)
        return walk.changes.sorted()
    }

    private mutating func compare(
        _ upper: consuming FileDescriptor, _ lowers: [SharedDescriptor], path: String, depth: Int
    ) throws(KernelError) {
        if depth > Self.maximumDepth { throw KernelError(call: "openat", errno: ENAMETOOLONG, subject: "…/\(path.suffix(64))") }
        for entry in try DirectoryListing.read(upper.rawValue) {
            let name = path + "/" + String(decoding: entry.name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard let status = try Self.status(entry.name, in: upper.rawValue) else { continue }
            let found = try Self.find(entry.name, in: lowers)
            if status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0 {
                if found.exists { changes.append(TreeChange(kind: .deleted, path: name)) }
                continue
            }
            changes.append(TreeChange(kind: found.exists ? .changed : .added, path: name))
            guard status.st_mode & S_IFMT == S_IFDIR else { continue }
            let directory = try Self.open(entry.name, in: upper.rawValue)
            let isOpaque = try Self.isOpaque(directory.rawValue)
            try compare(directory, isOpaque ? [] : found.directories, path: name, depth: depth + 1)
        }
    }

    /// Whether the merged lowers have an entry, and the directories that merge under it.
    private static func find(
        _ name: [CChar], in lowers: [SharedDescriptor]
    ) throws(KernelError) -> (exists: Bool, directories: [SharedDescriptor]) {
        var directories: [SharedDescriptor] = []
        for lower in lowers {
            guard let status = try status(name, in: lower.rawValue) else { continue }
            let kind = status.st_mode & S_IFMT
            if kind == S_IFCHR && status.st_rdev == 0 { break }
            if kind != S_IFDIR { return (true, directories) }
            let directory = SharedDescriptor(try open(name, in: lower.rawValue))
            directories.append(directory)
            if try isOpaque(directory.rawValue) { break }
        }
        return (!directories.isEmpty, directories)
    }

    private static func status(_ name: [CChar], in parent: Int32) throws(KernelError) -> stat? {
        var result = stat()
        if fstatat(parent, name, &result, AT_SYMLINK_NOFOLLOW) == 0 { return result }
        if errno == ENOENT { return nil }
        throw .last("fstatat")
    }

    private static func open(_ name: [CChar], in parent: Int32) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("openat") { openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
    }

    private static func isOpaque(_ directory: Int32) throws(KernelError) -> Bool {
        try ExtendedAttribute.value("user.overlay.opaque", of: directory) == [UInt8(ascii: "y")]
    }
}

/// Extended attributes of open files (xattr(7)).
enum ExtendedAttribute {
    /// An attribute's value, or nil when there is none or it is longer than 256 bytes.
    static func value(_ name: String, of file: Int32) throws(KernelError) -> [UInt8]? {
        var value = [UInt8](repeating: 0, count: 256)
        let length = cl_fgetxattr(file, name, &value, value.count)
        if length >= 0 { return Array(value.prefix(length)) }
        if errno != ENODATA && errno != EOPNOTSUPP && errno != ERANGE { throw .last("fgetxattr", name) }
        return nil
    }
}
