import OCISpec

/// Everything that bounds a process, in the kernel's terms. The one model of Coffer: flags, OCI configurations and other
/// sources are read into it; the runtime, the exposure score and the audit read it.
///
/// It is total: what a source left out has become what the kernel will really do. Where an absent value is meaningful it
/// is a case with a name (`.off`, `.unlimited`, `.host`), never nil.
public struct Confinement: Codable, Sendable, Equatable {
    /// The level that it was made from.
    public var origin: Origin
    public var isolation: Isolation
    public var user: PayloadUser
    public var userNamespace: UserNamespace
    public var namespaces: Namespaces
    public var capabilities: CapabilitySets
    /// PR_SET_NO_NEW_PRIVS; nosuid on every mount goes with it.
    public var noNewPrivileges: Bool
    public var syscalls: SyscallPolicy
    public var appArmor: AppArmorConfinement
    public var seLinux: SELinuxConfinement
    public var landlock: LandlockConfinement
    /// A second user namespace locks every mount against remounting (rule R8).
    public var mountsLocked: Bool
    public var rootReadOnly: Bool
    /// In the order in which they are mounted.
    public var mounts: [Mount]
    public var maskedPaths: [String]
    public var readonlyPaths: [String]
    public var devices: [DeviceNode]
    /// Later rules win.
    public var deviceRules: [DeviceRule]
    public var limits: Limits
    public var sysctls: [String: String]
    public var network: NetworkReach
    /// The network namespace belongs to the payload's own user namespace, so that NET_ADMIN and NET_RAW have power over it.
    public var networkNamespaceInside: Bool
    public var logs: LogRetention

    public init(
        origin: Origin, isolation: Isolation, user: PayloadUser, userNamespace: UserNamespace, namespaces: Namespaces,
        capabilities: CapabilitySets, noNewPrivileges: Bool, syscalls: SyscallPolicy, appArmor: AppArmorConfinement,
        seLinux: SELinuxConfinement, landlock: LandlockConfinement, mountsLocked: Bool, rootReadOnly: Bool, mounts: [Mount],
        maskedPaths: [String], readonlyPaths: [String], devices: [DeviceNode], deviceRules: [DeviceRule], limits: Limits,
        sysctls: [String: String], network: NetworkReach, networkNamespaceInside: Bool, logs: LogRetention
    ) {
        self.origin = origin
        self.isolation = isolation
        self.user = user
        self.userNamespace = userNamespace
        self.namespaces = namespaces
        self.capabilities = capabilities
        self.noNewPrivileges = noNewPrivileges
        self.syscalls = syscalls
        self.appArmor = appArmor
        self.seLinux = seLinux
        self.landlock = landlock
        self.mountsLocked = mountsLocked
        self.rootReadOnly = rootReadOnly
        self.mounts = mounts
        self.maskedPaths = maskedPaths
        self.readonlyPaths = readonlyPaths
        self.devices = devices
        self.deviceRules = deviceRules
        self.limits = limits
        self.sysctls = sysctls
        self.network = network
        self.networkNamespaceInside = networkNamespaceInside
        self.logs = logs
    }
}

/// Where a confinement comes from.
public enum Origin: Codable, Sendable, Equatable {
    case level(LevelName)
    /// A document of another engine.
    case foreign
}

/// What stands between the payload and the host's kernel.
public enum Isolation: String, Codable, Sendable, CaseIterable {
    /// Namespaces of the host's own kernel.
    case sharedKernel
    /// A kernel in user space between the program and the host's (gVisor).
    case userSpaceKernel
    /// A virtual machine with a kernel of its own (Kata, Firecracker).
    case microVM
}

/// Who the payload is, in the container's own numbers.
public struct PayloadUser: Codable, Sendable, Equatable {
    public var uid: UInt32
    public var gid: UInt32
    /// Supplementary groups; always set explicitly (CVE-2022-2989).
    public var additionalGids: [UInt32]
    public var umask: UInt32
    /// "user[:group]" that the runtime looks up in the image's own files when the container starts, and that then replaces
    /// the numbers; "" when the numbers are final.
    public var lookup: String

    public init(
        uid: UInt32 = 0, gid: UInt32 = 0, additionalGids: [UInt32] = [], umask: UInt32 = 0o022, lookup: String = ""
    ) {
        self.uid = uid
        self.gid = gid
        self.additionalGids = additionalGids
        self.umask = umask
        self.lookup = lookup
    }
}

/// The payload's user namespace.
public enum UserNamespace: Codable, Sendable, Equatable {
    /// The runtime's own: container root is the runtime's root.
    case host
    /// One of its own with these maps; host IDs are as the runtime sees them. `sharesRange` says that other containers of
    /// the same user have the same range.
    case own(uids: [RuntimeSpec.IDMapping], gids: [RuntimeSpec.IDMapping], sharesRange: Bool)
    /// An existing one.
    case at(path: String)
}

/// Whether a namespace is the container's own.
public enum NamespaceScope: Codable, Sendable, Equatable {
    case own
    case host
    case at(path: String)
}

/// The namespaces beside user (`userNamespace`) and network (`network`).
public struct Namespaces: Codable, Sendable, Equatable {
    public var pid: NamespaceScope
    public var mount: NamespaceScope
    public var ipc: NamespaceScope
    public var uts: NamespaceScope
    public var cgroup: NamespaceScope
    public var time: NamespaceScope

    public init(
        pid: NamespaceScope = .own, mount: NamespaceScope = .own, ipc: NamespaceScope = .own, uts: NamespaceScope = .own,
        cgroup: NamespaceScope = .own, time: NamespaceScope = .host
    ) {
        self.pid = pid
        self.mount = mount
        self.ipc = ipc
        self.uts = uts
        self.cgroup = cgroup
        self.time = time
    }
}

public enum AppArmorConfinement: Codable, Sendable, Equatable {
    /// The profile of whoever starts it.
    case inherited
    /// A loaded profile, or "unconfined".
    case profile(String)
}

public enum SELinuxConfinement: Codable, Sendable, Equatable {
    /// The label of whoever starts it.
    case inherited
    /// Labels of the process and of its mounts; an empty one is inherited.
    case labels(process: String, mounts: String)
}

public enum LandlockConfinement: Codable, Sendable, Equatable {
    case off
    case enforced(LandlockPolicy)
}

/// A mount as the runtime makes it; "" and empty lists where there is nothing to say.
public struct Mount: Codable, Sendable, Equatable {
    public var destination: String
    /// "proc", "tmpfs", "bind"…
    public var type: String
    public var source: String
    public var options: [String]
    public var uidMappings: [RuntimeSpec.IDMapping]
    public var gidMappings: [RuntimeSpec.IDMapping]

    public init(
        destination: String, type: String, source: String, options: [String], uidMappings: [RuntimeSpec.IDMapping] = [],
        gidMappings: [RuntimeSpec.IDMapping] = []
    ) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
        self.uidMappings = uidMappings
        self.gidMappings = gidMappings
    }

    /// Whether the payload can change what is in it.
    public var isWritable: Bool { !options.contains("ro") && !options.contains("rro") }
    public var isBind: Bool { type == "bind" || options.contains("bind") || options.contains("rbind") }
}

/// A node in the container's own /dev.
public struct DeviceNode: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        case character = "c"
        case block = "b"
        case fifo = "p"
    }

    public var path: String
    public var kind: Kind
    public var major: Int64
    public var minor: Int64
    /// Permission bits.
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32

    public init(path: String, kind: Kind, major: Int64, minor: Int64, mode: UInt32 = 0o666, uid: UInt32 = 0, gid: UInt32 = 0) {
        self.path = path
        self.kind = kind
        self.major = major
        self.minor = minor
        self.mode = mode
        self.uid = uid
        self.gid = gid
    }

    /// What every container has (config-linux.md, "Default Devices"), beside the terminal's.
    public static let defaults: [DeviceNode] = [
        DeviceNode(path: "/dev/null", kind: .character, major: 1, minor: 3),
        DeviceNode(path: "/dev/zero", kind: .character, major: 1, minor: 5),
        DeviceNode(path: "/dev/full", kind: .character, major: 1, minor: 7),
        DeviceNode(path: "/dev/random", kind: .character, major: 1, minor: 8),
        DeviceNode(path: "/dev/urandom", kind: .character, major: 1, minor: 9),
        DeviceNode(path: "/dev/tty", kind: .character, major: 5, minor: 0),
    ]
}

/// What the device cgroup lets the container open.
public struct DeviceRule: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable, CaseIterable {
        case all = "a"
        case character = "c"
        case block = "b"
    }

    public var allows: Bool
    public var kind: Kind
    /// -1 is every number.
    public var major: Int64
    public var minor: Int64
    /// Of "rwm".
    public var access: String

    public init(allows: Bool, kind: Kind, major: Int64 = -1, minor: Int64 = -1, access: String = "rwm") {
        self.allows = allows
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = access
    }
}

/// How much of something there is.
public enum Limit: Codable, Sendable, Equatable {
    case unlimited
    case at(UInt64)
}

/// What the container may use up.
public struct Limits: Codable, Sendable, Equatable {
    /// Processes and threads.
    public var pids: Limit
    /// Bytes.
    public var memory: Limit
    /// Bytes of memory and swap together.
    public var memoryAndSwap: Limit
    /// Bytes that are reclaimed down to when memory is short.
    public var memoryReservation: Limit
    /// Relative weight as cgroup v1 counts; 1024 is usual.
    public var cpuShares: UInt64
    /// Microseconds of CPU time a period.
    public var cpuQuota: Limit
    /// Microseconds.
    public var cpuPeriod: UInt64
    /// Lists such as "0-3,7"; "" is all.
    public var cpus: String
    public var memoryNodes: String
    /// setrlimit(2), sorted by type.
    public var processLimits: [RuntimeSpec.ResourceLimit]
    /// oom_score_adj of proc(5).
    public var oomScoreAdjustment: Int

    public init(
        pids: Limit = .unlimited, memory: Limit = .unlimited, memoryAndSwap: Limit = .unlimited,
        memoryReservation: Limit = .unlimited, cpuShares: UInt64 = 1024, cpuQuota: Limit = .unlimited,
        cpuPeriod: UInt64 = 100_000, cpus: String = "", memoryNodes: String = "",
        processLimits: [RuntimeSpec.ResourceLimit] = [], oomScoreAdjustment: Int = 0
    ) {
        self.pids = pids
        self.memory = memory
        self.memoryAndSwap = memoryAndSwap
        self.memoryReservation = memoryReservation
        self.cpuShares = cpuShares
        self.cpuQuota = cpuQuota
        self.cpuPeriod = cpuPeriod
        self.cpus = cpus
        self.memoryNodes = memoryNodes
        self.processLimits = processLimits
        self.oomScoreAdjustment = oomScoreAdjustment
    }
}

/// What the payload can reach.
public enum NetworkReach: Codable, Sendable, Equatable {
    /// Its own loopback.
    case none
    /// Whatever the host reaches.
    case host
    /// Outwards through pasta, a bridge or the like; `closesHost` drops what goes to the host's own addresses and to link-local ones.
    case outbound(ports: [OutboundNetwork.PublishedPort], closesHost: Bool)
    /// An existing namespace.
    case at(path: String)
    /// A namespace of its own that somebody else connects: unknown, and counted as the worst.
    case foreign
}

public enum LogRetention: Codable, Sendable, Equatable {
    case none
    case rotated(maxBytes: Int, maxFiles: Int)
}
