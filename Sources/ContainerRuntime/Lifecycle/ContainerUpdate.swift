import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// Changes the limits of a container that exists.
public struct ContainerUpdate {
    private let record: ContainerRecord

    public init(_ record: ContainerRecord) { self.record = record }

    /// What is not named stays as it is. - Throws: for a limit that cannot be set; earlier ones are set then.
    public func apply(_ resources: RuntimeSpec.Resources) throws {
        guard !record.state.cgroupPaths.isEmpty else {
            throw PlanError("container \(record.id) has no control group of its own: its limits cannot be changed")
        }
        // What every engine sends as 0 means "as it is".
        let limits = try CgroupLimits(resources.withoutZeros)
        let paths = record.state.cgroupPaths
        let missing = try performing(.controlGroup, "setting limits") {
            if access(paths[0] + "/cgroup.controllers", F_OK) == 0 { return try CgroupV2(existing: paths[0]).apply(limits) }
            return try CgroupV1(existing: paths, try CgroupMounts.detect()).apply(limits)
        }
        if let first = missing.first { throw PlanError("\(first.limit) cannot be limited: \(first.reason)") }
    }
}

extension RuntimeSpec.Resources {
    /// Without the limits that are 0, which no controller takes and engines send for "not given".
    var withoutZeros: RuntimeSpec.Resources {
        func given<Number: FixedWidthInteger>(_ value: Number?) -> Number? { value == 0 ? nil : value }
        func given(_ text: String?) -> String? { text?.isEmpty == true ? nil : text }
        var result = self
        result.memory?.limit = given(memory?.limit)
        result.memory?.swap = given(memory?.swap)
        result.memory?.reservation = given(memory?.reservation)
        result.cpu?.shares = given(cpu?.shares)
        result.cpu?.quota = given(cpu?.quota)
        result.cpu?.period = given(cpu?.period)
        result.cpu?.cpus = given(cpu?.cpus)
        result.cpu?.mems = given(cpu?.mems)
        result.pids = pids.flatMap { $0.limit == 0 ? nil : $0 }
        return result
    }
}
