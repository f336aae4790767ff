/// A container's `config.json` as the OCI runtime specification 1.2 defines it for Linux (config.md, config-linux.md).
///
/// Every member that the specification calls optional is optional here too, and absent members stay absent when written.
/// Unknown members are ignored, as the specification demands of runtimes; `StrictJSONDecoder` refuses what is malformed.
public struct RuntimeSpec: Codable, Sendable, Equatable {
    /// The file's name in a bundle.
    public static let fileName = "config.json"
    /// The version that Coffer writes.
    public static let currentVersion = "1.2.0"

    public var ociVersion: String
    public var process: Process?
    public var root: Root?
    public var hostname: String?
    public var domainname: String?
    /// In the order in which they are mounted.
    public var mounts: [Mount]?
    public var hooks: Hooks?
    public var annotations: [String: String]?
    public var linux: Linux?

    public init(
        ociVersion: String = RuntimeSpec.currentVersion, process: Process? = nil, root: Root? = nil, hostname: String? = nil,
        domainname: String? = nil, mounts: [Mount]? = nil, hooks: Hooks? = nil, annotations: [String: String]? = nil,
        linux: Linux? = nil
    ) {
        self.ociVersion = ociVersion
        self.process = process
        self.root = root
        self.hostname = hostname
        self.domainname = domainname
        self.mounts = mounts
        self.hooks = hooks
        self.annotations = annotations
        self.linux = linux
    }

    /// Whether a runtime for version 1.2 may run a configuration of version `text`: any 1.x.y, pre-releases included
    /// (config.md, "Specification version": semantic versioning 2.0.0).
    public static func accepts(version text: String) -> Bool {
        let core = text.prefix { $0 != "-" && $0 != "+" }.split(separator: ".", omittingEmptySubsequences: false)
        guard core.count == 3, core[0] == "1" else { return false }
        return core.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    }
}

extension RuntimeSpec {
    /// `root`: the container's root file system.
    public struct Root: Codable, Sendable, Equatable {
        /// Absolute, or relative to the bundle.
        public var path: String
        public var readonly: Bool?

        public init(path: String, readonly: Bool? = nil) {
            self.path = path
            self.readonly = readonly
        }
    }

    /// `mounts[]`.
    public struct Mount: Codable, Sendable, Equatable {
        /// Absolute path in the container.
        public var destination: String
        public var type: String?
        public var source: String?
        /// As mount(8) knows them, and what config.md adds ("rbind", "rro", "idmap", "tmpcopyup"…).
        public var options: [String]?
        public var uidMappings: [IDMapping]?
        public var gidMappings: [IDMapping]?

        public init(
            destination: String, type: String? = nil, source: String? = nil, options: [String]? = nil,
            uidMappings: [IDMapping]? = nil, gidMappings: [IDMapping]? = nil
        ) {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
        }
    }

    /// A row of a user namespace's map (user_namespaces(7)).
    public struct IDMapping: Codable, Sendable, Equatable, Hashable {
        public var containerID: UInt32
        public var hostID: UInt32
        /// Number of IDs.
        public var size: UInt32

        public init(containerID: UInt32, hostID: UInt32, size: UInt32) {
            self.containerID = containerID
            self.hostID = hostID
            self.size = size
        }

        /// Whether an ID of the container is mapped by this line.
        public func contains(_ id: UInt32) -> Bool { id >= containerID && id - containerID < size }
    }

    /// `hooks`: programs that the runtime runs at points of the container's life.
    public struct Hooks: Codable, Sendable, Equatable {
        public var prestart: [Hook]?
        public var createRuntime: [Hook]?
        public var createContainer: [Hook]?
        public var startContainer: [Hook]?
        public var poststart: [Hook]?
        public var poststop: [Hook]?

        public init(
            prestart: [Hook]? = nil, createRuntime: [Hook]? = nil, createContainer: [Hook]? = nil,
            startContainer: [Hook]? = nil, poststart: [Hook]? = nil, poststop: [Hook]? = nil
        ) {
            self.prestart = prestart
            self.createRuntime = createRuntime
            self.createContainer = createContainer
            self.startContainer = startContainer
            self.poststart = poststart
            self.poststop = poststop
        }
    }

    public struct Hook: Codable, Sendable, Equatable {
        public var path: String
        public var args: [String]?
        public var env: [String]?
        /// Seconds.
        public var timeout: Int?

        public init(path: String, args: [String]? = nil, env: [String]? = nil, timeout: Int? = nil) {
            self.path = path
            self.args = args
            self.env = env
            self.timeout = timeout
        }
    }
}

/// What a runtime's `state` prints (runtime.md, "State").
public struct RuntimeContainerState: Codable, Sendable, Equatable {
    public enum Status: String, Codable, Sendable, CaseIterable {
        case creating, created, running, stopped
        /// Not of the specification, but what every runtime answers for a frozen container.
        case paused
    }

    public var ociVersion: String
    public var id: String
    public var status: Status
    /// As the host sees it; absent when the container does not run.
    public var pid: Int32?
    /// Absolute path.
    public var bundle: String
    public var annotations: [String: String]?

    public init(
        ociVersion: String = RuntimeSpec.currentVersion, id: String, status: Status, pid: Int32? = nil, bundle: String,
        annotations: [String: String]? = nil
    ) {
        self.ociVersion = ociVersion
        self.id = id
        self.status = status
        self.pid = pid
        self.bundle = bundle
        self.annotations = annotations
    }
}
