import CLinux
import Glibc

/// One capability (capabilities(7)).
public struct Capability: Hashable, Sendable, CustomStringConvertible {
    /// The kernel's number, 0…63.
    public let rawValue: UInt8
    /// The kernel's name with its prefix: "CAP_CHOWN".
    public let name: String

    private init(_ rawValue: UInt8, _ name: String) {
        self.rawValue = rawValue
        self.name = name
    }

    /// Every capability of Linux 6.18, in the kernel's order (linux/capability.h).
    public static let all: [Capability] = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    ].enumerated().map { Capability(UInt8($0.offset), "CAP_" + $0.element) }

    /// The capability with this full name, or nil when Linux has none such. Names are compared exactly: no prefix is guessed.
    public init?(named name: String) {
        guard let found = Capability.all.first(where: { $0.name == name }) else { return nil }
        self = found
    }

    public var description: String { name }
}

/// A set of capabilities as the kernel's 64-bit mask.
public struct CapabilitySet: Hashable, Sendable {
    public var mask: UInt64

    public init(mask: UInt64) { self.mask = mask }
    public init(_ capabilities: some Sequence<Capability>) {
        mask = capabilities.reduce(0) { $0 | 1 << UInt64($1.rawValue) }
    }

    public func contains(_ capability: Capability) -> Bool { mask & 1 << UInt64(capability.rawValue) != 0 }
    public static let empty = CapabilitySet(mask: 0)
}

/// The calling thread's capability sets.
public enum ThreadCapabilities {
    /// The highest capability that the running kernel knows.
    public static func last() -> UInt8 {
        // PR_CAPBSET_READ answers EINVAL for the first number that the kernel does not know.
        var number: UInt8 = UInt8(Capability.all.count - 1)
        while cl_prctl(PR_CAPBSET_READ, UInt(number), 0, 0, 0) == -1 && number > 0 { number -= 1 }
        while number < 63 && cl_prctl(PR_CAPBSET_READ, UInt(number) + 1, 0, 0, 0) != -1 { number += 1 }
        return number
    }

    /// What is in the bounding set now, up to the kernel's last capability.
    public static func bounding() -> CapabilitySet {
        var mask: UInt64 = 0
        for number in 0..<UInt64(64) {
            let answer = cl_prctl(PR_CAPBSET_READ, UInt(number), 0, 0, 0)
            if answer == -1 { break }
            if answer == 1 { mask |= 1 << number }
        }
        return CapabilitySet(mask: mask)
    }

    /// Drops everything but `kept` from the bounding set, also capabilities that are newer than this table.
    public static func limitBounding(to kept: CapabilitySet) throws(KernelError) {
        for number in 0..<UInt64(64) where kept.mask & 1 << number == 0 {
            if cl_prctl(PR_CAPBSET_DROP, UInt(number), 0, 0, 0) == -1 {
                if errno == EINVAL { return }  // the first number that this kernel does not know
                throw .last("prctl", "PR_CAPBSET_DROP \(number)")
            }
        }
    }

    /// Sets effective, permitted and inheritable (capset(2)), then the ambient set.
    public static func set(
        effective: CapabilitySet, permitted: CapabilitySet, inheritable: CapabilitySet, ambient: CapabilitySet
    ) throws(KernelError) {
        var data = cl_cap_data(
            effective_low: UInt32(truncatingIfNeeded: effective.mask), permitted_low: UInt32(truncatingIfNeeded: permitted.mask),
            inheritable_low: UInt32(truncatingIfNeeded: inheritable.mask), effective_high: UInt32(effective.mask >> 32),
            permitted_high: UInt32(permitted.mask >> 32), inheritable_high: UInt32(inheritable.mask >> 32))
        try retrying("capset") { cl_capset(&data) }
        try retrying("prctl", "PR_CAP_AMBIENT_CLEAR_ALL") { cl_prctl(PR_CAP_AMBIENT, 4, 0, 0, 0) }
        for number in 0..<UInt64(64) where ambient.mask & 1 << number != 0 {
            try retrying("prctl", "PR_CAP_AMBIENT_RAISE \(number)") { cl_prctl(PR_CAP_AMBIENT, 2, UInt(number), 0, 0) }
        }
    }
}
