import Probe

/// What closes a thing on a host for every user of it (sysctl(8), Documentation/admin-guide/sysctl).
enum HostSetting {
    /// By the beginning of a probe's id.
    private static let settings: [(prefix: String, setting: String)] = [
        ("ns-user", "sysctl user.max_user_namespaces=0, which ends rootless containers too"),
        ("sys-userfaultfd", "sysctl vm.unprivileged_userfaultfd=0"),
        ("sys-io-uring", "sysctl kernel.io_uring_disabled=2"),
        ("sys-bpf", "sysctl kernel.unprivileged_bpf_disabled=2"),
        ("sys-perf", "sysctl kernel.perf_event_paranoid=3"),
        ("info-dmesg", "sysctl kernel.dmesg_restrict=1"),
        ("info-kallsyms", "sysctl kernel.kptr_restrict=2"),
        ("sys-tiocsti", "sysctl dev.tty.legacy_tiocsti=0"),
        ("sys-ptrace", "sysctl kernel.yama.ptrace_scope=1"),
        ("sys-int80", "boot with ia32_emulation=0"),
        ("sock-", "a file in /etc/modprobe.d that keeps the module from being loaded (install NAME /bin/false)"),
        ("dev-", "the device's owner and mode (udev rules)"),
    ]

    static func mending(_ row: ProbeRow) -> String {
        settings.first { row.id.hasPrefix($0.prefix) }?.setting ?? "no setting for every user: run what is not trusted in a container"
    }
}
