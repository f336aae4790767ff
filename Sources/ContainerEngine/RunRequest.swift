/// Everything that `create` and `run` were asked for: flags, parsed and checked, before the image is known.
///
/// It is stored with the container, for `inspect` and for a later `start`.
public struct RunRequest: Codable, Sendable, Equatable {
    /// The image as the user named it.
    public var image: String
    /// What follows the image on the command line; empty means the image's own command.
    public var command: [String] = []
    /// `--entrypoint`: nil keeps the image's, "" drops it.
    public var entrypoint: String?
    public var name: String?
    public var hostname: String?
    /// `-u`, as written: names are resolved inside the root by the runtime (never by the host's libc).
    public var user: String?
    public var workingDirectory: String?
    /// "NAME=VALUE", resolved.
    public var environment: [String] = []
    public var labels: [String: String] = [:]
    public var annotations: [String: String] = [:]
    public var terminal = false
    public var stdinOpen = false
    /// What was started in the background keeps its open stdin whoever attaches and goes: Docker's `StdinOnce` is false. nil: no.
    public var stdinStays: Bool?
    /// Which streams a foreground client shows: Docker's `-a`; empty means all.
    public var attach: [String] = []
    public var autoRemove = false
    public var initProcess = false
    public var readOnlyRoot = false
    public var mounts: [MountRequest] = []
    public var ports: [PortMapping] = []
    /// `-P`: publish every port that the image exposes.
    public var publishAll = false
    public var exposedPorts: [String] = []
    /// nil leaves it to the level.
    public var network: NetworkMode?
    public var extraHosts: [HostEntry] = []
    public var dnsServers: [String] = []
    public var dnsSearch: [String] = []
    public var dnsOptions: [String] = []
    public var resources = ResourceRequest()
    public var security = SecurityRequest()
    public var stopSignal: String?
    /// Seconds; nil means the default of 10.
    public var stopTimeout: Int?
    public var logDriver = LogDriver.jsonFile
    /// "linux/amd64", or nil for this machine's.
    public var platform: String?

    public init(image: String) { self.image = image }
}

/// `--network`.
public enum NetworkMode: String, Codable, Sendable { case none, outbound, host }

/// `--log-driver`.
public enum LogDriver: String, Codable, Sendable {
    case jsonFile = "json-file"
    case none
}

/// What the container may use of the machine; nil leaves the level's figure.
public struct ResourceRequest: Codable, Sendable, Equatable {
    /// Bytes.
    public var memory: Int64?
    /// Bytes of memory and swap together; -1 for no limit.
    public var memorySwap: Int64?
    public var memoryReservation: Int64?
    /// Billionths of a processor.
    public var nanoCPUs: Int64?
    public var cpuShares: Int64?
    public var cpusetCPUs: String?
    public var cpusetMemory: String?
    /// 0 or -1: unlimited.
    public var pids: Int64?
    public var ulimits: [ResourceLimit] = []
    /// Bytes.
    public var sharedMemory: Int64?
    public var oomScoreAdjust: Int?

    public init() {}
}

/// What the container is confined by; empty or nil leaves the level's choice. Every field that relaxes has a price.
public struct SecurityRequest: Codable, Sendable, Equatable {
    /// "standard", "strict" or "compat".
    public var level = "standard"
    public var privileged = false
    public var addCapabilities: [String] = []
    public var dropCapabilities: [String] = []
    public var addGroups: [String] = []
    /// `--security-opt`, as written.
    public var options: [String] = []
    /// Device nodes of the host, `SOURCE[:DESTINATION[:PERMISSIONS]]`.
    public var devices: [String] = []
    /// "NAME=VALUE" of namespaced sysctls.
    public var sysctls: [String: String] = [:]
    /// "", "host", "private", "keep-id", "auto".
    public var userNamespace = ""
    public var uidMaps: [IDMapFlag] = []
    public var gidMaps: [IDMapFlag] = []
    /// "", "private", "host", "container:NAME".
    public var pidNamespace = ""
    public var ipcNamespace = ""
    public var utsNamespace = ""
    public var cgroupNamespace = ""
    public var cgroupParent: String?

    public init() {}

    /// Where below each hierarchy a container's cgroup is.
    func cgroupPath(of id: String) -> String {
        let parent = (cgroupParent ?? "coffer").split(separator: "/").filter { $0 != ".." && $0 != "." }
        return "/" + (parent + [Substring(id)]).joined(separator: "/")
    }
}
