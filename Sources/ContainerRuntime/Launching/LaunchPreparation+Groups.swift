import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension LaunchPreparation {
    /// Makes the container's control groups and writes the limits, before anything lives in them.
    func prepareGroups(_ group: ControlGroup, _ prepared: inout PreparedLaunch) throws {
        guard let mounts, !mounts.controllers.isEmpty else {
            prepared.groupsUnavailable = groupsUnavailable
            if group.required { throw LaunchFailure(.controlGroup, "no control group for this container: \(prepared.groupsUnavailable ?? "")") }
            return
        }
        let limits = try CgroupLimits(group.resources)
        let groups: CgroupV1
        do {
            groups = try CgroupV1.create(mounts, path: group.path, limits: limits)
        } catch {
            if !group.required, error.errno == EACCES || error.errno == EPERM || error.errno == EROFS {
                prepared.groupsUnavailable = "control groups v1 are not delegated to users: \(error.reason)"
                return
            }
            throw LaunchFailure(.controlGroup, doing: "making the control group", error)
        }
        prepared.groupPaths = groups.paths
        try performing(.controlGroup, "setting limits") {
            prepared.groupShortfalls = try groups.apply(limits)
            prepared.taskFiles = try groups.openTaskFiles()
        }
        let mountsGroups = plan.steps.contains {
            if case .mount(let mount) = $0 { return mount.source == .controlGroups }
            return false
        }
        if mountsGroups { try openGroupTrees(groups, &prepared) }
    }

    private func openGroupTrees(_ groups: CgroupV1, _ prepared: inout PreparedLaunch) throws {
        for (controller, path) in groups.directories {
            let tree = try performing(.mount, "mounting the control group \(controller)") {
                let tree = try Mounts.cloneTree(path: path, recursive: false)
                try Mounts.setAttributes(
                    tree, set: [.readOnly, .noSetuid, .noDevices, .noExecute], propagation: .private, recursive: false)
                return tree
            }
            prepared.groupTrees.append((controller, tree.release()))
        }
    }
}

extension CgroupLimits {
    /// OCI's resources in the kernel's terms.
    init(_ resources: RuntimeSpec.Resources) throws {
        self.init()
        pids = resources.pids?.limit
        memory = resources.memory?.limit
        memoryAndSwap = resources.memory?.swap
        memoryReservation = resources.memory?.reservation
        cpuShares = resources.cpu?.shares
        cpuQuota = resources.cpu?.quota
        cpuPeriod = resources.cpu?.period
        cpusetCPUs = resources.cpu?.cpus
        cpusetMemory = resources.cpu?.mems
        try addDevices(resources.devices ?? [])
    }

    /// Nothing (GHSA-g54h-m393-cpwq: no rules must not mean no bounds), the configuration's rules in order, then what every
    /// container may use: the default devices and terminals (runtime-spec, "Default Devices"; Documentation/admin-guide/devices.txt).
    private mutating func addDevices(_ rules: [RuntimeSpec.DeviceRule]) throws {
        devices.append(DeviceRule(allow: false, type: "a", major: nil, minor: nil, access: "rwm"))
        for rule in rules {
            let type = rule.type ?? "a"
            guard let letter = type.first, type.count == 1, "abc".contains(letter) else {
                throw PlanError("device rule has the unknown type \(type)")
            }
            let access = rule.access ?? "rwm"
            guard !access.isEmpty, access.allSatisfy({ "rwm".contains($0) }) else {
                throw PlanError("device rule has the unknown access \(access)")
            }
            func number(_ value: Int64?) throws -> UInt32? {
                guard let value, value != -1 else { return nil }
                guard let number = UInt32(exactly: value) else { throw PlanError("device rule has the number \(value)") }
                return number
            }
            devices.append(
                DeviceRule(allow: rule.allow, type: letter, major: try number(rule.major), minor: try number(rule.minor), access: access))
        }
        for device in LaunchPlanner.defaultDevices {
            devices.append(DeviceRule(allow: true, type: "c", major: device.major, minor: device.minor, access: "rwm"))
        }
        devices.append(DeviceRule(allow: true, type: "c", major: 5, minor: 2, access: "rwm"))
        devices.append(DeviceRule(allow: true, type: "c", major: 136, minor: nil, access: "rwm"))
    }
}
