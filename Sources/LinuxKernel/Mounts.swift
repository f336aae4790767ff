import CLinux
import Glibc

/// Attributes of a mount (mount_setattr(2)). The corresponding C constants are MOUNT_ATTR_*.
public struct MountAttributes: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let readOnly = MountAttributes(rawValue: 0x1)
    public static let noSetuid = MountAttributes(rawValue: 0x2)
    public static let noDevices = MountAttributes(rawValue: 0x4)
    public static let noExecute = MountAttributes(rawValue: 0x8)
    public static let noAccessTime = MountAttributes(rawValue: 0x10)
    public static let strictAccessTime = MountAttributes(rawValue: 0x20)
    public static let noDirectoryAccessTime = MountAttributes(rawValue: 0x80)
    public static let noSymlinkFollow = MountAttributes(rawValue: 0x20_0000)
    /// The field that the access-time attributes share: it must be cleared as a whole before one of them is set.
    public static let accessTimeField: UInt64 = 0x70
}

/// How mount events travel between namespaces (mount_namespaces(7)). Raw values are MS_*.
public enum MountPropagation: UInt64, Sendable {
    case `private` = 0x4_0000
    case slave = 0x8_0000
    case shared = 0x10_0000
    case unbindable = 0x2_0000
}

/// Mounts by descriptors only (rule R6): a tree is cloned or made detached, gets its attributes while nobody else can see
/// it, and is attached to an O_PATH descriptor that the root's resolver returned.
public enum Mounts {
    private static let emptyPath: UInt32 = 0x1000  // AT_EMPTY_PATH
    private static let recursiveFlag: UInt32 = 0x8000  // AT_RECURSIVE

    /// A detached copy of the mount at a host path (open_tree(2), OPEN_TREE_CLONE).
    public static func cloneTree(path: String, recursive: Bool) throws(KernelError) -> FileDescriptor {
        let flags = 1 | UInt32(O_CLOEXEC) | (recursive ? recursiveFlag : 0)
        return FileDescriptor(owning: try retrying("open_tree", path) { cl_open_tree(AT_FDCWD, path, flags) })
    }

    /// A host path that is to be cloned later. Unlike open(2) with O_PATH, what is mounted there on demand is mounted.
    ///
    /// - Parameter followsLink: where a link at the path's end leads, not the link.
    public static func open(path: String, followsLink: Bool) throws(KernelError) -> FileDescriptor {
        let flags = UInt32(O_CLOEXEC) | (followsLink ? 0 : UInt32(AT_SYMLINK_NOFOLLOW))
        return FileDescriptor(owning: try retrying("open_tree", path) { cl_open_tree(AT_FDCWD, path, flags) })
    }

    /// A detached copy of the mount that an open descriptor refers to.
    public static func cloneTree(_ descriptor: borrowing FileDescriptor, recursive: Bool) throws(KernelError) -> FileDescriptor {
        let raw = descriptor.rawValue
        return FileDescriptor(
            owning: try retrying("open_tree") {
                cl_open_tree(raw, "", 1 | UInt32(O_CLOEXEC) | emptyPath | (recursive ? recursiveFlag : 0))
            })
    }

    /// Attaches a detached tree on top of what `target` refers to (move_mount(2)).
    public static func attach(_ tree: borrowing FileDescriptor, on target: borrowing FileDescriptor) throws(KernelError) {
        let from = tree.rawValue
        let to = target.rawValue
        try retrying("move_mount") { cl_move_mount(from, "", to, "", 0x4 | 0x40) }  // F_EMPTY_PATH, T_EMPTY_PATH
    }

    /// What a mount forbids: read-only, setuid, devices, execution (fstatvfs(3), whose flags have the numbers of these attributes).
    public static func attributes(of tree: borrowing FileDescriptor) throws(KernelError) -> MountAttributes {
        var result = statvfs()
        let raw = tree.rawValue
        try retrying("fstatvfs") { fstatvfs(raw, &result) }
        return MountAttributes(rawValue: UInt64(result.f_flag)).intersection([.readOnly, .noSetuid, .noDevices, .noExecute])
    }

    /// Changes attributes of a tree (mount_setattr(2), Linux 5.12).
    public static func setAttributes(
        _ tree: borrowing FileDescriptor, set: MountAttributes = [], clear: MountAttributes = [],
        propagation: MountPropagation? = nil, recursive: Bool
    ) throws(KernelError) {
        let accessTimes: MountAttributes = [.noAccessTime, .strictAccessTime]
        let changesAccessTime = !set.union(clear).isDisjoint(with: accessTimes)
        var attributes = cl_mount_attr(
            attr_set: set.rawValue,
            attr_clr: clear.subtracting(accessTimes).rawValue | (changesAccessTime ? MountAttributes.accessTimeField : 0),
            propagation: propagation?.rawValue ?? 0, userns_fd: 0)
        let raw = tree.rawValue
        try retrying("mount_setattr") { cl_mount_setattr(raw, "", emptyPath | (recursive ? recursiveFlag : 0), &attributes) }
    }

    /// Shifts the IDs of a detached tree by a user namespace's maps (MOUNT_ATTR_IDMAP, Linux 5.12; overlay lowers 5.19).
    public static func mapIDs(
        of tree: borrowing FileDescriptor, by namespace: borrowing FileDescriptor, recursive: Bool
    ) throws(KernelError) {
        var attributes = cl_mount_attr(attr_set: 0x10_0000, attr_clr: 0, propagation: 0, userns_fd: UInt64(namespace.rawValue))
        let raw = tree.rawValue
        try retrying("mount_setattr", "idmap") {
            cl_mount_setattr(raw, "", emptyPath | (recursive ? recursiveFlag : 0), &attributes)
        }
    }

    /// Changes the propagation of every mount of the calling process's namespace, or of its root alone.
    public static func setPropagation(_ propagation: MountPropagation, recursive: Bool = true) throws(KernelError) {
        try retrying("mount", "/") { cl_mount(nil, "/", nil, UInt(propagation.rawValue) | (recursive ? 0x4000 : 0), nil) }  // MS_REC
    }

    /// Makes what the working directory refers to the root, and lets go of the old root (pivot_root(2): "." twice).
    public static func pivotToWorkingDirectory() throws(KernelError) {
        try retrying("pivot_root") { cl_pivot_root(".", ".") }
        // The old root now lies on top of the new one at "/": detach it before anything can be resolved through it.
        try retrying("umount2") { cl_umount2(".", 2) }  // MNT_DETACH
        try retrying("chdir", "/") { chdir("/") }
    }
}

extension Mounts {
    /// Puts what the working directory refers to over the root and enters it, for hosts whose root is a ramfs and cannot be pivoted. The
    /// old root stays below, out of reach of everybody without CAP_SYS_CHROOT and CAP_SYS_ADMIN.
    public static func moveWorkingDirectoryToRoot() throws(KernelError) {
        try retrying("mount", "MS_MOVE") { cl_mount(".", "/", nil, 0x2000, nil) }
        try changeRootToWorkingDirectory()
    }

    /// chroot(2) into the working directory: the way out stays, for everybody with CAP_SYS_CHROOT.
    public static func changeRootToWorkingDirectory() throws(KernelError) {
        try retrying("chroot", ".") { chroot(".") }
        try retrying("chdir", "/") { chdir("/") }
    }
}

/// A file system that is being configured (fsopen(2), Linux 5.2). Order is enforced by consumption: parameters, then mount.
public struct FileSystemContext: ~Copyable {
    private let descriptor: FileDescriptor
    private let type: String

    /// Starts a new file system of this type.
    public init(_ type: String) throws(KernelError) {
        self.type = type
        descriptor = FileDescriptor(owning: try retrying("fsopen", type) { cl_fsopen(type, 1) })
    }

    /// Sets `key=value`. The kernel takes at most 255 bytes of value.
    public borrowing func set(_ key: String, _ value: String) throws(KernelError) {
        let raw = descriptor.rawValue
        try retrying("fsconfig", "\(type) \(key)=\(value)") { value.withCString { cl_fsconfig(raw, 1, key, $0, 0) } }
    }

    /// Sets a parameter without a value.
    public borrowing func set(flag: String) throws(KernelError) {
        let raw = descriptor.rawValue
        try retrying("fsconfig", "\(type) \(flag)") { cl_fsconfig(raw, 0, flag, nil, 0) }
    }

    /// Creates the file system and returns it as a detached mount.
    public consuming func mount(_ attributes: MountAttributes) throws(KernelError) -> FileDescriptor {
        let raw = descriptor.rawValue
        do {
            try retrying("fsconfig", type) { cl_fsconfig(raw, 6, nil, nil, 0) }  // FSCONFIG_CMD_CREATE
            return FileDescriptor(
                owning: try retrying("fsmount", type) { cl_fsmount(raw, 1, UInt32(attributes.rawValue)) })
        } catch {
            // The context keeps the file system's own words, "e overlay: upper fs does not support …": better than an errno.
            guard let message = lastMessage() else { throw error }
            throw KernelError(call: error.call, errno: error.errno, subject: "\(type) (\(message))")
        }
    }

    private borrowing func lastMessage() -> String? {
        var buffer = [UInt8](repeating: 0, count: 512)
        let raw = descriptor.rawValue
        let count = buffer.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, 512) }
        return count > 2 ? String(decoding: buffer[2..<count], as: UTF8.self).filter { $0 != "\n" } : nil
    }
}
