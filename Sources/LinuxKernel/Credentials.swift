import CLinux
import Glibc

/// The calling process's own identity and attributes.
public enum Credentials {
    /// What a group without a number in this user namespace appears as (user_namespaces(7)).
    public static let overflowGroup: UInt32 = 65534

    /// setgroups(2), setresgid(2), setresuid(2), in that order. Groups are always set explicitly (rule R9, CVE-2022-2989).
    ///
    /// - Parameter additionalGroups: nil leaves them as they are.
    public static func assume(user: UInt32, group: UInt32, additionalGroups: [UInt32]?) throws(KernelError) {
        if let additionalGroups { try setGroups(additionalGroups) }
        try retrying("setresgid", "\(group)") { cl_setresgid(group, group, group) }
        try retrying("setresuid", "\(user)") { cl_setresuid(user, user, user) }
    }

    private static func setGroups(_ additionalGroups: [UInt32]) throws(KernelError) {
        do {
            try retrying("setgroups") { cl_setgroups(additionalGroups.count, additionalGroups) }
        } catch  where error.errno == EPERM && additionalGroups.isEmpty && setgroupsIsDenied() {
            // A user namespace of one ID only has given setgroups(2) up (user_namespaces(7)): the groups are the caller's own, unmapped.
        }
    }

    /// The supplementary groups, as this user namespace numbers them.
    public static func additionalGroups() throws(KernelError) -> [UInt32] {
        var groups = [UInt32](repeating: 0, count: 65536)  // NGROUPS_MAX
        let count = try retrying("getgroups") { cl_own_groups(groups.count, &groups) }
        return Array(groups.prefix(Int(count)))
    }

    /// With CAP_SETGID in force only the namespace's own refusal is left as a reason.
    private static func setgroupsIsDenied() -> Bool { cl_effective_capabilities() & 1 << 6 != 0 }

    /// PR_SET_KEEPCAPS: permitted capabilities survive the change from root to another user.
    public static func keepCapabilities(_ keep: Bool) throws(KernelError) {
        try retrying("prctl", "PR_SET_KEEPCAPS") { cl_prctl(PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0) }
    }

    /// PR_SET_NO_NEW_PRIVS.
    public static func setNoNewPrivileges() throws(KernelError) {
        try retrying("prctl", "PR_SET_NO_NEW_PRIVS") { cl_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }
    }

    /// PR_SET_DUMPABLE. Off closes /proc/PID/{fd,exe,root} of this process to others (rule R1, CVE-2016-9962).
    public static func setDumpable(_ dumpable: Bool) throws(KernelError) {
        try retrying("prctl", "PR_SET_DUMPABLE") { cl_prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0, 0, 0, 0) }
    }

    /// PR_SET_PDEATHSIG.
    public static func setParentDeathSignal(_ number: Int32) throws(KernelError) {
        try retrying("prctl", "PR_SET_PDEATHSIG") { cl_prctl(PR_SET_PDEATHSIG, UInt(number), 0, 0, 0) }
    }

    /// The name that ps shows, at most 15 bytes (PR_SET_NAME).
    public static func setProcessName(_ name: String) throws(KernelError) {
        try retrying("prctl", "PR_SET_NAME") { cl_prctl_string(PR_SET_NAME, name) }
    }

    /// A new, empty session keyring, so that the payload cannot read the caller's keys.
    public static func joinNewSessionKeyring() throws(KernelError) {
        try retrying("keyctl", "JOIN_SESSION_KEYRING") { cl_keyctl_join_session(nil) }
    }
}

/// A resource limit (getrlimit(2)).
public struct ResourceLimit: Sendable, Equatable {
    /// Every limit of Linux: the OCI name and the number that every supported architecture (x86-64, aarch64) uses.
    public static let numbers: [(name: String, number: Int32)] = [
        ("RLIMIT_CPU", 0), ("RLIMIT_FSIZE", 1), ("RLIMIT_DATA", 2), ("RLIMIT_STACK", 3), ("RLIMIT_CORE", 4), ("RLIMIT_RSS", 5),
        ("RLIMIT_NPROC", 6), ("RLIMIT_NOFILE", 7), ("RLIMIT_MEMLOCK", 8), ("RLIMIT_AS", 9), ("RLIMIT_LOCKS", 10),
        ("RLIMIT_SIGPENDING", 11), ("RLIMIT_MSGQUEUE", 12), ("RLIMIT_NICE", 13), ("RLIMIT_RTPRIO", 14), ("RLIMIT_RTTIME", 15),
    ]

    /// The kernel's number for an OCI name, or nil.
    public static func number(of name: String) -> Int32? { numbers.first { $0.name == name }?.number }

    /// The calling process's limits.
    public static func current(_ number: Int32) throws(KernelError) -> (soft: UInt64, hard: UInt64) {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        try retrying("getrlimit", "\(number)") { cl_getrlimit(number, &soft, &hard) }
        return (soft, hard)
    }

    /// Sets the calling process's limits.
    public static func set(_ number: Int32, soft: UInt64, hard: UInt64) throws(KernelError) {
        try retrying("setrlimit", "\(number)") { cl_prlimit(number, soft, hard) }
    }
}
