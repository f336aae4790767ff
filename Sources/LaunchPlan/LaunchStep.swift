import OCISpec

/// One step of a launch: the page to read to know what happens between `coffer run` and the payload's first instruction.
///
/// The order of `Kind` is the order of execution, with one exception that `LaunchPlan.violations` knows: without
/// no_new_privs, Landlock and the system call filter come before identity and capabilities, because loading them then
/// needs CAP_SYS_ADMIN. Steps up to `layers` are taken by the parent, from `mountNamespace` on by the container's first process.
///
///     parent                                    child (becomes PID 1 of the container)
///       │  clone3: namespaces, owned by A          │
///       ├─ ID maps of A, layers, devices, network ▶│ proceed
///       │                                          ├─ mounts on detached trees, pivot
///       │                                          ├─ second user namespace B: every mount is locked
///       │                                          ├─ identity, capabilities, no_new_privs, Landlock
///       │◀──────────────────── outcomes, ready ────┤
///       ├─ network is up, state stored ───────────▶│ execute
///       │                                          ├─ system call filter, execve
///       │◀──────────── end of file: it runs ───────┘
public enum LaunchStep: Sendable, Equatable {
    /// Names and order of all steps.
    public enum Kind: String, Sendable, CaseIterable, Comparable {
        case namespaces, identityMaps, controlGroup, networkDevice, network, layers
        case mountNamespace, timeOffsets, hostname, loopback, egressRules, systemControl, resourceLimit, oomScore, root, mount, device
        case console, mask, readOnlyPath, runtimeHooks, containerHooks, pivot, nestingLimit, lockedMounts, keyring
        case personality, scheduler, ioPriority, memoryPolicy, workingDirectory
        case startHooks, identity, capabilities, noNewPrivileges, securityLabel, landlock, verification, systemCallFilter, execute

        public static func < (left: Kind, right: Kind) -> Bool { left.position < right.position }
        var position: Int { Kind.allCases.firstIndex(of: self) ?? Kind.allCases.count }
    }

    /// New namespaces (names as in /proc/PID/ns) and namespaces that are joined by path.
    case namespaces(new: [String], joined: [JoinedNamespace])
    case identityMaps(uid: [RuntimeSpec.IDMapping], gid: [RuntimeSpec.IDMapping])
    case controlGroup(ControlGroup)
    /// A device of the host's network moves into the container's.
    case networkDevice(NetworkDeviceStep)
    case network(NetworkPolicy)
    /// Lower layers are shifted into the range by idmapped mounts.
    case layers(OverlayRoot)
    /// A new time namespace whose clocks differ from the host's.
    case timeOffsets([TimeOffset])
    case mountNamespace
    /// Host name and domain name, those that the container has of its own.
    case hostname(String?, domain: String?)
    case loopback
    /// nftables rules of the container's namespace; the addresses are collected when the launch runs.
    case egressRules(OutboundNetwork)
    case systemControl(key: String, value: String)
    case resourceLimit(name: String, soft: UInt64, hard: UInt64)
    case oomScore(Int)
    case root(RootStep)
    case mount(MountStep)
    case device(DeviceStep)
    case console
    case mask(path: String)
    case readOnlyPath(String)
    /// The parent runs `prestart` and `createRuntime` hooks.
    case runtimeHooks
    /// `createContainer`: in the container's namespaces, programs of the host.
    case containerHooks([RuntimeSpec.Hook])
    case pivot(PivotStep)
    /// user.max_user_namespaces = 1 in A, so that B can be made and nothing below it.
    case nestingLimit
    case lockedMounts(networkInside: Bool)
    case keyring
    case personality(UInt64)
    case scheduler(SchedulerStep)
    /// ioprio_set(2)'s value: class and priority.
    case ioPriority(UInt16)
    case memoryPolicy(MemoryPolicyStep)
    case workingDirectory(String)
    /// `startContainer`: after `start`, in the container, programs of the image.
    case startHooks([RuntimeSpec.Hook])
    case identity(IdentityStep)
    case capabilities(CapabilityStep)
    case noNewPrivileges
    case securityLabel(SecurityLabel)
    case landlock(LandlockPolicy)
    /// Reads /proc/thread-self/status back and compares it with the plan (rule R9).
    case verification
    case systemCallFilter(SystemCallFilter)
    case execute(arguments: [String], environment: [String])

    public var kind: Kind {
        switch self {
        case .namespaces: .namespaces
        case .identityMaps: .identityMaps
        case .controlGroup: .controlGroup
        case .networkDevice: .networkDevice
        case .network: .network
        case .layers: .layers
        case .timeOffsets: .timeOffsets
        case .mountNamespace: .mountNamespace
        case .hostname: .hostname
        case .loopback: .loopback
        case .egressRules: .egressRules
        case .systemControl: .systemControl
        case .resourceLimit: .resourceLimit
        case .oomScore: .oomScore
        case .root: .root
        case .mount: .mount
        case .device: .device
        case .console: .console
        case .mask: .mask
        case .readOnlyPath: .readOnlyPath
        case .runtimeHooks: .runtimeHooks
        case .containerHooks: .containerHooks
        case .pivot: .pivot
        case .nestingLimit: .nestingLimit
        case .lockedMounts: .lockedMounts
        case .keyring: .keyring
        case .personality: .personality
        case .scheduler: .scheduler
        case .ioPriority: .ioPriority
        case .memoryPolicy: .memoryPolicy
        case .workingDirectory: .workingDirectory
        case .startHooks: .startHooks
        case .identity: .identity
        case .capabilities: .capabilities
        case .noNewPrivileges: .noNewPrivileges
        case .securityLabel: .securityLabel
        case .landlock: .landlock
        case .verification: .verification
        case .systemCallFilter: .systemCallFilter
        case .execute: .execute
        }
    }
}

/// A namespace that is joined instead of made.
public struct JoinedNamespace: Sendable, Equatable {
    /// Name as in /proc/PID/ns.
    public var kind: String
    /// Absolute host path of the namespace file.
    public var path: String
    public init(kind: String, path: String) {
        self.kind = kind
        self.path = path
    }
}

/// The container's control group and its limits.
public struct ControlGroup: Sendable, Equatable {
    /// Below the root of each hierarchy, for example "/coffer/ID".
    public var path: String
    public var resources: RuntimeSpec.Resources
    /// No group is an error, instead of an `unavailable` in the report.
    public var required: Bool
    /// A limit that the kernel cannot set is an error too.
    public var isStrict: Bool
    /// Groups that count without limiting, for engines that show what a container uses.
    public var countsUse: Bool
    public init(path: String, resources: RuntimeSpec.Resources, required: Bool, isStrict: Bool = false, countsUse: Bool = false) {
        self.isStrict = isStrict
        self.countsUse = countsUse
        self.path = path
        self.resources = resources
        self.required = required
    }
}

/// A network device and its name in the container.
public struct NetworkDeviceStep: Sendable, Equatable {
    /// What a new name ends with that is to be numbered.
    public static let template = "%d"
    /// In the runtime's network namespace.
    public var hostName: String
    /// In the container's; one that ends with `template` gets the lowest number that is free there.
    public var name: String
    public var isTemplate: Bool { name.hasSuffix(Self.template) }
    public init(hostName: String, name: String) {
        self.hostName = hostName
        self.name = name
    }
}

/// The root file system.
public enum RootStep: Sendable, Equatable {
    /// An existing directory of the host, absolute.
    case directory(String)
    case overlay(OverlayRoot)
}

/// How the new root becomes `/`.
public struct PivotStep: Sendable, Equatable {
    public var readOnly: Bool
    /// MS_SHARED and so on of the new root, or nil for private.
    public var propagation: UInt64?
    /// Of every mount below it too.
    public var recursivePropagation: Bool
    /// MS_MOVE and chroot instead of pivot_root, for a host whose root is a ramfs (`--no-pivot`).
    public var moves: Bool
    /// chroot alone: the mounts are the host's, whose root cannot be switched.
    public var sharesMounts: Bool
    public init(
        readOnly: Bool, propagation: UInt64? = nil, recursivePropagation: Bool = false, moves: Bool = false, sharesMounts: Bool = false
    ) {
        self.sharesMounts = sharesMounts
        self.readOnly = readOnly
        self.recursivePropagation = recursivePropagation
        self.propagation = propagation
        self.moves = moves
    }
}

/// One clock of a time namespace (time_namespaces(7)).
public struct TimeOffset: Sendable, Equatable {
    /// "monotonic" or "boottime".
    public var clock: String
    public var seconds: Int64
    public var nanoseconds: UInt32
    public init(clock: String, seconds: Int64, nanoseconds: UInt32) {
        self.clock = clock
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// sched_setattr(2)'s parameters.
public struct SchedulerStep: Sendable, Equatable {
    public var policy: UInt32
    public var flags: UInt64
    public var nice: Int32
    public var priority: UInt32
    /// Nanoseconds, as are deadline and period.
    public var runtime: UInt64
    public var deadline: UInt64
    public var period: UInt64
    public init(policy: UInt32, flags: UInt64, nice: Int32, priority: UInt32, runtime: UInt64, deadline: UInt64, period: UInt64) {
        self.policy = policy
        self.flags = flags
        self.nice = nice
        self.priority = priority
        self.runtime = runtime
        self.deadline = deadline
        self.period = period
    }
}

/// set_mempolicy(2)'s parameters.
public struct MemoryPolicyStep: Sendable, Equatable {
    /// MPOL_* and its flags MPOL_F_*.
    public var mode: Int32
    /// Node numbers as bits, 64 a word; empty for none.
    public var nodes: [UInt64]
    public init(mode: Int32, nodes: [UInt64]) {
        self.mode = mode
        self.nodes = nodes
    }
}

/// What is mounted.
public enum MountSource: Sendable, Equatable {
    /// A new file system of the kernel: proc, sysfs, tmpfs, devpts, mqueue.
    case fileSystem(type: String, options: [MountOption])
    /// A host path, opened by the parent before anything of the container exists.
    case bind(path: String, recursive: Bool)
    /// A path of the container's own root, looked up in it by the container's first process, when the mounts before this one are made.
    case inside(path: String, recursive: Bool)
    /// The container's own control groups, read-only unless said otherwise.
    case controlGroups
}

/// By which map a mount is shifted.
public struct MountIDMapping: Sendable, Equatable {
    public enum Map: Sendable, Equatable {
        /// The container's own user namespace's.
        case container
        case ranges(uid: [RuntimeSpec.IDMapping], gid: [RuntimeSpec.IDMapping])
    }
    public var map: Map
    /// Mounts below it too ("ridmap").
    public var recursive: Bool
    public init(map: Map, recursive: Bool) {
        self.map = map
        self.recursive = recursive
    }
}

/// A parameter of a file system.
public struct MountOption: Sendable, Equatable {
    public var key: String
    /// nil for a flag.
    public var value: String?
    public init(key: String, value: String?) {
        self.key = key
        self.value = value
    }
}

/// What becomes of symbolic links at the two ends of a bind mount, which are otherwise followed.
public struct MountLinks: OptionSet, Sendable, Equatable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// A source that is a link is mounted as a link.
    public static let source = MountLinks(rawValue: 1)
    /// A destination that is a link is mounted over.
    public static let destination = MountLinks(rawValue: 2)
    /// A source that is a link is no mount: the link is made at the destination.
    public static let copied = MountLinks(rawValue: 4)
}

/// One mount below the root.
public struct MountStep: Sendable, Equatable {
    /// Absolute path inside.
    public var destination: String
    public var source: MountSource
    /// MOUNT_ATTR_* bits to set and to clear.
    public var setAttributes: UInt64
    public var clearAttributes: UInt64
    /// What is asked to be allowed and stays forbidden where the source forbids it: the mount fails then.
    public var unallowable: UInt64
    /// The same for submounts ("rro" and so on; what Coffer's own bundles close is closed below too).
    public var recursiveSet: UInt64
    public var recursiveClear: UInt64
    /// MS_PRIVATE and so on, or nil for private.
    public var propagation: UInt64?
    /// The propagation reaches submounts.
    public var recursivePropagation: Bool
    /// A missing source is no error; the mount is then left out and reported.
    public var optional: Bool
    /// What lies in the image at the destination is copied into the new tmpfs, or into the volume as long as that is empty.
    public var copyUp: Bool
    /// The source's owners are shifted by an idmapped mount; its files stay as they are.
    public var idMapping: MountIDMapping?
    public var links: MountLinks

    public init(
        destination: String, source: MountSource, setAttributes: UInt64, clearAttributes: UInt64, unallowable: UInt64 = 0,
        recursiveSet: UInt64 = 0, recursiveClear: UInt64 = 0, propagation: UInt64?, recursivePropagation: Bool = true, optional: Bool, copyUp: Bool,
        idMapping: MountIDMapping? = nil, links: MountLinks = []
    ) {
        self.destination = destination
        self.source = source
        self.setAttributes = setAttributes
        self.clearAttributes = clearAttributes
        self.unallowable = unallowable
        self.recursiveSet = recursiveSet
        self.recursiveClear = recursiveClear
        self.propagation = propagation
        self.recursivePropagation = recursivePropagation
        self.optional = optional
        self.copyUp = copyUp
        self.idMapping = idMapping
        self.links = links
    }
}

/// A device node: bound from the host where a user namespace forbids mknod(2), else made.
public struct DeviceStep: Sendable, Equatable {
    public var path: String
    /// "c", "b" or "p".
    public var type: String
    public var major: UInt32
    public var minor: UInt32
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32
    /// Where the host has the same device.
    public var hostPath: String
    public init(path: String, type: String, major: UInt32, minor: UInt32, mode: UInt32, uid: UInt32, gid: UInt32, hostPath: String) {
        self.path = path
        self.type = type
        self.major = major
        self.minor = minor
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.hostPath = hostPath
    }
}

/// Who the payload is.
public enum IdentityStep: Sendable, Equatable {
    case numeric(uid: UInt32, gid: UInt32, additionalGroups: [UInt32], umask: UInt32?)
    /// "user[:group]" as the user or the image gave it, looked up in the image's own files (rule R9) inside the root.
    case named(String, additionalGroups: [UInt32], groupNames: [String], umask: UInt32?)
}

/// The five capability sets as masks (capabilities(7)).
public struct CapabilityStep: Sendable, Equatable {
    public var bounding: UInt64
    public var effective: UInt64
    public var permitted: UInt64
    public var inheritable: UInt64
    public var ambient: UInt64
    public init(bounding: UInt64, effective: UInt64, permitted: UInt64, inheritable: UInt64, ambient: UInt64) {
        self.bounding = bounding
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient
    }
}

/// AppArmor profile or SELinux label of the payload.
public struct SecurityLabel: Sendable, Equatable {
    public var appArmorProfile: String?
    public var selinuxLabel: String?
    public init(appArmorProfile: String?, selinuxLabel: String?) {
        self.appArmorProfile = appArmorProfile
        self.selinuxLabel = selinuxLabel
    }
}

/// The filter as OCI describes it.
public struct SystemCallFilter: Sendable, Equatable {
    public var profile: RuntimeSpec.Seccomp
    /// A call that libseccomp does not know is an error, and not a shortfall that is reported.
    public var refusesUnknown: Bool
    public init(profile: RuntimeSpec.Seccomp, refusesUnknown: Bool = false) {
        self.profile = profile
        self.refusesUnknown = refusesUnknown
    }
}
