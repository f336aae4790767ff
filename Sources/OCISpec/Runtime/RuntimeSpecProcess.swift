extension RuntimeSpec {
    /// `process`: the program and what it is (config.md, "Process").
    public struct Process: Codable, Sendable, Equatable {
        public var terminal: Bool?
        public var consoleSize: ConsoleSize?
        public var user: User?
        public var args: [String]?
        public var commandLine: String?
        /// "NAME=value" each.
        public var env: [String]?
        /// Absolute path in the container.
        public var cwd: String
        public var capabilities: Capabilities?
        public var rlimits: [ResourceLimit]?
        public var noNewPrivileges: Bool?
        public var apparmorProfile: String?
        public var oomScoreAdj: Int?
        public var scheduler: Scheduler?
        public var selinuxLabel: String?
        public var ioPriority: IOPriority?
        public var execCPUAffinity: CPUAffinity?

        public init(
            terminal: Bool? = nil, consoleSize: ConsoleSize? = nil, user: User? = nil, args: [String]? = nil,
            commandLine: String? = nil, env: [String]? = nil, cwd: String = "/", capabilities: Capabilities? = nil,
            rlimits: [ResourceLimit]? = nil, noNewPrivileges: Bool? = nil, apparmorProfile: String? = nil,
            oomScoreAdj: Int? = nil, scheduler: Scheduler? = nil, selinuxLabel: String? = nil, ioPriority: IOPriority? = nil,
            execCPUAffinity: CPUAffinity? = nil
        ) {
            self.terminal = terminal
            self.consoleSize = consoleSize
            self.user = user
            self.args = args
            self.commandLine = commandLine
            self.env = env
            self.cwd = cwd
            self.capabilities = capabilities
            self.rlimits = rlimits
            self.noNewPrivileges = noNewPrivileges
            self.apparmorProfile = apparmorProfile
            self.oomScoreAdj = oomScoreAdj
            self.scheduler = scheduler
            self.selinuxLabel = selinuxLabel
            self.ioPriority = ioPriority
            self.execCPUAffinity = execCPUAffinity
        }
    }

    /// In characters.
    public struct ConsoleSize: Codable, Sendable, Equatable {
        public var height: UInt16
        public var width: UInt16

        public init(height: UInt16, width: UInt16) {
            self.height = height
            self.width = width
        }
    }

    public struct User: Codable, Sendable, Equatable {
        /// 0 where it is absent, as every runtime has it.
        public var uid: UInt32
        public var gid: UInt32
        public var umask: UInt32?
        public var additionalGids: [UInt32]?

        public init(uid: UInt32 = 0, gid: UInt32 = 0, umask: UInt32? = nil, additionalGids: [UInt32]? = nil) {
            self.uid = uid
            self.gid = gid
            self.umask = umask
            self.additionalGids = additionalGids
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            uid = try container.decodeIfPresent(UInt32.self, forKey: .uid) ?? 0
            gid = try container.decodeIfPresent(UInt32.self, forKey: .gid) ?? 0
            umask = try container.decodeIfPresent(UInt32.self, forKey: .umask)
            additionalGids = try container.decodeIfPresent([UInt32].self, forKey: .additionalGids)
        }
    }

    /// Names as "CAP_CHOWN" (capabilities(7)).
    public struct Capabilities: Codable, Sendable, Equatable {
        public var bounding: [String]?
        public var effective: [String]?
        public var inheritable: [String]?
        public var permitted: [String]?
        public var ambient: [String]?

        public init(
            bounding: [String]? = nil, effective: [String]? = nil, inheritable: [String]? = nil, permitted: [String]? = nil,
            ambient: [String]? = nil
        ) {
            self.bounding = bounding
            self.effective = effective
            self.inheritable = inheritable
            self.permitted = permitted
            self.ambient = ambient
        }
    }

    /// A limit of getrlimit(2), `type` as "RLIMIT_NOFILE"; 2⁶⁴-1 is no limit.
    public struct ResourceLimit: Codable, Sendable, Equatable {
        public var type: String
        public var soft: UInt64
        public var hard: UInt64

        public init(type: String, soft: UInt64, hard: UInt64) {
            self.type = type
            self.soft = soft
            self.hard = hard
        }
    }

    /// sched_setattr(2); `policy` as "SCHED_BATCH".
    public struct Scheduler: Codable, Sendable, Equatable {
        public var policy: String
        public var nice: Int32?
        public var priority: Int32?
        public var flags: [String]?
        /// Nanoseconds, as are deadline and period.
        public var runtime: UInt64?
        public var deadline: UInt64?
        public var period: UInt64?

        public init(
            policy: String, nice: Int32? = nil, priority: Int32? = nil, flags: [String]? = nil, runtime: UInt64? = nil,
            deadline: UInt64? = nil, period: UInt64? = nil
        ) {
            self.policy = policy
            self.nice = nice
            self.priority = priority
            self.flags = flags
            self.runtime = runtime
            self.deadline = deadline
            self.period = period
        }
    }

    /// ioprio_set(2); `class` as "IOPRIO_CLASS_BE".
    public struct IOPriority: Codable, Sendable, Equatable {
        public var `class`: String
        /// Means nothing to IOPRIO_CLASS_IDLE.
        public var priority: Int?

        public init(class: String, priority: Int? = nil) {
            self.class = `class`
            self.priority = priority
        }
    }

    /// CPU lists such as "0-3,7", for processes that enter the container later.
    public struct CPUAffinity: Codable, Sendable, Equatable {
        public var initial: String?
        public var final: String?

        public init(initial: String? = nil, final: String? = nil) {
            self.initial = initial
            self.final = final
        }
    }
}

extension RuntimeSpec.Process {
    /// Makes this the process of another user: root has the container's whole set, anybody else nothing but the bound.
    ///
    /// A name counts as an ordinary user until the runtime has looked it up: fewer capabilities than meant, never more.
    ///
    /// - Parameters:
    ///   - text: "USER[:GROUP]", names or numbers.
    ///   - bounding: names of the capabilities that the container is bounded by.
    public mutating func forUser(_ text: String, bounding: [String]) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let name = parts.first.map(String.init) ?? ""
        let isRoot = name == "root" || UInt32(name) == 0
        user = RuntimeSpec.User(
            uid: UInt32(name) ?? (isRoot ? 0 : 1), gid: parts.count > 1 ? UInt32(parts[1]) ?? 0 : 0, umask: user?.umask,
            additionalGids: user?.additionalGids)
        capabilities = RuntimeSpec.Capabilities(
            bounding: bounding, effective: isRoot ? bounding : [], inheritable: [], permitted: isRoot ? bounding : [], ambient: [])
    }
}
