import CProbing
import Glibc
import Probe

extension Attempts {
    /// Files of /proc and /sys that are opened for writing, and never written to.
    static let kernelFiles: Group = writablePaths.map { ($0.id, openForWriting($0.patterns)) }

    private static let writablePaths: [(id: String, patterns: [String])] = [
        ("proc-core-pattern", ["/proc/sys/kernel/core_pattern"]),
        ("proc-modprobe", ["/proc/sys/kernel/modprobe"]),
        ("proc-hotplug", ["/proc/sys/kernel/hotplug"]),
        ("proc-poweroff-cmd", ["/proc/sys/kernel/poweroff_cmd"]),
        ("proc-usermodehelper", ["/proc/sys/kernel/usermodehelper/bset", "/proc/sys/kernel/usermodehelper/inheritable"]),
        ("proc-sysrq-trigger", ["/proc/sysrq-trigger"]),
        ("proc-sysrq", ["/proc/sys/kernel/sysrq"]),
        ("proc-binfmt-register", ["/proc/sys/fs/binfmt_misc/register"]),
        ("proc-ns-last-pid", ["/proc/sys/kernel/ns_last_pid"]),
        ("proc-vm", ["/proc/sys/vm/panic_on_oom", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches"]),
        ("proc-panic", ["/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops"]),
        ("proc-randomize", ["/proc/sys/kernel/randomize_va_space"]),
        ("proc-fs-protected", ["/proc/sys/fs/protected_symlinks", "/proc/sys/fs/suid_dumpable"]),
        ("proc-net", ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv6/conf/all/forwarding"]),
        ("proc-user-limits", ["/proc/sys/user/max_user_namespaces"]),
        ("proc-irq", ["/proc/irq/default_smp_affinity", "/proc/irq/*/smp_affinity"]),
        ("proc-bus-pci", ["/proc/bus/pci/*/*"]),
        ("proc-mtrr", ["/proc/mtrr"]),
        ("proc-timer-migration", ["/proc/sys/kernel/timer_migration", "/proc/sys/kernel/sched_rt_runtime_us"]),
        ("sys-uevent-helper", ["/sys/kernel/uevent_helper"]),
        ("sys-power-state", ["/sys/power/state"]),
        ("sys-hugepage", ["/sys/kernel/mm/transparent_hugepage/enabled"]),
        ("sys-cpu-online", ["/sys/devices/system/cpu/cpu1/online"]),
        ("sys-module-parameter", ["/sys/module/*/parameters/*"]),
        ("sys-block-queue", ["/sys/block/*/queue/scheduler"]),
        ("sys-uevent", ["/sys/devices/virtual/mem/*/uevent", "/sys/devices/*/uevent"]),
        ("sys-pci-rescan", ["/sys/bus/pci/rescan"]),
        ("sys-efivars", ["/sys/firmware/efi/efivars/*"]),
    ]

    private static func openForWriting(_ patterns: [String]) -> Attempt {
        { _ in openingForWriting(patterns) }
    }

    /// Opens each for writing until one lets itself be opened.
    static func openingForWriting(_ patterns: [String]) -> Finding {
        var denial: Int32?
        for path in patterns.flatMap(paths(matching:)) {
            let reply = tryOpen(path, O_WRONLY | O_NONBLOCK)
            if reply.succeeded { return .reached("\(path) was opened for writing") }
            // A file that nobody may write to has no write mode either: EACCES even for root without CAP_DAC_OVERRIDE, and EIO or EINVAL with it.
            if reply.errno != ENOENT { denial = reply.errno }
        }
        if let denial { return .denied(denial, patterns[0]) }
        return missing(patterns[0])
    }

    /// What is not there: the kernel has none, if the directory around it is the kernel's own; else it is hidden.
    static func missing(_ path: String) -> Finding {
        let fixed = path.split(separator: "/").prefix { !$0.contains("*") }
        var parent = "/" + fixed.dropLast(fixed.count == path.split(separator: "/").count ? 1 : 0).joined(separator: "/")
        // The nearest directory that exists.
        while parent != "/" && status(of: parent) == nil { parent = "/" + parent.split(separator: "/").dropLast().joined(separator: "/") }
        let kernels: [Int] = [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163]
        if kernels.contains(cl_path_magic(parent)), !names(in: parent).isEmpty {
            return Finding(.absent, errno: ENOENT, "\(path): this kernel has no such file")
        }
        return .denied(ENOENT, path)
    }
}
