import Glibc
import LinuxKernel

/// What a process that handles hostile content may still do.
struct SandboxRestriction {
    /// Capabilities to keep, in the process's own user namespace.
    let capabilities: Set<String>
    /// Rights below the root, where the kernel has Landlock.
    let fileRights: Set<String>
    /// System calls, by name; every other one fails with EPERM.
    let calls: [String]

    private static let memoryCalls = [
        "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "rt_sigprocmask", "rt_sigaction", "rt_sigreturn",
        "sigaltstack", "exit", "exit_group", "read", "write", "close", "sendto", "getrandom", "clock_gettime", "restart_syscall",
        "gettid", "getpid", "tgkill", "sched_getaffinity", "sched_yield",
    ]

    /// Writes a tree: files of any owner and mode, whiteouts (mknod of c 0:0), attributes; never opens what it has written.
    static let unpack = SandboxRestriction(
        capabilities: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP"],
        fileRights: [
            "write_file", "read_dir", "remove_dir", "remove_file", "make_char", "make_dir", "make_reg", "make_fifo", "make_sym",
            "refer",
        ],
        calls: memoryCalls + [
            "openat", "openat2", "mkdirat", "mknodat", "symlinkat", "linkat", "unlinkat", "renameat2", "fchown", "fchownat", "fchmod",
            "fchmodat", "utimensat", "fsetxattr", "newfstatat", "fstat", "fstatat64", "statx", "lseek", "getdents64", "fcntl", "umask",
        ])

    /// Reads from one descriptor and writes to another.
    static let inflate = SandboxRestriction(capabilities: [], fileRights: [], calls: memoryCalls)

    /// Applies everything, for ever. - Parameter root: the directory that `fileRights` are granted beneath.
    func apply(root: borrowing FileDescriptor) throws(KernelError) {
        try Credentials.setDumpable(false)
        try ResourceLimit.set(4, soft: 0, hard: 0)  // RLIMIT_CORE
        try ResourceLimit.set(7, soft: 256, hard: 256)  // RLIMIT_NOFILE
        try ResourceLimit.set(2, soft: 1 << 30, hard: 1 << 30)  // RLIMIT_DATA
        try Credentials.setNoNewPrivileges()
        try restrictFiles(root)
        try keepCapabilities()
        let rules = [SeccompRule(names: calls, action: .allow, conditions: [])]
        // EPERM, not a kill: a newer libc that tries a newer call first must fall back, not die.
        try SeccompFilter.compile(defaultAction: .errno(UInt16(EPERM)), architectures: [], rules: rules).filter.load()
    }

    private func keepCapabilities() throws(KernelError) {
        let kept = CapabilitySet(Capability.all.filter { capabilities.contains($0.name) })
        // An unprivileged process without a namespace of its own has none, and may not touch the bounding set.
        if geteuid() == 0 { try ThreadCapabilities.limitBounding(to: kept) }
        let held = geteuid() == 0 ? kept : .empty
        try ThreadCapabilities.set(effective: held, permitted: held, inheritable: .empty, ambient: .empty)
    }

    /// Landlock came with Linux 5.13. Without it the pivoted root and the filter hold alone.
    private func restrictFiles(_ root: borrowing FileDescriptor) throws(KernelError) {
        let abi = LandlockRuleset.kernelABI()
        if abi == 0 { return }
        let ruleset = try LandlockRuleset(abi: abi, handled: .all(abi: abi), handledNetwork: 3, scoped: 3)
        let rights = LandlockAccess.table.filter { fileRights.contains($0.name) }.reduce(into: LandlockAccess()) { $0.insert($1.bit) }
        if !rights.isEmpty { try ruleset.allow(rights, beneath: root) }
        try ruleset.restrict()
    }
}
