import LaunchPlan
import OCISpec

/// What each step came to, in the plan's order: stored with the container and shown by `inspect`.
struct OutcomeReport {
    let plan: LaunchPlan
    let prepared: PreparedLaunch
    let results: [InitMessage.ReportedResult]

    var outcomes: [StepOutcome] {
        var report: [StepOutcome] = []
        for (index, step) in plan.steps.enumerated() {
            var result = StepOutcome.Result.applied
            if let reported = results.last(where: { $0.step == index }) { result = reported.result }
            if step.kind == .systemCallFilter, !prepared.unknownCalls.isEmpty {
                result = .partial("calls unknown to libseccomp get the default action: \(prepared.unknownCalls.joined(separator: ", "))")
            }
            if case .controlGroup(let group) = step {
                report += groupOutcomes(group, step)
                continue
            }
            report.append(StepOutcome(step: step.kind.rawValue, detail: step.description, result: result))
        }
        return report
    }

    /// One line per limit: what bounds what, and what is bounded by nothing.
    private func groupOutcomes(_ group: ControlGroup, _ step: LaunchStep) -> [StepOutcome] {
        let resources = group.resources
        var limits: [(name: String, detail: String)] = []
        if let limit = resources.pids?.limit { limits.append(("pids", "at most \(limit) processes")) }
        if let limit = resources.memory?.limit { limits.append(("memory", "memory limit \(limit) bytes")) }
        if let limit = resources.memory?.swap { limits.append(("swap", "memory and swap limit \(limit) bytes")) }
        if let shares = resources.cpu?.shares { limits.append(("cpu weight", "cpu shares \(shares)")) }
        if let quota = resources.cpu?.quota { limits.append(("cpu quota", "cpu quota \(quota)/\(resources.cpu?.period ?? 100_000) µs")) }
        if let devices = resources.devices, !devices.isEmpty { limits.append(("devices", "\(devices.count) device rules")) }
        return limits.map { limit in
            StepOutcome(step: step.kind.rawValue, detail: limit.detail, result: groupResult(limit.name))
        }
    }

    private func groupResult(_ limit: String) -> StepOutcome.Result {
        if let reason = prepared.groupsUnavailable {
            if limit == "pids" { return .partial("bounded by RLIMIT_NPROC of the user namespace: \(reason)") }
            if limit == "devices" { return .partial("no device can be made in a user namespace; those bound in are all there are") }
            return .unavailable(reason)
        }
        if limit == "devices", prepared.groupShortfalls.contains(where: { $0.limit == limit }), plan.hasUserNamespace {
            return .partial("no device can be made in a user namespace; those bound in are all there are")
        }
        if let shortfall = prepared.groupShortfalls.first(where: { $0.limit == limit }) { return .unavailable(shortfall.reason) }
        return .applied
    }
}
