/// A capability of capabilities(7); raw values are the kernel's numbers (linux/capability.h).
public enum Capability: UInt8, Sendable, CaseIterable, Hashable {
    case chown, dacOverride, dacReadSearch, fowner, fsetid, kill, setgid, setuid, setpcap, linuxImmutable
    case netBindService, netBroadcast, netAdmin, netRaw, ipcLock, ipcOwner, sysModule, sysRawio, sysChroot, sysPtrace
    case sysPacct, sysAdmin, sysBoot, sysNice, sysResource, sysTime, sysTtyConfig, mknod, lease, auditWrite
    case auditControl, setfcap, macOverride, macAdmin, syslog, wakeAlarm, blockSuspend, auditRead, perfmon, bpf
    case checkpointRestore

    private static let names: [String] = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    ]

    /// As in OCI documents: "CAP_NET_ADMIN".
    public var name: String { "CAP_" + Self.names[Int(rawValue)] }

    /// From "CAP_NET_ADMIN", "NET_ADMIN" or "net_admin", as users of `--cap-add` write them.
    public init?(named text: String) {
        let upper = text.uppercased()
        let short = upper.hasPrefix("CAP_") ? String(upper.dropFirst(4)) : upper
        guard let position = Self.names.firstIndex(of: short), let value = Capability(rawValue: UInt8(position)) else { return nil }
        self = value
    }
}

/// A set of capabilities, written as names in the order of the kernel's numbers.
public struct CapabilitySet: OptionSet, Sendable, Hashable {
    /// Bit n is capability n, as in `CapBnd` of /proc/PID/status.
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public init(_ capabilities: some Sequence<Capability>) {
        self.init(rawValue: capabilities.reduce(0) { $0 | 1 << UInt64($1.rawValue) })
    }

    public static let all = CapabilitySet(Capability.allCases)

    /// What a kernel whose last capability has this number knows (/proc/sys/kernel/cap_last_cap).
    public static func all(upTo last: UInt8) -> CapabilitySet { CapabilitySet(Capability.allCases.filter { $0.rawValue <= last }) }

    public func contains(_ capability: Capability) -> Bool { rawValue & 1 << UInt64(capability.rawValue) != 0 }
    public var members: [Capability] { Capability.allCases.filter(contains) }
    public var names: [String] { members.map(\.name) }

    /// Sixteen digits, as in /proc/PID/status.
    public var hexadecimal: String {
        let digits = String(rawValue, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension CapabilitySet: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        var members: [Capability] = []
        for name in try container.decode([String].self) {
            guard let capability = Capability(named: name) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "no capability is named “\(name)”")
            }
            members.append(capability)
        }
        self.init(members)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(names)
    }
}

/// The five capability sets of a process (capabilities(7)).
public struct CapabilitySets: Codable, Sendable, Equatable {
    public var bounding: CapabilitySet
    public var effective: CapabilitySet
    public var permitted: CapabilitySet
    public var inheritable: CapabilitySet
    public var ambient: CapabilitySet

    public init(
        bounding: CapabilitySet, effective: CapabilitySet, permitted: CapabilitySet, inheritable: CapabilitySet,
        ambient: CapabilitySet
    ) {
        self.bounding = bounding
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient
    }

    /// What `execve` leaves of a bounding set: root gets it, any other user nothing. Inheritable and ambient stay empty
    /// (CVE-2022-24769 and its kin).
    /// For a user who is still to be looked up it is what root would get; the runtime cuts it down.
    public init(bounding: CapabilitySet, for user: PayloadUser) {
        let held: CapabilitySet = user.uid == 0 ? bounding : []
        self.init(bounding: bounding, effective: held, permitted: held, inheritable: [], ambient: [])
    }
}
