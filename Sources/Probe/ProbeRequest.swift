import StrictJSON

/// What `coffer-probe run` is asked: one JSON document, as its only further argument or on standard input until its end.
public struct ProbeRequest: Codable, Sendable, Equatable {
    /// Ids of the table, in the order in which they are tried; nil for all.
    public var probes: [String]?
    /// Seconds until one probe is ended, 1 to 60.
    public var secondsPerProbe: Int
    public var facts: ProbeFacts
    public var limits: ProbeLimits

    /// Bytes of a request.
    public static let limit = 1 << 20

    public init(probes: [String]? = nil, secondsPerProbe: Int = 5, facts: ProbeFacts = ProbeFacts(), limits: ProbeLimits = ProbeLimits()) {
        self.probes = probes
        self.secondsPerProbe = secondsPerProbe
        self.facts = facts
        self.limits = limits
    }

    public func encoded() throws -> [UInt8] { try StrictJSONEncoder().encode(self) }

    /// Throws what the decoder throws, and `ProbeError` for figures out of their range: a request that is not whole is refused.
    public init(decoding bytes: [UInt8]) throws {
        self = try StrictJSONDecoder.rejectUnknownKeys.decode(Self.self, from: bytes)
        guard (1...60).contains(secondsPerProbe) else { throw ProbeError("secondsPerProbe is \(secondsPerProbe); it is 1 to 60") }
        try limits.check()
    }

    /// Whether the request carries a fact.
    public func carries(_ fact: ProbeFact) -> Bool {
        switch fact {
        case .namespaces: !facts.namespaces.isEmpty
        case .hostProcess: facts.hostProcess != nil
        case .hostDirectories: !facts.hostDirectories.isEmpty
        case .abstractSocket: facts.abstractSocket != nil
        case .loopbackEndpoint: facts.endpoints.contains { $0.role == .loopback }
        case .hostEndpoint: facts.endpoints.contains { $0.role == .host }
        case .metadataEndpoint: facts.endpoints.contains { $0.role == .metadata }
        case .peerEndpoint: facts.endpoints.contains { $0.role == .peer && $0.transport == .tcp }
        case .peerDatagramEndpoint: facts.endpoints.contains { $0.role == .peer && $0.transport == .udp }
        case .callerFile: facts.callerFile != nil
        case .sessionKeyring: facts.sessionKeyring != nil
        case .dnsName: facts.dnsName != nil
        case .engineName: facts.engineName != nil
        case .raceDirectory: facts.raceDirectory != nil
        case .processLimit: limits.processes != nil
        case .memoryLimit: limits.memoryBytes != nil
        case .diskLimit: limits.diskBytes != nil
        case .sharedMemoryLimit: limits.sharedMemoryBytes != nil
        case .fileLimit: limits.openFiles != nil
        case .processorLimit: limits.processorPercent != nil
        case .logLimit: limits.logBytes != nil
        }
    }
}

/// What only the host knows. Whatever is nil or empty was not arranged; probes that need it answer `inconclusive`.
public struct ProbeFacts: Codable, Sendable, Equatable {
    /// Inode of each of the host's namespaces by its name below /proc/PID/ns ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time").
    public var namespaces: [String: UInt64] = [:]
    /// A harmless process of the host that is there for this alone. Its number should be one that no process of the twin has.
    public var hostProcess: HostProcess?
    /// Directories of the host by device and inode (stat(2)), so that they are known again wherever they are mounted.
    public var hostDirectories: [HostDirectory] = []
    /// Name of an abstract unix socket (unix(7), without the zero byte) that a canary of the host listens on; it answers `endpointWord`.
    public var abstractSocket: String?
    /// Sockets of canaries. Nothing else is ever connected to.
    public var endpoints: [Endpoint] = []
    /// What each canary sends to whoever connects (TCP, unix), or answers to a datagram: only this counts as reached, since user-space networks
    /// accept connections for others.
    public var endpointWord: String = "coffer-canary"
    /// Path inside of a file whose owner on the host is the user who called the engine.
    public var callerFile: String?
    /// Serial number of the host's session keyring, KEYCTL_GET_KEYRING_ID of the caller.
    public var sessionKeyring: Int32?
    /// A name that a canary resolver of the host watches for. Whether the query arrived is seen outside.
    public var dnsName: String?
    /// The name (/proc/PID/comm) of the engine's process on its way into the container, for what is tried while the engine runs `exec`.
    public var engineName: String?
    /// Path inside of a writable directory that the twin and another container share, for links that are swapped while the other one starts.
    public var raceDirectory: String?
    /// Where the swapped links point: a path of the host. Whether something arrived there is seen outside.
    public var raceTarget: String?

    public init() {}
}

/// A canary process.
public struct HostProcess: Codable, Sendable, Equatable {
    /// Its number on the host.
    public var pid: Int32
    /// Its name, /proc/PID/comm, by which it is told from a process of the twin that happens to have the number.
    public var name: String

    public init(pid: Int32, name: String) {
        self.pid = pid
        self.name = name
    }
}

/// A directory of the host.
public struct HostDirectory: Codable, Sendable, Equatable {
    /// Its path on the host.
    public var path: String
    /// st_dev and st_ino.
    public var device: UInt64
    public var inode: UInt64

    public init(path: String, device: UInt64, inode: UInt64) {
        self.path = path
        self.device = device
        self.inode = inode
    }
}

/// A canary's socket.
public struct Endpoint: Codable, Sendable, Equatable {
    /// Whose it is.
    public enum Role: String, Codable, Sendable, CaseIterable {
        /// On the host's loopback, to be tried under this address: 127.0.0.1, ::1, or an address by which a user-space network reaches it.
        case loopback
        /// On an address of the host that is not its loopback.
        case host
        /// On a link-local address where clouds keep their metadata, in a network namespace made for this.
        case metadata
        /// In another container.
        case peer
    }

    public enum Transport: String, Codable, Sendable, CaseIterable { case tcp, udp }

    public var role: Role
    public var transport: Transport
    /// IPv4 or IPv6, as text.
    public var address: String
    public var port: UInt16

    public init(_ role: Role, _ transport: Transport = .tcp, address: String, port: UInt16) {
        self.role = role
        self.transport = transport
        self.address = address
        self.port = port
    }
}

/// The limits that the twin is said to have. A probe goes a little beyond and no further; one whose figure is nil is refused.
public struct ProbeLimits: Codable, Sendable, Equatable {
    /// Processes of the twin at once, 1 to 4096.
    public var processes: Int?
    /// Bytes of memory, up to 1 GiB.
    public var memoryBytes: UInt64?
    /// Bytes that may be written to `diskDirectory`, up to 1 GiB.
    public var diskBytes: UInt64?
    /// Where; nil for /tmp.
    public var diskDirectory: String?
    /// Bytes that may be written to /dev/shm, up to 1 GiB.
    public var sharedMemoryBytes: UInt64?
    /// Open files of a process, 3 to 1048576.
    public var openFiles: Int?
    /// Processor time, in per cent of one processor, 1 to 6400.
    public var processorPercent: Int?
    /// Bytes that are written to standard error, up to 64 MiB. How many are kept is seen outside.
    public var logBytes: UInt64?

    public init() {}

    func check() throws(ProbeError) {
        func within(_ name: String, _ value: UInt64?, _ range: ClosedRange<UInt64>) throws(ProbeError) {
            guard let value, !range.contains(value) else { return }
            throw ProbeError("limits.\(name) is \(value); it is \(range.lowerBound) to \(range.upperBound)")
        }
        let gigabyte: UInt64 = 1 << 30
        try within("processes", processes.map(UInt64.init(clamping:)), 1...4096)
        try within("memoryBytes", memoryBytes, 1...gigabyte)
        try within("diskBytes", diskBytes, 1...gigabyte)
        try within("sharedMemoryBytes", sharedMemoryBytes, 1...gigabyte)
        try within("openFiles", openFiles.map(UInt64.init(clamping:)), 3...(1 << 20))
        try within("processorPercent", processorPercent.map(UInt64.init(clamping:)), 1...6400)
        try within("logBytes", logBytes, 1...(64 << 20))
    }
}
