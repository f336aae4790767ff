/// An image's configuration (OCI image specification, "Image Configuration"; Docker's is the same with more members).
///
/// The store keeps the original bytes, since their digest is the image's ID; this is a reading of them. Members that
/// only a builder understands (OnBuild, Shell) are not read.
public struct ImageConfiguration: Codable, Sendable, Equatable {
    /// RFC 3339 text.
    public var created: String?
    public var author: String?
    public var architecture: String
    public var os: String
    public var variant: String?
    public var osVersion: String?
    public var config: ExecutionDefaults?
    public var rootfs: RootFileSystem
    public var history: [HistoryEntry]?

    enum CodingKeys: String, CodingKey {
        case created, author, architecture, os, variant, config, rootfs, history
        case osVersion = "os.version"
    }

    public init(
        architecture: String, os: String, config: ExecutionDefaults?, rootfs: RootFileSystem, history: [HistoryEntry]? = nil,
        created: String? = nil
    ) {
        self.architecture = architecture
        self.os = os
        self.config = config
        self.rootfs = rootfs
        self.history = history
        self.created = created
    }

    public var platform: Platform { Platform(os: os, architecture: architecture, variant: variant) }

    /// The uncompressed layers, lowest first.
    public struct RootFileSystem: Codable, Sendable, Equatable {
        public var type: String
        public var diffIDs: [Digest]

        enum CodingKeys: String, CodingKey {
            case type
            case diffIDs = "diff_ids"
        }

        public init(diffIDs: [Digest]) {
            type = "layers"
            self.diffIDs = diffIDs
        }
    }

    /// One step of the image's making.
    public struct HistoryEntry: Codable, Sendable, Equatable {
        public var created: String?
        public var createdBy: String?
        public var author: String?
        public var comment: String?
        /// True when the step made no layer.
        public var emptyLayer: Bool?

        enum CodingKeys: String, CodingKey {
            case created, author, comment
            case createdBy = "created_by"
            case emptyLayer = "empty_layer"
        }

        public init(created: String? = nil, createdBy: String? = nil, comment: String? = nil, emptyLayer: Bool? = nil) {
            self.created = created
            self.createdBy = createdBy
            self.comment = comment
            self.emptyLayer = emptyLayer
        }
    }
}

/// How a container of the image starts where the user says nothing else (member `config`).
public struct ExecutionDefaults: Codable, Sendable, Equatable {
    public var user: String?
    /// "80/tcp" and the like.
    public var exposedPorts: [String: EmptyObject]?
    public var environment: [String]?
    public var entrypoint: [String]?
    public var command: [String]?
    public var volumes: [String: EmptyObject]?
    public var workingDirectory: String?
    public var labels: [String: String]?
    public var stopSignal: String?
    /// Seconds (Docker).
    public var stopTimeout: Int?
    public var healthcheck: Healthcheck?
    public var shell: [String]?

    enum CodingKeys: String, CodingKey {
        case user = "User"
        case exposedPorts = "ExposedPorts"
        case environment = "Env"
        case entrypoint = "Entrypoint"
        case command = "Cmd"
        case volumes = "Volumes"
        case workingDirectory = "WorkingDir"
        case labels = "Labels"
        case stopSignal = "StopSignal"
        case stopTimeout = "StopTimeout"
        case healthcheck = "Healthcheck"
        case shell = "Shell"
    }

    public init() {}

    /// `{}`: Go's set element.
    public struct EmptyObject: Codable, Sendable, Equatable, Hashable {
        public init() {}
    }

    /// A health check (Docker). Durations are nanoseconds; 0 and nil inherit the default.
    public struct Healthcheck: Codable, Sendable, Equatable {
        public var test: [String]?
        public var interval: Int64?
        public var timeout: Int64?
        public var startPeriod: Int64?
        public var startInterval: Int64?
        public var retries: Int?

        enum CodingKeys: String, CodingKey {
            case test = "Test"
            case interval = "Interval"
            case timeout = "Timeout"
            case startPeriod = "StartPeriod"
            case startInterval = "StartInterval"
            case retries = "Retries"
        }

        public init() {}
    }
}
