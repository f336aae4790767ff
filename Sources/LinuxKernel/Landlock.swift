import CLinux
import Glibc

/// Rights on files and directories (landlock(7)). The corresponding C constants are LANDLOCK_ACCESS_FS_*.
public struct LandlockAccess: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// One table: name as in our own files, bit, the ABI that brought it, and whether it applies to files as well as directories.
    public static let table: [(name: String, bit: LandlockAccess, abi: Int, appliesToFiles: Bool)] = [
        ("execute", .init(rawValue: 1 << 0), 1, true), ("write_file", .init(rawValue: 1 << 1), 1, true),
        ("read_file", .init(rawValue: 1 << 2), 1, true), ("read_dir", .init(rawValue: 1 << 3), 1, false),
        ("remove_dir", .init(rawValue: 1 << 4), 1, false), ("remove_file", .init(rawValue: 1 << 5), 1, false),
        ("make_char", .init(rawValue: 1 << 6), 1, false), ("make_dir", .init(rawValue: 1 << 7), 1, false),
        ("make_reg", .init(rawValue: 1 << 8), 1, false), ("make_sock", .init(rawValue: 1 << 9), 1, false),
        ("make_fifo", .init(rawValue: 1 << 10), 1, false), ("make_block", .init(rawValue: 1 << 11), 1, false),
        ("make_sym", .init(rawValue: 1 << 12), 1, false), ("refer", .init(rawValue: 1 << 13), 2, false),
        ("truncate", .init(rawValue: 1 << 14), 3, true), ("ioctl_dev", .init(rawValue: 1 << 15), 5, true),
    ]

    /// The right of this name, or nil.
    public init?(named name: String) {
        guard let row = LandlockAccess.table.first(where: { $0.name == name }) else { return nil }
        self = row.bit
    }

    /// Everything that an ABI knows.
    public static func all(abi: Int) -> LandlockAccess {
        table.reduce(into: LandlockAccess()) { if $1.abi <= abi { $0.insert($1.bit) } }
    }

    /// What may be granted on a file that is not a directory.
    public static let fileRights = table.reduce(into: LandlockAccess()) { if $1.appliesToFiles { $0.insert($1.bit) } }
}

/// A ruleset on its way to being enforced: created, filled, then consumed by `restrict()` (typestate).
public struct LandlockRuleset: ~Copyable {
    private let descriptor: FileDescriptor
    /// The kernel's ABI, 1…
    public let abi: Int
    private let handled: LandlockAccess

    /// The kernel's Landlock ABI, or 0 when it has none or it is switched off at boot.
    public static func kernelABI() -> Int {
        let version = cl_landlock_create_ruleset(nil, 0, 1)  // LANDLOCK_CREATE_RULESET_VERSION
        return version > 0 ? Int(version) : 0
    }

    /// - Parameter handledNetwork: 1 = bind TCP, 2 = connect TCP (ABI 4). - Parameter scoped: 1 = abstract sockets, 2 = signals (ABI 6).
    public init(abi: Int, handled: LandlockAccess, handledNetwork: UInt64, scoped: UInt64) throws(KernelError) {
        var attributes = cl_landlock_ruleset_attr(
            handled_access_fs: handled.intersection(.all(abi: abi)).rawValue, handled_access_net: abi >= 4 ? handledNetwork : 0,
            scoped: abi >= 6 ? scoped : 0)
        // Older kernels refuse a structure with fields that they do not know.
        let size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8
        descriptor = FileDescriptor(
            owning: try retrying("landlock_create_ruleset") { cl_landlock_create_ruleset(&attributes, size, 0) })
        self.abi = abi
        self.handled = handled.intersection(.all(abi: abi))
    }

    /// Grants rights beneath an open file or directory.
    public borrowing func allow(_ access: LandlockAccess, beneath target: borrowing FileDescriptor) throws(KernelError) {
        let isDirectory = try target.status().st_mode & S_IFMT == S_IFDIR
        let granted = access.intersection(handled).intersection(isDirectory ? .all(abi: abi) : LandlockAccess.fileRights)
        if granted.isEmpty { return }
        var rule = cl_landlock_path_beneath_attr(allowed_access: granted.rawValue, parent_fd: target.rawValue)
        let raw = descriptor.rawValue
        try retrying("landlock_add_rule") { cl_landlock_add_rule(raw, 1, &rule) }
    }

    /// Grants binding (1) or connecting (2) of a TCP port.
    public borrowing func allow(network access: UInt64, port: UInt16) throws(KernelError) {
        var rule = cl_landlock_net_port_attr(allowed_access: access, port: UInt64(port))
        let raw = descriptor.rawValue
        try retrying("landlock_add_rule", "port \(port)") { cl_landlock_add_rule(raw, 2, &rule) }
    }

    /// Restricts the calling thread, for ever. Needs no_new_privs or CAP_SYS_ADMIN in its user namespace.
    public consuming func restrict() throws(KernelError) {
        let raw = descriptor.rawValue
        try retrying("landlock_restrict_self") { cl_landlock_restrict_self(raw, 0) }
    }
}
