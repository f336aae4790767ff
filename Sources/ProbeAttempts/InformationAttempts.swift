import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let information: Group = [
        ("info-kallsyms", reading(["/proc/kallsyms"], showing: addressAtStart, "an address of the kernel")),
        ("info-dmesg", askForLog),
        ("info-sched-debug", reading(["/proc/sched_debug", "/sys/kernel/debug/sched/debug"])),
        ("info-timer-list", reading(["/proc/timer_list"])),
        ("info-keys", reading(["/proc/keys"])),
        ("info-key-users", reading(["/proc/key-users"])),
        ("info-kcore", reading(["/proc/kcore"])),
        ("info-vmallocinfo", reading(["/proc/vmallocinfo"])),
        ("info-slabinfo", reading(["/proc/slabinfo"])),
        ("info-iomem", reading(["/proc/iomem"], showing: addressAtStart, "a range of memory")),
        ("info-kpage", reading(["/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup"])),
        ("info-interrupts", reading(["/proc/interrupts"])),
        ("info-rapl", reading(["/sys/class/powercap/*/energy_uj", "/sys/devices/virtual/powercap/*/*/energy_uj"])),
        (
            "info-thermal",
            reading(["/sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count", "/sys/devices/system/cpu/cpu*/thermal_throttle/*"])
        ),
        ("info-latency", reading(["/proc/latency_stats"])),
        ("info-acpi", reading(["/sys/firmware/acpi/tables/*", "/sys/firmware/dmi/tables/DMI", "/proc/acpi/*"])),
        ("info-dmi", reading(["/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/board_serial"])),
        ("info-scsi", reading(["/proc/scsi/scsi", "/proc/scsi/*/*"])),
        ("info-modules", reading(["/proc/modules"], showing: addressAtEnd, "an address of a module")),
        ("info-cmdline", telling(["/proc/cmdline"])),
        ("info-config", telling(["/proc/config.gz"])),
        ("info-vmcoreinfo", telling(["/sys/kernel/vmcoreinfo"])),
        ("info-notes", telling(["/sys/kernel/notes"])),
        ("info-version", telling(["/proc/version"])),
        ("info-btf", telling(["/sys/kernel/btf/vmlinux"])),
        ("info-partitions", telling(["/proc/partitions", "/proc/diskstats"])),
        ("info-uptime", telling(["/proc/uptime", "/proc/loadavg"])),
        ("info-mountinfo", findHostPath),
        ("info-cgroup-path", findCgroupPath),
    ]

    /// Reads the start of whichever of the files is there. - Parameter showing: whether what was read tells what it should not.
    private static func reading(
        _ patterns: [String], showing: @escaping @Sendable ([UInt8]) -> Bool = { _ in true }, _ what: String = "its content"
    ) -> Attempt {
        { _ in
            var denial: Int32?
            var empty: String?
            for path in patterns.flatMap(paths(matching:)) {
                if let status = status(of: path), status.isNullDevice {
                    empty = "\(path) is masked"
                    continue
                }
                switch head(of: path, 65536) {
                case .failure(let error): if error.errno != ENOENT { denial = error.errno }
                case .success(let bytes) where bytes.isEmpty: empty = "\(path) is empty"
                case .success(let bytes):
                    if showing(bytes) { return .reached("\(path) shows \(what)") }
                    empty = "\(path) shows no more than zeros"
                }
            }
            if let empty { return .held(empty) }
            if let denial { return .denied(denial, patterns[0]) }
            return missing(patterns[0])
        }
    }

    private static func telling(_ patterns: [String]) -> Attempt {
        let attempt = reading(patterns)
        return { attempt($0).asInformation }
    }

    /// Whether a line starts with a number, in hexadecimal, that is not 0: "ffffffff81000000 T _text", "00001000-0009fbff : System RAM".
    static func addressAtStart(_ bytes: [UInt8]) -> Bool {
        bytes.split(separator: 0x0A).contains { line in
            let digits = line.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0x2D }
            // A range that starts at 0 shows itself by its end.
            let end = line.drop { $0 != 0x2D }.dropFirst().prefix { $0 != 0x20 }
            return digits.contains { $0 != 0x30 } || (line.contains(0x2D) && end.contains { $0 != 0x30 })
        }
    }

    /// "veth 40960 0 - Live 0xffffffffc0000000".
    static func addressAtEnd(_ bytes: [UInt8]) -> Bool {
        bytes.split(separator: 0x0A).contains { line in
            guard let word = line.split(separator: 0x20).last(where: { $0.starts(with: [0x30, 0x78]) }) else { return false }
            return word.dropFirst(2).contains { $0 != 0x30 }
        }
    }

    /// SYSLOG_ACTION_SIZE_BUFFER, which reads nothing.
    private static func askForLog(_ situation: Situation) -> Finding {
        systemCall(Int(SYS_syslog), 10).whenItSucceeds("syslog(2)").unlessMissing(situation)
    }

    /// Directories of the host that its mounts are made of.
    private static func findHostPath(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .held("no mounts are to be seen in /proc/self/mountinfo") }
        for mount in mounts {
            let layers = mount.superOptions.first { option in
                ["upperdir=/", "lowerdir=/", "workdir=/", "lowerdir+=/"].contains { option.hasPrefix($0) }
            }
            if let layers { return .information("\(mount.target): \(layers.prefix(200))") }
            let virtual: Set<String> = ["proc", "sysfs", "cgroup", "cgroup2", "tmpfs", "devtmpfs", "devpts", "mqueue", "securityfs", "nsfs"]
            if mount.root != "/" && !virtual.contains(mount.type) {
                return .information("\(mount.target) is \(mount.root.prefix(200)) of \(mount.source)")
            }
        }
        return .held("none of \(mounts.count) mounts shows a path of the host")
    }

    private static func findCgroupPath(_ situation: Situation) -> Finding {
        guard let text = text(of: "/proc/self/cgroup") else { return .held("/proc/self/cgroup cannot be read") }
        let paths = text.split(separator: "\n").compactMap { $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).last }
        guard let shown = paths.first(where: { $0 != "/" }) else { return .held("every path is \"/\"") }
        return .information("/proc/self/cgroup shows \(shown)")
    }
}
