import LaunchPlan
import OCISpec

/// `process.scheduler`, `process.ioPriority` and `linux.personality` as the kernel's numbers.
enum SchedulingSteps {
    /// sched_setscheduler(2), linux/sched.h
    private static let policies: [String: UInt32] = [
        "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
    ]
    /// linux/sched.h
    private static let flags: [String: UInt64] = [
        "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04, "SCHED_FLAG_KEEP_POLICY": 0x08,
        "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
    ]
    /// ioprio_set(2)
    private static let classes: [String: UInt16] = ["IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3]
    /// personality(2); the specification knows these two and no flags.
    private static let domains: [String: UInt64] = ["LINUX": 0, "LINUX32": 8]

    static func of(_ process: RuntimeSpec.Process, _ linux: RuntimeSpec.Linux) throws -> [LaunchStep] {
        var steps: [LaunchStep] = []
        if let personality = linux.personality {
            guard let domain = domains[personality.domain] else { throw PlanError("unknown personality domain \(personality.domain)") }
            if let flag = personality.flags?.first { throw PlanError("personality flag \(flag) is not supported: the specification has none") }
            steps.append(.personality(domain))
        }
        if let scheduler = process.scheduler { steps.append(.scheduler(try step(scheduler))) }
        if let priority = process.ioPriority {
            guard let number = classes[priority.class] else { throw PlanError("unknown I/O priority class \(priority.class)") }
            guard let level = priority.priority ?? (priority.class == "IOPRIO_CLASS_IDLE" ? 0 : nil) else {
                throw PlanError("process.ioPriority has no priority: \(priority.class) needs one within 0…7")
            }
            guard (0...7).contains(level) else { throw PlanError("I/O priority \(level) is not within 0…7") }
            steps.append(.ioPriority(number << 13 | UInt16(level)))
        }
        if let policy = linux.memoryPolicy { steps.append(.memoryPolicy(try step(policy))) }
        return steps
    }

    private static func step(_ scheduler: RuntimeSpec.Scheduler) throws -> SchedulerStep {
        guard let policy = policies[scheduler.policy] else { throw PlanError("unknown scheduling policy \(scheduler.policy)") }
        let nice = scheduler.nice ?? 0
        let priority = scheduler.priority ?? 0
        guard (-20...19).contains(nice) else { throw PlanError("scheduler.nice is \(nice): it must be within -20…19") }
        guard (0...99).contains(priority) else { throw PlanError("scheduler.priority is \(priority): it must be within 0…99") }
        if priority != 0, !["SCHED_FIFO", "SCHED_RR"].contains(scheduler.policy) {
            throw PlanError("scheduler.priority can only be specified for SCHED_FIFO or SCHED_RR policy")
        }
        if scheduler.policy != "SCHED_DEADLINE", scheduler.runtime ?? 0 != 0 || scheduler.deadline ?? 0 != 0 || scheduler.period ?? 0 != 0 {
            throw PlanError("scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE policy")
        }
        if scheduler.policy == "SCHED_DEADLINE" { try checkDeadline(scheduler) }
        let bits = try (scheduler.flags ?? []).reduce(UInt64(0)) { bits, name in
            guard let flag = flags[name] else { throw PlanError("unknown scheduler flag \(name)") }
            return bits | flag
        }
        return SchedulerStep(
            policy: policy, flags: bits, nice: nice, priority: UInt32(priority), runtime: scheduler.runtime ?? 0,
            deadline: scheduler.deadline ?? 0, period: scheduler.period ?? 0)
    }

    /// What sched_setattr(2) would answer with a mere EINVAL (sched(7), "SCHED_DEADLINE"). Times in nanoseconds.
    private static func checkDeadline(_ scheduler: RuntimeSpec.Scheduler) throws {
        func refuse(_ reason: String) -> PlanError { PlanError("sched_setattr: `SCHED_DEADLINE` \(reason)") }
        guard let runtime = scheduler.runtime else { throw refuse("requires `runtime`") }
        guard let deadline = scheduler.deadline else { throw refuse("requires `deadline`") }
        let period = scheduler.period ?? 0
        if runtime == 0 { throw refuse("runtime must be greater than 0") }
        if deadline == 0 { throw refuse("deadline must be greater than 0") }
        if runtime > deadline { throw refuse("runtime (\(runtime)) must be <= deadline (\(deadline))") }
        if period != 0, deadline > period { throw refuse("deadline (\(deadline)) must be <= period (\(period))") }
        let bounds: ClosedRange<UInt64> = 1024...(1 << 63 - 1)
        for (name, value) in [("runtime", runtime), ("deadline", deadline), ("period", period)] where !(name == "period" && value == 0) {
            if !bounds.contains(value) { throw refuse("\(name) (\(value)) must be between \(bounds.lowerBound) and \(bounds.upperBound)") }
        }
    }

    /// set_mempolicy(2), linux/mempolicy.h
    private static let memoryModes: [String: Int32] = [
        "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4, "MPOL_PREFERRED_MANY": 5,
        "MPOL_WEIGHTED_INTERLEAVE": 6,
    ]
    private static let memoryFlags: [String: Int32] = [
        "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15,
    ]
    /// More nodes than any kernel is built for.
    private static let nodeLimit = 4096

    private static func step(_ policy: RuntimeSpec.MemoryPolicy) throws -> MemoryPolicyStep {
        guard let mode = memoryModes[policy.mode] else { throw PlanError("unknown memory policy \(policy.mode)") }
        let flags = try (policy.flags ?? []).reduce(Int32(0)) { bits, name in
            guard let flag = memoryFlags[name] else { throw PlanError("unknown memory policy flag \(name)") }
            return bits | flag
        }
        guard let text = policy.nodes, !text.isEmpty else { return MemoryPolicyStep(mode: mode | flags, nodes: []) }
        guard let nodes = NumberList.parse(text, below: nodeLimit) else {
            throw PlanError("linux.memoryPolicy.nodes is \"\(text)\": expected numbers below \(nodeLimit) such as 0-3,7")
        }
        return MemoryPolicyStep(mode: mode | flags, nodes: NumberList.words(nodes))
    }
}

/// Lists of processors and memory nodes as the kernel writes them: "0-3,7" (cpuset(7), "List format").
enum NumberList {
    /// - Returns: nil for what is no such list, or reaches `limit`.
    static func parse(_ text: String, below limit: Int) -> [Int]? {
        var result: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let trimmed = part.drop { $0 == " " || $0 == "\n" }
            let ends = trimmed.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { end in
                end.isEmpty || !end.allSatisfy { $0.isASCII && $0.isNumber } ? nil : Int(end)
            }
            guard let first = ends[0], let last = ends.count > 1 ? ends[1] : first, first <= last, last < limit else { return nil }
            result += first...last
        }
        return result
    }

    /// As bits, 64 a word.
    static func words(_ numbers: [Int]) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: (numbers.max() ?? 0) / 64 + 1)
        for number in numbers { words[number / 64] |= 1 << (number % 64) }
        return words
    }
}
