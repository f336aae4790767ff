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
            guard (0...7).contains(priority.priority) else { throw PlanError("I/O priority \(priority.priority) is not within 0…7") }
            steps.append(.ioPriority(number << 13 | UInt16(priority.priority)))
        }
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
        let bits = try (scheduler.flags ?? []).reduce(UInt64(0)) { bits, name in
            guard let flag = flags[name] else { throw PlanError("unknown scheduler flag \(name)") }
            return bits | flag
        }
        return SchedulerStep(
            policy: policy, flags: bits, nice: nice, priority: UInt32(priority), runtime: scheduler.runtime ?? 0,
            deadline: scheduler.deadline ?? 0, period: scheduler.period ?? 0)
    }
}
