import OCISpec

/// What a user asked for, flag by flag, parsed but not yet judged. nil is "the level decides".
public struct ConfinementRequest: Sendable, Equatable {
    /// `--userns`
    public enum UserNamespaceMode: Sendable, Equatable {
        case `private`
        /// Maps the invoking user into the container under his own number.
        case keepID
        case host
    }

    /// `--pid`, `--ipc`, `--uts`, `--cgroupns`
    public enum NamespaceMode: Sendable, Equatable {
        case own
        case host
        /// Of another container (`container:NAME`).
        case at(path: String)
    }

    public enum IPCMode: Sendable, Equatable {
        case `private`
        /// Private, and others may join.
        case shareable
        /// Private without /dev/shm.
        case none
        case host
        case at(path: String)
    }

    public enum NetworkMode: Sendable, Equatable {
        case none
        case outbound
        case host
        case at(path: String)
    }

    public var level: LevelName = .standard
    /// As typed: "NET_ADMIN", "cap_net_admin", "ALL".
    public var capabilitiesAdded: [String] = []
    public var capabilitiesDropped: [String] = []
    public var privileged = false
    public var devices: [DeviceRequest] = []
    public var security = SecurityOptions()
    public var userNamespace = UserNamespaceMode.private
    /// `--uidmap`, in host IDs; without `gidMap` it is used for groups too.
    public var uidMap: [RuntimeSpec.IDMapping] = []
    public var gidMap: [RuntimeSpec.IDMapping] = []
    public var pid = NamespaceMode.own
    public var ipc = IPCMode.private
    public var uts = NamespaceMode.own
    public var cgroup = NamespaceMode.own
    public var network: NetworkMode?
    public var ports: [OutboundNetwork.PublishedPort] = []
    /// 0 and below is no limit.
    public var pidsLimit: Int64?
    /// Bytes; 0 is no limit.
    public var memory: UInt64?
    /// Bytes of memory and swap together; -1 is no limit, 0 is not given.
    public var memorySwap: Int64?
    public var memoryReservation: UInt64?
    public var cpus: Double?
    public var cpuShares: UInt64?
    public var cpuSet: String?
    public var memoryNodes: String?
    /// Types as "RLIMIT_NOFILE" (`ulimitType(named:)`).
    public var ulimits: [RuntimeSpec.ResourceLimit] = []
    public var oomScoreAdjustment: Int?
    /// Bytes.
    public var shmSize: UInt64?
    public var readOnly = false
    public var volumes: [VolumeRequest] = []
    public var sysctls: [String: String] = [:]
    /// Replaces the image's user.
    public var user: PayloadUser?
    /// Host files that are mounted on /etc/hosts, /etc/hostname and /etc/resolv.conf, by destination.
    public var generatedFiles: [GeneratedFile] = []

    public init() {}
}

/// A file that the engine wrote for the container, and where it is mounted.
public struct GeneratedFile: Sendable, Equatable {
    public var source: String
    public var destination: String

    public init(source: String, destination: String) {
        self.source = source
        self.destination = destination
    }
}

/// `--device`: a host device, as the engine found it.
public struct DeviceRequest: Sendable, Equatable {
    public var hostPath: String
    public var path: String
    public var kind: DeviceNode.Kind
    public var major: Int64
    public var minor: Int64
    /// Permission bits.
    public var mode: UInt32
    /// Of "rwm".
    public var access: String

    public init(
        hostPath: String, path: String, kind: DeviceNode.Kind, major: Int64, minor: Int64, mode: UInt32 = 0o666,
        access: String = "rwm"
    ) {
        self.hostPath = hostPath
        self.path = path
        self.kind = kind
        self.major = major
        self.minor = minor
        self.mode = mode
        self.access = access
    }
}

/// `-v`, `--mount`, `--tmpfs`.
public struct VolumeRequest: Sendable, Equatable {
    public enum Source: Sendable, Equatable {
        /// An absolute host path that the user named.
        case bind(String)
        /// A directory of the engine's own, for a named or anonymous volume.
        case volume(path: String)
        /// Memory; nil is half of the machine's, as the kernel does. `mode` is octal digits.
        case temporary(bytes: UInt64?, mode: String)
    }

    public enum Propagation: String, Sendable, CaseIterable { case `private`, rprivate, slave, rslave, shared, rshared }

    public var source: Source
    /// Absolute path in the container.
    public var destination: String
    public var readOnly: Bool
    public var noExec: Bool
    public var recursive: Bool
    public var propagation: Propagation
    /// Shift the owners of the files into the container's range (`idmap`).
    public var idmap: Bool

    public init(
        source: Source, destination: String, readOnly: Bool = false, noExec: Bool = false, recursive: Bool = true,
        propagation: Propagation = .rprivate, idmap: Bool = false
    ) {
        self.source = source
        self.destination = destination
        self.readOnly = readOnly
        self.noExec = noExec
        self.recursive = recursive
        self.propagation = propagation
        self.idmap = idmap
    }
}

extension ConfinementRequest {
    /// The OCI name of a limit that `--ulimit` calls "nofile", or nil.
    public static func ulimitType(named name: String) -> String? {
        let known = [
            "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
            "rttime", "sigpending", "stack",
        ]
        return known.contains(name.lowercased()) ? "RLIMIT_" + name.uppercased() : nil
    }
}
