import Confinement

extension FactorRow {
    private static let filterRemedy = Remedy(
        "--security-opt seccomp=PROFILE", compose: "security_opt: [\"seccomp:PROFILE\"]",
        kubernetes: "securityContext.seccompProfile.type: RuntimeDefault", systemd: "SystemCallFilter=@system-service", oci: "linux.seccomp")

    /// Groups of calls that have been the way out more often than others, each priced by the share of it that is reachable.
    private static let callGroups: [(id: String, calls: [String], weight: Double, power: String, reason: String)] = [
        (
            "mount", ["mount", "umount2", "pivot_root", "fsopen", "fsmount", "fsconfig", "fspick", "move_mount", "open_tree", "mount_setattr"], 2,
            "call mount(2) and its kin", "file system code parses what it is given (CVE-2022-0185)"
        ),
        (
            "io-uring", ["io_uring_setup", "io_uring_enter", "io_uring_register"], 2.5, "use io_uring",
            "most kernel exploits that were paid for in 2022 and 2023 went through it, and it passes the filter by"
        ),
        ("bpf", ["bpf"], 2, "call bpf(2)", "a verifier is code that is attacked (CVE-2021-3490, CVE-2022-23222)"),
        ("perf", ["perf_event_open"], 1.5, "call perf_event_open(2)", "large and seldom needed (CVE-2023-6931)"),
        ("userfaultfd", ["userfaultfd"], 1, "call userfaultfd(2)", "it stretches races in the kernel to any length"),
        ("keyring", ["keyctl", "add_key", "request_key"], 1, "use the kernel's key rings", "not in any namespace (CVE-2016-0728)"),
        (
            "modules", ["init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"], 2, "call what loads code into the kernel",
            "only a capability stands between"
        ),
        (
            "trace", ["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"], 0.8, "look into other processes",
            "the processes are those that it sees"
        ),
        ("handles", ["open_by_handle_at"], 0.8, "open files by handle", "the Shocker escape"),
        (
            "namespaces", ["setns", "unshare", "clone3"], 1.2, "make and enter namespaces",
            "clone3's flags are out of a filter's sight; a namespace opens code that only root could reach"
        ),
        (
            "memory", ["mbind", "migrate_pages", "move_pages", "set_mempolicy", "vmsplice"], 0.5, "steer pages of memory",
            "seldom needed, and raced with"
        ),
        ("clock", ["settimeofday", "clock_settime", "adjtimex", "clock_adjtime"], 0.3, "call what sets clocks", "only a capability stands between"),
        (
            "machine", ["reboot", "swapon", "swapoff", "iopl", "ioperm", "acct", "quotactl", "syslog", "sethostname", "setdomainname"], 0.8,
            "call what steers the machine", "only a capability stands between"
        ),
        ("old", ["modify_ldt", "personality", "ustat", "sysfs", "vhangup", "uselib"], 0.3, "call what is obsolete", "code that nobody reads"),
    ]

    static let syscallRows: [FactorRow] =
        [
            FactorRow(
                "syscalls", .syscalls, "How many system calls reach the kernel?", weight: 9, range: 361, good: "none",
                bad: "every system call reaches the kernel",
                why: "each call is code of the kernel that strangers can run; the number is counted from the filter itself", mend: filterRemedy
            ) { 361 * Double($0.calls.reachable.count) / Double($0.syscallCount) },
            FactorRow(
                "architectures", .syscalls, "Are calls of other architectures let in?", weight: 1.5, good: "only native calls",
                bad: "32-bit calls reach the kernel too",
                why: "32-bit entries are a second set of doors to the same rooms, less used and less tested",
                mend: Remedy(
                    "a seccomp profile with one architecture", compose: "a seccomp profile with one architecture",
                    kubernetes: "a Localhost seccomp profile with one architecture", systemd: "SystemCallArchitectures=native",
                    oci: "linux.seccomp.architectures")
            ) { $0.foreignArchitectures },
            FactorRow(
                "nested-user-namespaces", .syscalls, "Can it make user namespaces?", weight: 3, good: "it cannot make user namespaces",
                bad: "it makes user namespaces, and holds every capability in them",
                why: "two thirds of the privilege escalations of the last years need one (Ubuntu and Debian restrict them for that reason)",
                mend: Remedy(
                    "a seccomp profile that refuses clone and unshare with CLONE_NEWUSER", compose: "security_opt: [\"seccomp:PROFILE\"]",
                    kubernetes: "securityContext.seccompProfile.type: RuntimeDefault", systemd: "RestrictNamespaces=~user", oci: "linux.seccomp")
            ) { $0.nestsUsers ? 10 : 0 },
            FactorRow(
                "socket-families", .syscalls, "Which rare sockets can it open?", weight: 1.5, range: 9, good: "no rare protocols",
                bad: "it opens sockets of rare protocols",
                why: "old protocols are where holes stay (CVE-2017-11176, CVE-2022-27666, AF_VSOCK crosses to the hypervisor)",
                mend: Remedy(
                    "a seccomp profile that lists families of socket(2)", compose: "security_opt: [\"seccomp:PROFILE\"]",
                    kubernetes: "a Localhost seccomp profile", systemd: "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", oci: "linux.seccomp")
            ) { Double($0.calls.rareFamilies) },
        ]
        + callGroups.map { group in
            FactorRow(
                "syscalls-" + group.id, .syscalls, "Can it \(group.power)?", weight: group.weight, good: "it cannot \(group.power)",
                bad: "it can \(group.power)", why: group.reason, mend: filterRemedy
            ) { 10 * $0.share(group.calls) }
        }
}
