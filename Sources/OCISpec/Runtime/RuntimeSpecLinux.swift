import StrictJSON

extension RuntimeSpec {
    /// `linux` (config-linux.md).
    public struct Linux: Codable, Sendable, Equatable {
        public var uidMappings: [IDMapping]?
        public var gidMappings: [IDMapping]?
        public var sysctl: [String: String]?
        public var resources: Resources?
        public var cgroupsPath: String?
        public var namespaces: [Namespace]?
        public var devices: [Device]?
        public var netDevices: [String: NetDevice]?
        public var seccomp: Seccomp?
        /// "shared", "slave", "private" or "unbindable".
        public var rootfsPropagation: String?
        public var maskedPaths: [String]?
        public var readonlyPaths: [String]?
        public var mountLabel: String?
        public var intelRdt: IntelRdt?
        public var personality: Personality?
        public var memoryPolicy: MemoryPolicy?
        /// By clock: "monotonic", "boottime".
        public var timeOffsets: [String: TimeOffset]?

        public init(
            uidMappings: [IDMapping]? = nil, gidMappings: [IDMapping]? = nil, sysctl: [String: String]? = nil,
            resources: Resources? = nil, cgroupsPath: String? = nil, namespaces: [Namespace]? = nil, devices: [Device]? = nil,
            netDevices: [String: NetDevice]? = nil, seccomp: Seccomp? = nil, rootfsPropagation: String? = nil,
            maskedPaths: [String]? = nil, readonlyPaths: [String]? = nil, mountLabel: String? = nil,
            intelRdt: IntelRdt? = nil, personality: Personality? = nil, memoryPolicy: MemoryPolicy? = nil,
            timeOffsets: [String: TimeOffset]? = nil
        ) {
            self.uidMappings = uidMappings
            self.gidMappings = gidMappings
            self.sysctl = sysctl
            self.resources = resources
            self.cgroupsPath = cgroupsPath
            self.namespaces = namespaces
            self.devices = devices
            self.netDevices = netDevices
            self.seccomp = seccomp
            self.rootfsPropagation = rootfsPropagation
            self.maskedPaths = maskedPaths
            self.readonlyPaths = readonlyPaths
            self.mountLabel = mountLabel
            self.intelRdt = intelRdt
            self.personality = personality
            self.memoryPolicy = memoryPolicy
            self.timeOffsets = timeOffsets
        }
    }

    /// `linux.namespaces[]`: a new one, or the one at `path`.
    public struct Namespace: Codable, Sendable, Equatable {
        public enum Kind: String, Codable, Sendable, CaseIterable {
            case pid, network, mount, ipc, uts, user, cgroup, time
        }

        public var type: Kind
        public var path: String?

        public init(type: Kind, path: String? = nil) {
            self.type = type
            self.path = path
        }
    }

    /// `linux.devices[]`: a node that must exist in the container.
    public struct Device: Codable, Sendable, Equatable {
        /// "c", "b", "u" or "p".
        public var type: String
        public var path: String
        public var major: Int64?
        public var minor: Int64?
        /// Permission bits.
        public var fileMode: UInt32?
        public var uid: UInt32?
        public var gid: UInt32?

        public init(
            type: String, path: String, major: Int64? = nil, minor: Int64? = nil, fileMode: UInt32? = nil, uid: UInt32? = nil,
            gid: UInt32? = nil
        ) {
            self.type = type
            self.path = path
            self.major = major
            self.minor = minor
            self.fileMode = fileMode
            self.uid = uid
            self.gid = gid
        }
    }

    /// `linux.netDevices`: a host device that moves into the container, by its name there.
    public struct NetDevice: Codable, Sendable, Equatable {
        public var name: String?
        public init(name: String? = nil) { self.name = name }
    }

    public struct IntelRdt: Codable, Sendable, Equatable {
        public var closID: String?
        public var schemata: [String]?
        public var l3CacheSchema: String?
        public var memBwSchema: String?
        public var enableCMT: Bool?
        public var enableMBM: Bool?
        public var enableMonitoring: Bool?

        public init(
            closID: String? = nil, schemata: [String]? = nil, l3CacheSchema: String? = nil, memBwSchema: String? = nil,
            enableCMT: Bool? = nil, enableMBM: Bool? = nil, enableMonitoring: Bool? = nil
        ) {
            self.closID = closID
            self.schemata = schemata
            self.l3CacheSchema = l3CacheSchema
            self.memBwSchema = memBwSchema
            self.enableCMT = enableCMT
            self.enableMBM = enableMBM
            self.enableMonitoring = enableMonitoring
        }
    }

    /// personality(2): `domain` is "LINUX" or "LINUX32".
    public struct Personality: Codable, Sendable, Equatable {
        public var domain: String
        public var flags: [String]?

        public init(domain: String, flags: [String]? = nil) {
            self.domain = domain
            self.flags = flags
        }
    }

    /// set_mempolicy(2); `mode` as "MPOL_BIND", flags as "MPOL_F_STATIC_NODES".
    public struct MemoryPolicy: Codable, Sendable, Equatable {
        public var mode: String
        /// A list such as "0-3,7".
        public var nodes: String?
        public var flags: [String]?

        public init(mode: String, nodes: String? = nil, flags: [String]? = nil) {
            self.mode = mode
            self.nodes = nodes
            self.flags = flags
        }
    }

    public struct TimeOffset: Codable, Sendable, Equatable {
        public var secs: Int64?
        public var nanosecs: UInt32?

        public init(secs: Int64? = nil, nanosecs: UInt32? = nil) {
            self.secs = secs
            self.nanosecs = nanosecs
        }
    }
}

extension RuntimeSpec {
    /// `linux.seccomp` (config-linux.md, "Seccomp"; names are libseccomp's).
    public struct Seccomp: Codable, Sendable, Equatable {
        /// "SCMP_ACT_ERRNO"…
        public var defaultAction: String
        public var defaultErrnoRet: UInt32?
        /// "SCMP_ARCH_X86_64"…; the native one is always part of it.
        public var architectures: [String]?
        /// "SECCOMP_FILTER_FLAG_LOG"…
        public var flags: [String]?
        public var listenerPath: String?
        public var listenerMetadata: String?
        /// Nine tenths of a configuration. Who loads a filter that was compiled before, as every `exec` does, needs none of it.
        public var syscalls: Deferred<[Rule]>?

        public init(
            defaultAction: String, defaultErrnoRet: UInt32? = nil, architectures: [String]? = nil, flags: [String]? = nil,
            listenerPath: String? = nil, listenerMetadata: String? = nil, syscalls: [Rule]? = nil
        ) {
            self.defaultAction = defaultAction
            self.defaultErrnoRet = defaultErrnoRet
            self.architectures = architectures
            self.flags = flags
            self.listenerPath = listenerPath
            self.listenerMetadata = listenerMetadata
            self.syscalls = syscalls.map { Deferred($0) }
        }

        /// What happens to calls of these names whose arguments match all of `args`.
        public struct Rule: Codable, Sendable, Equatable {
            public var names: [String]
            public var action: String
            public var errnoRet: UInt32?
            public var args: [Argument]?

            public init(names: [String], action: String, errnoRet: UInt32? = nil, args: [Argument]? = nil) {
                self.names = names
                self.action = action
                self.errnoRet = errnoRet
                self.args = args
            }
        }

        public struct Argument: Codable, Sendable, Equatable {
            /// 0…5
            public var index: UInt32
            public var value: UInt64
            /// For "SCMP_CMP_MASKED_EQ": `value` is the mask and this is what is compared.
            public var valueTwo: UInt64?
            /// "SCMP_CMP_EQ"…
            public var op: String

            public init(index: UInt32, value: UInt64, valueTwo: UInt64? = nil, op: String) {
                self.index = index
                self.value = value
                self.valueTwo = valueTwo
                self.op = op
            }
        }
    }
}
