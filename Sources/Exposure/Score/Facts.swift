import Confinement
import OCISpec

/// Paths of the kernel's file systems that the score asks for.
public enum KernelPaths {
    /// What tells things that help the next step.
    public static let telling = Facts.sensitive
    /// What steers the machine when it can be written.
    public static let settings = Facts.writable
}

/// What the factors ask of a subject, worked out once.
struct Facts {
    let subject: Subject
    let confinement: Confinement
    let calls: KernelCalls
    let syscallCount: Int

    init(_ subject: Subject, _ table: SyscallTable, _ calls: KernelCalls) {
        self.subject = subject
        confinement = subject.confinement
        self.calls = calls
        syscallCount = table.numbers.count
    }

    var isRoot: Bool { confinement.user.uid == 0 && !confinement.user.lookup.hasPrefix("!") }

    /// 0…10: what the container's root is outside.
    var rootOutside: Double {
        switch confinement.userNamespace {
        case .host, .at: return subject.engineUser == .root ? 10 : 5
        case .own(let uids, _, let sharesRange):
            // To a rootless runtime its own 0 is the invoking user, to a rootful one it is the host's root.
            if uids.contains(where: { $0.hostID == 0 }) { return subject.engineUser == .root ? 10 : 5 }
            // As /proc shows a rootless container: its root alone is mapped, to the user.
            if subject.source == .process, uids.contains(where: { $0.containerID == 0 && $0.size == 1 }) { return 5 }
            return sharesRange ? 1 : 0
        }
    }

    var hasOwnUsers: Bool {
        if case .own = confinement.userNamespace { return rootOutside < 10 }
        return subject.engineUser == .ordinary
    }

    /// 0…8: how far a capability gives power over the host.
    func reach(_ capability: Capability) -> Double {
        let sets = confinement.capabilities
        let all = [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient]
        guard all.contains(where: { $0.contains(capability) }) else { return 0 }
        // Within a user namespace of its own it is power over what that namespace owns, and opens more of the kernel's code.
        let power: Double = hasOwnUsers ? 0.25 : 1
        let isHeld = isRoot || sets.effective.contains(capability) || sets.permitted.contains(capability) || sets.ambient.contains(capability)
        if isHeld { return 8 * power }
        return (confinement.noNewPrivileges ? 1 : 4) * power
    }

    /// The share of some calls that gets into the kernel.
    func share(_ calls: [String]) -> Double {
        Double(calls.count { self.calls.reachable.contains($0) }) / Double(max(1, calls.count))
    }

    /// Whether the program can make a user namespace below its own.
    var nestsUsers: Bool { !confinement.mountsLocked && calls.makesUserNamespaces }

    var foreignArchitectures: Double {
        // Without any filter it is a little more than with one that lets them in.
        if confinement.syscalls == .unconfined { return 10 }
        return calls.letsForeignIn ? 8 : 0
    }

    /// Whether a path of the kernel's file systems is hidden, or cannot be written.
    func isCovered(_ path: String, by lists: [String]...) -> Bool {
        lists.contains { list in list.contains { $0 == path || path.hasPrefix($0 + "/") } }
    }

    /// 0 (nothing) … 1 (without bound), by powers of two.
    static func scale(_ limit: Limit, bits: Double) -> Double {
        guard case .at(let value) = limit else { return 1 }
        var length = 0.0
        var rest = Double(value)
        while rest >= 2 {
            rest /= 2
            length += 1
        }
        // Between two powers the scale goes on in a straight line, so that every limit has its own place.
        return min(0.9, max(0, (length + rest - 1) / bits))
    }

    /// What is hidden below /proc and /sys by somebody.
    static let sensitive: [String] = [
        "/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/config.gz", "/proc/interrupts", "/proc/iomem", "/proc/kallsyms", "/proc/kcore",
        "/proc/key-users", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
        "/proc/version_signature", "/sys/devices/system/cpu/cpu0/thermal_throttle", "/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap",
        "/sys/firmware", "/sys/fs/selinux", "/sys/kernel/btf", "/sys/kernel/debug", "/sys/kernel/notes", "/sys/kernel/security",
        "/sys/kernel/tracing", "/sys/kernel/vmcoreinfo", "/sys/power",
    ]
    static let writable = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

    func mount(at destination: String) -> Mount? { confinement.mounts.last { $0.destination == destination } }
}
