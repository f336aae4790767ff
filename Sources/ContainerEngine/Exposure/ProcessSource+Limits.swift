import Confinement
import Exposure
import Glibc
import LinuxKernel
import OCISpec
import TextSearch

// LinuxKernel has types of the same names for the calls; here the model's are meant.
import struct Confinement.DeviceRule

extension ProcessSource {
    /// The directories of its control groups, by controller; version 2 has one, under "".
    private func groups() -> [String: String] {
        var result: [String: String] = [:]
        for line in (text("cgroup") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 3, !fields[2].contains("/../") else { continue }
            for controller in fields[1].split(separator: ",").map(String.init) + (fields[1].isEmpty ? [""] : []) {
                let base =
                    controller.isEmpty
                    ? ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] : ["/sys/fs/cgroup/\(controller)", "/sys/fs/cgroup/\(fields[1])"]
                result[controller] = base.map { $0 + fields[2] }.first { access($0 + "/cgroup.procs", F_OK) == 0 }
            }
        }
        return result
    }

    private static func limit(_ path: String) -> Limit? {
        guard let bytes = try? readFile(path, limit: 4096) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
        if text == "max" || text == "-1" { return .unlimited }
        // Version 1 says "no limit" with the largest number of pages.
        return UInt64(text).map { $0 >= 1 << 62 ? .unlimited : .at($0) }
    }

    mutating func readLimits() -> Limits {
        let groups = groups()
        var limits = Limits()
        // Version 2 wants the least of every group above; what is set on the group itself is what an engine sets.
        func value(_ controller: String, _ old: String, _ new: String) -> Limit {
            groups[controller].flatMap { Self.limit("\($0)/\(old)") } ?? groups[""].flatMap { Self.limit("\($0)/\(new)") } ?? .unlimited
        }
        limits.pids = value("pids", "pids.max", "pids.max")
        limits.memory = value("memory", "memory.limit_in_bytes", "memory.max")
        limits.memoryReservation = value("memory", "memory.soft_limit_in_bytes", "memory.low")
        // Version 2 protects nothing unless told to.
        if limits.memoryReservation == .at(0) { limits.memoryReservation = .unlimited }
        limits.memoryAndSwap = groups["memory"].flatMap { Self.limit("\($0)/memory.memsw.limit_in_bytes") } ?? .unlimited
        if case .at(let bytes) = limits.memory, let swap = groups[""].flatMap({ Self.limit("\($0)/memory.swap.max") }), case .at(let more) = swap {
            limits.memoryAndSwap = .at(bytes + more)
        }
        readProcessors(groups, &limits)
        limits.oomScoreAdjustment = Int((text("oom_score_adj") ?? "0").filter { !$0.isWhitespace }) ?? 0
        limits.processLimits = processLimits().filter { $0.type == "RLIMIT_NOFILE" }
        return limits
    }

    private func readProcessors(_ groups: [String: String], _ limits: inout Limits) {
        func first(_ path: String) -> String? {
            guard let bytes = try? readFile(path, limit: 4096) else { return nil }
            let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
            return words.isEmpty ? nil : words.joined(separator: " ")
        }
        if let quota = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.cfs_quota_us") }),
            let period = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.cfs_period_us") })
        {
            limits.cpuQuota = quota
            if case .at(let microseconds) = period { limits.cpuPeriod = microseconds }
        } else if let words = groups[""].flatMap({ first("\($0)/cpu.max") })?.split(separator: " "), words.count == 2 {
            limits.cpuQuota = UInt64(words[0]).map { .at($0) } ?? .unlimited
            limits.cpuPeriod = UInt64(words[1]) ?? limits.cpuPeriod
        }
        if let shares = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.shares") }), case .at(let number) = shares {
            limits.cpuShares = number
        } else if let weight = groups[""].flatMap({ first("\($0)/cpu.weight") }).flatMap({ UInt64($0) }), weight > 0 {
            // As runtimes turn shares into weights, turned back.
            limits.cpuShares = weight == 100 ? 1024 : 2 + (weight - 1) * 262_142 / 9999
        }
        // What the whole machine has is no limit.
        for (file, whole, isCPUs) in [("cpuset.cpus", "cpuset.effective_cpus", true), ("cpuset.mems", "cpuset.effective_mems", false)] {
            guard let group = groups["cpuset"] ?? groups[""], let own = first("\(group)/\(file)") else { continue }
            let all = first("/sys/fs/cgroup/cpuset/\(whole)") ?? first("/sys/fs/cgroup/\(file).effective") ?? ""
            if own != all { if isCPUs { limits.cpus = own } else { limits.memoryNodes = own } }
        }
    }

    /// Lines of /proc/PID/limits: a name in words, the soft and the hard limit, a unit.
    func processLimits() -> [RuntimeSpec.ResourceLimit] {
        let names = [
            "Max cpu time": "CPU", "Max file size": "FSIZE", "Max data size": "DATA", "Max stack size": "STACK", "Max core file size": "CORE",
            "Max resident set": "RSS", "Max processes": "NPROC", "Max open files": "NOFILE", "Max locked memory": "MEMLOCK",
            "Max address space": "AS",
            "Max file locks": "LOCKS", "Max pending signals": "SIGPENDING", "Max msgqueue size": "MSGQUEUE", "Max nice priority": "NICE",
            "Max realtime priority": "RTPRIO", "Max realtime timeout": "RTTIME",
        ]
        return (text("limits") ?? "").split(separator: "\n").compactMap { line in
            guard let name = names.first(where: { line.hasPrefix($0.key + " ") }) else { return nil }
            let fields = line.dropFirst(name.key.count).split(separator: " ")
            guard fields.count >= 2 else { return nil }
            return RuntimeSpec.ResourceLimit(type: "RLIMIT_" + name.value, soft: UInt64(fields[0]) ?? .max, hard: UInt64(fields[1]) ?? .max)
        }.sorted { $0.type < $1.type }
    }

    /// Version 1 lists what may be opened; version 2 holds it in a program that cannot be read.
    mutating func deviceRules() -> [DeviceRule] {
        guard let group = groups()["devices"], let bytes = try? readFile(group + "/devices.list", limit: 1 << 20) else {
            if status["CapEff"] != "0000000000000000" { unknown[.devices] = "the device rules cannot be read" }
            return [DeviceRule(allows: false, kind: .all)]
        }
        let all = String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains { $0.hasPrefix("a ") }
        return [DeviceRule(allows: all, kind: .all)]
    }
}
