/// What Coffer's own runtime is told beside `config.json`: everything that the OCI runtime specification has no word for.
///
/// It lives in the bundle as `coffer.json`, written by the engine only; a bundle of another engine has none and is then
/// run exactly as the specification says. It is kept out of `config.json` so that no annotation of an image or a user can
/// ever reach it (rule R10, CVE-2024-3154).
public struct BundleExtension: Codable, Sendable, Equatable {
    /// The file's name in the bundle.
    public static let fileName = "coffer.json"

    /// Where the root file system comes from.
    public var root: RootSource
    /// Lock every mount with a second user namespace (rule R8), so that a remount fails even with CAP_SYS_ADMIN.
    public var lockMounts: Bool
    /// Landlock rules for the payload, or nil when the caller switched Landlock off.
    public var landlock: LandlockPolicy?
    public var network: NetworkPolicy
    public var stdio: StandardStreams
    /// Where the monitor logs to, or nil for no log.
    public var log: LogPolicy?
    /// Program and arguments that the monitor runs once the container has ended (used by `-d --rm`), or nil.
    public var exitCommand: [String]?
    /// Run a small init as PID 1 that reaps and forwards signals (`--init`).
    public var initProcess: Bool
    /// "user[:group]" as the user or the image gave it; the runtime looks names up in the image's own files inside the root
    /// (rule R9). nil: `process.user` of config.json counts.
    public var userSpec: String?
    /// Groups that the user gave by name, looked up like `userSpec`. nil: none.
    public var groupNames: [String]?
    /// Destinations of volumes that get what the image has at their place, as long as they are empty. nil: none.
    public var filledVolumes: [String]?
    /// The network namespace belongs to the inner user namespace, so that NET_ADMIN or NET_RAW of the payload reach it.
    public var networkNamespaceInside: Bool
    /// Steps that may be unavailable without stopping the start (`LaunchStep.Kind` names). Every other step is required.
    public var preferredSteps: [String]
    /// Limits that were asked for, in words, to be reported `unavailable` where no cgroup can be had.
    public var cgroupRequired: Bool
    /// Other containers of the same user have the same range of IDs.
    public var sharesIDRange: Bool
    /// The level that the confinement was made from, or nil.
    public var level: String?

    public init(
        root: RootSource, lockMounts: Bool, landlock: LandlockPolicy?, network: NetworkPolicy, stdio: StandardStreams,
        log: LogPolicy?, exitCommand: [String]?, initProcess: Bool, userSpec: String?, networkNamespaceInside: Bool,
        preferredSteps: [String], cgroupRequired: Bool, sharesIDRange: Bool = false, level: String? = nil,
        groupNames: [String]? = nil, filledVolumes: [String]? = nil
    ) {
        self.root = root
        self.lockMounts = lockMounts
        self.landlock = landlock
        self.network = network
        self.stdio = stdio
        self.log = log
        self.exitCommand = exitCommand
        self.initProcess = initProcess
        self.userSpec = userSpec
        self.networkNamespaceInside = networkNamespaceInside
        self.preferredSteps = preferredSteps
        self.cgroupRequired = cgroupRequired
        self.sharesIDRange = sharesIDRange
        self.level = level
        self.groupNames = groupNames
        self.filledVolumes = filledVolumes
    }
}

/// Where a container's root file system comes from.
public enum RootSource: Codable, Sendable, Equatable {
    /// `root.path` of config.json, as it is.
    case directory
    /// An overlay of read-only layers.
    case overlay(OverlayRoot)
}

/// An overlay root. All paths are absolute host paths below the engine's own state root.
public struct OverlayRoot: Codable, Sendable, Equatable {
    /// Layer directories, top layer first, as overlayfs wants them.
    public var lowerDirectories: [String]
    public var upperDirectory: String
    public var workDirectory: String
    /// An empty directory of the engine on which the lower layers are staged before the overlay is mounted.
    public var stageDirectory: String
    /// The layers are owned by the image's own IDs and are shifted into the container's range by idmapped mounts
    /// (rootful; Linux 5.19). False where they are already owned by the range.
    public var idmapLowers: Bool

    public init(
        lowerDirectories: [String], upperDirectory: String, workDirectory: String, stageDirectory: String, idmapLowers: Bool
    ) {
        self.lowerDirectories = lowerDirectories
        self.upperDirectory = upperDirectory
        self.workDirectory = workDirectory
        self.stageDirectory = stageDirectory
        self.idmapLowers = idmapLowers
    }
}

/// Landlock rules as data (landlock(7)). Paths are inside the container's root.
public struct LandlockPolicy: Codable, Sendable, Equatable {
    /// One path and the access rights granted beneath it.
    public struct PathRule: Codable, Sendable, Equatable {
        public var path: String
        /// Names of rights: "execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char",
        /// "make_dir", "make_reg", "make_sock", "make_fifo", "make_block", "make_sym", "refer", "truncate", "ioctl_dev".
        public var access: [String]
        /// A path that does not exist in this image is no error when true.
        public var optional: Bool

        public init(path: String, access: [String], optional: Bool) {
            self.path = path
            self.access = access
            self.optional = optional
        }
    }

    /// False switches the file-system part off (SYS_ADMIN was added: its own mounts would fail). Scopes stay.
    public var handlesFileSystem: Bool
    public var rules: [PathRule]
    /// Forbid connections to abstract unix sockets of outside (Landlock ABI 6).
    public var scopeAbstractUnixSockets: Bool
    /// Forbid signals to processes outside the domain (ABI 6). Only where the pid namespace is shared.
    public var scopeSignals: Bool
    /// TCP ports that may be bound, or nil when TCP is not restricted (ABI 4).
    public var tcpBindPorts: [UInt16]?
    /// TCP ports that may be connected to, or nil when TCP is not restricted (ABI 4).
    public var tcpConnectPorts: [UInt16]?

    public init(
        handlesFileSystem: Bool, rules: [PathRule], scopeAbstractUnixSockets: Bool, scopeSignals: Bool,
        tcpBindPorts: [UInt16]?, tcpConnectPorts: [UInt16]?
    ) {
        self.handlesFileSystem = handlesFileSystem
        self.rules = rules
        self.scopeAbstractUnixSockets = scopeAbstractUnixSockets
        self.scopeSignals = scopeSignals
        self.tcpBindPorts = tcpBindPorts
        self.tcpConnectPorts = tcpConnectPorts
    }
}

/// What network the payload gets.
public enum NetworkPolicy: Codable, Sendable, Equatable {
    /// A namespace of its own with only the loopback interface.
    case none
    /// The host's network namespace.
    case host
    /// A namespace of its own, connected outwards by pasta; host loopback, link-local and host addresses closed.
    case outbound(OutboundNetwork)
}

/// The parameters of an `outbound` network.
public struct OutboundNetwork: Codable, Sendable, Equatable {
    public struct PublishedPort: Codable, Sendable, Equatable {
        public enum TransportProtocol: String, Codable, Sendable { case tcp, udp }
        /// The host address that is bound, 127.0.0.1 unless the user named another.
        public var hostAddress: String
        public var hostPort: UInt16
        public var containerPort: UInt16
        public var transport: TransportProtocol

        public init(hostAddress: String, hostPort: UInt16, containerPort: UInt16, transport: TransportProtocol) {
            self.hostAddress = hostAddress
            self.hostPort = hostPort
            self.containerPort = containerPort
            self.transport = transport
        }
    }

    public var ports: [PublishedPort]
    /// Absolute path of the `pasta` program.
    public var pastaPath: String
    /// The address that resolv.conf names and that pasta answers DNS queries on for the host's resolver, or nil when the
    /// user named servers himself.
    public var dnsForwardAddress: String?
    /// Drop packets to host addresses, link-local and host loopback by nftables in the container's namespace.
    public var closeHost: Bool

    public init(ports: [PublishedPort], pastaPath: String, dnsForwardAddress: String?, closeHost: Bool) {
        self.ports = ports
        self.pastaPath = pastaPath
        self.dnsForwardAddress = dnsForwardAddress
        self.closeHost = closeHost
    }
}

/// How the payload's standard streams are connected when the monitor runs it. A terminal is `process.terminal` of config.json.
public struct StandardStreams: Codable, Sendable, Equatable {
    /// Keep stdin open for attached clients (`-i`); otherwise it is /dev/null.
    public var stdinOpen: Bool
    /// An open stdin ends with no client: it belongs to nobody who is attached now (`run -d -i`). nil: false.
    public var stdinStays: Bool?

    public init(stdinOpen: Bool, stdinStays: Bool? = nil) {
        self.stdinOpen = stdinOpen
        self.stdinStays = stdinStays
    }
}

/// A json-file log with rotation.
public struct LogPolicy: Codable, Sendable, Equatable {
    /// Absolute path of the current file; older ones are `PATH.1`, `PATH.2`, …
    public var path: String
    /// Bytes per file.
    public var maxBytes: Int
    /// Number of files, the current one included.
    public var maxFiles: Int
    public init(path: String, maxBytes: Int, maxFiles: Int) {
        self.path = path
        self.maxBytes = maxBytes
        self.maxFiles = maxFiles
    }
}
