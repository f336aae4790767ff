import Confinement
import OCISpec

extension FactorRow {
    static let limitRows: [FactorRow] = [
        FactorRow(
            "processes", .limits, "How many processes can it make?", weight: 2, good: "few", bad: "a fork bomb takes every process ID of the machine",
            why: "everybody's service ends, nobody's secret does",
            mend: Remedy(
                "--pids-limit 256", compose: "pids_limit: 256", kubernetes: "podPidsLimit of the kubelet", systemd: "TasksMax=256",
                oci: "linux.resources.pids.limit")
        ) { 10 * Facts.scale($0.confinement.limits.pids, bits: 24) },
        FactorRow(
            "memory", .limits, "How much memory can it take?", weight: 2, good: "little", bad: "it takes all memory of the machine",
            why: "everybody's service ends, nobody's secret does",
            mend: Remedy(
                "--memory 512m", compose: "mem_limit: 512m", kubernetes: "resources.limits.memory: 512Mi", systemd: "MemoryMax=512M",
                oci: "linux.resources.memory.limit")
        ) { 10 * Facts.scale($0.confinement.limits.memory, bits: 50) },
        FactorRow(
            "swap", .limits, "Can it push the machine into swap?", weight: 0.5, good: "no swap beside its memory", bad: "it can fill the swap",
            why: "slow for everybody",
            mend: Remedy(
                "--memory-swap as --memory", compose: "memswap_limit: as mem_limit", kubernetes: "the kubelet's NoSwap", systemd: "MemorySwapMax=0",
                oci: "linux.resources.memory.swap")
        ) { facts in
            let limits = facts.confinement.limits
            guard case .at(let both) = limits.memoryAndSwap, case .at(let memory) = limits.memory else { return 10 }
            return both <= memory ? 0 : 10 * Facts.scale(.at(both - memory), bits: 50)
        },
        FactorRow(
            "processors", .limits, "How much processor time can it take?", weight: 0.5, good: "a share that is set", bad: "all that is there",
            why: "the scheduler shares fairly by itself",
            mend: Remedy(
                "--cpus 1", compose: "cpus: 1", kubernetes: "resources.limits.cpu: 1", systemd: "CPUQuota=100%", oci: "linux.resources.cpu.quota")
        ) { facts in
            let limits = facts.confinement.limits
            guard case .at(let quota) = limits.cpuQuota else { return limits.cpus.isEmpty ? 10 : 8 }
            let thousandths = Double(quota) * 1000 / Double(max(1, limits.cpuPeriod))
            return 10 * Facts.scale(.at(UInt64(min(thousandths, 1e18))), bits: 24)
        },
        FactorRow(
            "processor-weight", .limits, "Does it come before others?", weight: 0.1, good: "others come first", bad: "it comes first",
            why: "only when the machine is full",
            mend: Remedy("--cpu-shares 512", compose: "cpu_shares: 512", systemd: "CPUWeight=50", oci: "linux.resources.cpu.shares")
        ) { 10 * Facts.scale(.at($0.confinement.limits.cpuShares), bits: 20) },
        FactorRow(
            "open-files", .limits, "How many files can it hold open?", weight: 0.3, good: "few", bad: "without bound",
            why: "the machine's table is large",
            mend: Remedy("--ulimit nofile=1024:4096", compose: "ulimits: nofile", systemd: "LimitNOFILE=4096", oci: "process.rlimits")
        ) { facts in
            let limit = facts.confinement.limits.processLimits.first { $0.type == "RLIMIT_NOFILE" }
            return 10 * Facts.scale(limit.map { $0.hard == .max ? .unlimited : .at($0.hard) } ?? .unlimited, bits: 32)
        },
        FactorRow(
            "process-limits", .limits, "Which limits were lifted?", weight: 0.5, good: "none", bad: "limits were lifted",
            why: "core, memlock, rtprio: each is a small right",
            mend: Remedy("remove --ulimit", compose: "remove ulimits", systemd: "remove Limit…=infinity", oci: "process.rlimits")
        ) { facts in
            let lifted = facts.confinement.limits.processLimits.filter { $0.type != "RLIMIT_NOFILE" && $0.type != "RLIMIT_NPROC" }
            return 10 * (1 - lifted.reduce(1) { $0 * (1 - Facts.scale($1.hard == .max ? .unlimited : .at($1.hard), bits: 60) / 2) })
        },
        FactorRow(
            "out-of-memory", .limits, "Who dies when memory is short?", weight: 0.8, range: 2000, good: "it dies first", bad: "it dies last",
            why: "with -1000 the kernel ends everybody else",
            mend: Remedy(
                "remove --oom-score-adj", compose: "remove oom_score_adj", kubernetes: "set limits: class Guaranteed", systemd: "OOMScoreAdjust=",
                oci: "process.oomScoreAdj")
        ) { 1000 - Double(max(-1000, min(1000, $0.confinement.limits.oomScoreAdjustment))) },
        FactorRow(
            "shared-memory", .mounts, "How much can it put into memory file systems?", weight: 0.2, good: "little",
            bad: "half of the machine's memory",
            why: "a memory limit counts it as well",
            mend: Remedy("--shm-size 64m", compose: "shm_size: 64m", kubernetes: "emptyDir.sizeLimit", oci: "mounts: tmpfs size=")
        ) { facts in
            let sizes = facts.confinement.mounts.filter { $0.type == "tmpfs" && $0.isWritable && $0.destination != "/dev" }.map(\.tmpfsSize)
            return 10 * (1 - sizes.reduce(1) { $0 * (1 - Facts.scale($1, bits: 60) / 4) })
        },
        FactorRow(
            "kernel-parameters", .limits, "Which parameters of the kernel were set?", weight: 0.4, good: "none",
            bad: "parameters of the kernel were set",
            why: "only those of its own namespaces can be",
            mend: Remedy("remove --sysctl", compose: "remove sysctls", kubernetes: "remove securityContext.sysctls", oci: "linux.sysctl")
        ) { facts in
            let count = Double(facts.confinement.sysctls.keys.count { !Self.harmless.contains($0) })
            return 10 * count / (count + 3)
        },
        FactorRow(
            "logs", .limits, "Can it fill the disk with its log?", weight: 0.3, good: "its log is bounded", bad: "its log has no bound",
            why: "a full disk ends services",
            mend: Remedy("--log-opt max-size=10m", compose: "logging.options.max-size: 10m", kubernetes: "containerLogMaxSize of the kubelet")
        ) { facts in
            guard case .rotated(let bytes, let files) = facts.confinement.logs else { return 10 }
            let (all, isMore) = UInt64(max(0, bytes)).multipliedReportingOverflow(by: UInt64(max(1, files)))
            return 10 * Facts.scale(isMore ? .unlimited : .at(all), bits: 50)
        },
    ]

    /// Low ports and ping for whoever is in the namespace: nothing that reaches outside.
    private static let harmless: Set<String> = ["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"]
}

extension Mount {
    /// The bound of a tmpfs.
    var tmpfsSize: Limit {
        for option in options where option.hasPrefix("size=") {
            var digits = option.dropFirst(5)
            var factor: UInt64 = 1
            if let unit = digits.last, let position = ["k", "m", "g"].firstIndex(of: unit.lowercased()) {
                factor = 1 << (10 * UInt64(position + 1))
                digits = digits.dropLast()
            }
            if let number = UInt64(digits), number > 0 {
                let (product, overflow) = number.multipliedReportingOverflow(by: factor)
                return overflow ? .unlimited : .at(product)
            }
        }
        return .unlimited
    }
}
