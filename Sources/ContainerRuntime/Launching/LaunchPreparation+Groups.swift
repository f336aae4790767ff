import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension LaunchPreparation {
    /// Makes the container's control groups and writes the limits, before anything lives in them. A scope of systemd's needs a process to be
    /// made around: that one waits until there is one (`joinScope`).
    func prepareGroups(_ group: ControlGroup, _ prepared: inout PreparedLaunch) throws {
        var limits = try CgroupLimits(group.resources.withoutZeros)
        if group.countsUse, !limits.devices.isEmpty {
            // Devices of the configuration are made in the group already; a node without access opens nothing.
            limits.devices += ["b", "c"].map { DeviceRule(allow: true, type: $0, major: nil, minor: nil, access: "m") }
        }
        switch manager {
        case .none(let reason): try missing(group, reason, &prepared)
        case .hierarchies(let mounts):
            // A group in each hierarchy, as runc and crun make them: a later `update` may want any of them.
            if group.countsUse { limits.countedBy = mounts.controllers.keys.sorted() }
            try prepareHierarchies(mounts, group, limits, &prepared)
        case .unified(let base):
            do {
                try refuseFrozen(base + group.path)
                let made = try CgroupV2.create(base: base, path: group.path, controllers: CgroupV2Setting.controllers(limits))
                prepared.groupPaths = [made.path]
                prepared.groupShortfalls = try performing(.controlGroup, "setting limits") { try made.apply(limits) }
                prepared.taskFiles = [try made.openProcesses().release()]
            } catch let error as KernelError {
                let reason = Self.explanation(error, base)
                if !group.required, prepared.groupPaths.isEmpty { return try missing(group, reason, &prepared) }
                throw LaunchFailure(.controlGroup, "making the control group: \(reason)", errno: error.errno)
            }
            try openHierarchy(base, &prepared)
        case .systemd(let bus, let mountPoint):
            prepared.scope = PendingScope(
                scope: try SystemdScope(cgroupsPath: group.path, user: bus.isUsers), bus: bus, mountPoint: mountPoint, limits: limits,
                required: group.required)
            try openHierarchy(mountPoint, &prepared)
        }
    }

    private func missing(_ group: ControlGroup, _ reason: String, _ prepared: inout PreparedLaunch) throws {
        prepared.groupsUnavailable = reason
        if group.required { throw LaunchFailure(.controlGroup, "no control group for this container: \(reason)") }
    }

    private static func explanation(_ error: KernelError, _ base: String) -> String {
        error.errno == EBUSY
            ? "\(error.subject.split(separator: "/").dropLast().joined(separator: "/")) holds processes itself, so the kernel gives its children no controllers"
            : error.description
    }

    private func prepareHierarchies(_ mounts: CgroupMounts, _ group: ControlGroup, _ limits: CgroupLimits, _ prepared: inout PreparedLaunch) throws {
        guard limits.unified.isEmpty || !group.isStrict else {
            throw LaunchFailure(.controlGroup, "invalid configuration: linux.resources.unified names files of cgroup v2, and this host has v1")
        }
        let groups: CgroupV1
        do {
            if let freezer = mounts.controllers["freezer"] { try refuseFrozen(freezer + (group.path.hasPrefix("/") ? "" : "/") + group.path) }
            groups = try CgroupV1.create(mounts, path: group.path, limits: limits)
        } catch {
            if !group.required, error.errno == EACCES || error.errno == EPERM || error.errno == EROFS {
                prepared.groupsUnavailable = "control groups v1 are not delegated to users: \(error.reason)"
                return
            }
            if error.errno == EEXIST {
                throw LaunchFailure(.controlGroup, "the container's cgroup is not empty: \(error.subject) is another container's", errno: EEXIST)
            }
            throw LaunchFailure(.controlGroup, doing: "making the control group", error)
        }
        prepared.groupPaths = groups.paths
        try performing(.controlGroup, "setting limits") {
            prepared.groupShortfalls = try groups.apply(limits)
            if group.isStrict, let missing = prepared.groupShortfalls.first {
                throw LaunchFailure(.controlGroup, "\(missing.limit) cannot be limited: \(missing.reason)", errno: ENOTSUP)
            }
            prepared.taskFiles = try groups.openTaskFiles()
        }
        for step in plan.steps {
            guard case .mount(let mount) = step, mount.source == .controlGroups, prepared.groupTrees.isEmpty else { continue }
            try openGroupTrees(groups, MountAttributes(rawValue: mount.setAttributes), &prepared)
        }
    }

    /// A process that enters a frozen group stops there, and with it whoever waits for it.
    private func refuseFrozen(_ group: String) throws(KernelError) {
        guard try CgroupDirectories.isFrozen([group]) else { return }
        throw KernelError(call: "freezer", errno: EAGAIN, subject: "container's cgroup unexpectedly frozen: \(group)")
    }

    private var mountsGroups: Bool {
        plan.steps.contains {
            if case .mount(let mount) = $0 { return mount.source == .controlGroups }
            return false
        }
    }

    /// With a control group namespace of its own the container mounts the v2 hierarchy itself, and sees its own group as the root. Without one
    /// it gets the host's, read-only, which only the host may mount.
    private func openHierarchy(_ mountPoint: String, _ prepared: inout PreparedLaunch) throws {
        prepared.mountsUnified = plan.newNamespaces.contains("cgroup")
        if prepared.mountsUnified || !mountsGroups { return }
        let tree = try performing(.mount, "mounting the control groups") {
            let tree = try Mounts.cloneTree(path: mountPoint, recursive: false)
            try Mounts.setAttributes(tree, set: [.readOnly, .noSetuid, .noDevices, .noExecute], propagation: .private, recursive: false)
            return tree
        }
        prepared.groupTrees.append(("", tree.release()))
    }

    /// Only the container's own groups, so that "rw" opens no other's (CVE-2023-25809).
    private func openGroupTrees(_ groups: CgroupV1, _ attributes: MountAttributes, _ prepared: inout PreparedLaunch) throws {
        let closed: MountAttributes = [.noSetuid, .noDevices, .noExecute]
        for (controller, path) in groups.directories {
            let tree = try performing(.mount, "mounting the control group \(controller)") {
                let tree = try Mounts.cloneTree(path: path, recursive: false)
                try Mounts.setAttributes(
                    tree, set: closed.union(attributes.intersection(.readOnly)), propagation: .private, recursive: false)
                return tree
            }
            prepared.groupTrees.append((controller, tree.release()))
        }
    }
}

extension RuntimeSpec.Resources {
    /// Something that only a control group can hold. Device rules are not: in a user namespace no device can be made.
    var limitsAnything: Bool {
        let memory = [memory?.limit, memory?.swap, memory?.reservation, memory?.kernel, memory?.kernelTCP].contains { $0 ?? 0 > 0 }
        let processor = cpu?.quota ?? 0 > 0 || cpu?.cpus?.isEmpty == false || cpu?.mems?.isEmpty == false || cpu?.shares ?? 0 > 0
        return memory || processor || pids?.limit ?? 0 > 0 || blockIO != nil || unified?.isEmpty == false
    }
}

extension CgroupLimits {
    /// OCI's resources in the kernel's terms.
    init(_ resources: RuntimeSpec.Resources) throws {
        self.init()
        pids = resources.pids?.limit
        memory = resources.memory?.limit
        // Without a limit of memory one of memory and swap together, which is above it, is none either (as runc has it).
        memoryAndSwap = resources.memory?.swap ?? (resources.memory?.limit == -1 ? -1 : nil)
        memoryReservation = resources.memory?.reservation
        cpuShares = resources.cpu?.shares
        cpuQuota = resources.cpu?.quota
        cpuPeriod = resources.cpu?.period
        cpuBurst = resources.cpu?.burst
        cpuIdle = resources.cpu?.idle
        cpusetCPUs = resources.cpu?.cpus
        cpusetMemory = resources.cpu?.mems
        addInputOutput(resources.blockIO)
        hugePages = try (resources.hugepageLimits ?? []).map { limit in
            // It becomes part of a file's name: "64KB", "2MB", "1GB" (config-linux.md, "Huge page limits").
            let size = limit.pageSize
            guard ["KB", "MB", "GB"].contains(size.suffix(2)), size.utf8.count > 2, size.dropLast(2).allSatisfy({ ("0"..."9").contains($0) }) else {
                throw PlanError("linux.resources.hugepageLimits: \"\(size)\" is no page size: 64KB, 2MB or 1GB, for example")
            }
            return (size, limit.limit)
        }
        rdma = (resources.rdma ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value.hcaHandles, $0.value.hcaObjects) }
        for (file, value) in (resources.unified ?? [:]).sorted(by: { $0.key < $1.key }) {
            // A file of the group itself: no path out of it, and none that moves processes or changes what the group is.
            guard file.contains("."), !file.contains("/"), !file.hasPrefix("."), !file.hasPrefix("cgroup."), !file.utf8.contains(0) else {
                throw PlanError("linux.resources.unified: \"\(file)\" is no file of a controller")
            }
            unified.append((file, value))
        }
        settings = V1Settings.of(resources)
        try addDevices(resources.devices ?? [])
    }

    private mutating func addInputOutput(_ resources: RuntimeSpec.BlockIO?) {
        guard let resources else { return }
        ioWeight = resources.weight
        ioDeviceWeights = (resources.weightDevice ?? []).compactMap { each in each.weight.map { ("\(each.major):\(each.minor)", $0) } }
        let lists = [
            ("rbps", resources.throttleReadBpsDevice), ("wbps", resources.throttleWriteBpsDevice),
            ("riops", resources.throttleReadIOPSDevice), ("wiops", resources.throttleWriteIOPSDevice),
        ]
        for (key, list) in lists {
            ioMaximum += (list ?? []).map { (device: "\($0.major):\($0.minor)", key: key, rate: $0.rate) }
        }
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
            // "a" is the word for all: to forbid more than was meant is safe, to allow it is not.
            let letters = rule.allow ? "rwm" : "rwma"
            guard !access.isEmpty, access.allSatisfy({ letters.contains($0) }) else {
                throw PlanError("device rule has the unknown access \(access)")
            }
            func number(_ value: Int64?) throws -> UInt32? {
                guard let value, value != -1 else { return nil }
                guard let number = UInt32(exactly: value) else { throw PlanError("device rule has the number \(value)") }
                return number
            }
            devices.append(
                DeviceRule(
                    allow: rule.allow, type: letter, major: try number(rule.major), minor: try number(rule.minor),
                    access: access.contains("a") ? "rwm" : access))
        }
        for device in LaunchPlanner.defaultDevices {
            devices.append(DeviceRule(allow: true, type: "c", major: device.major, minor: device.minor, access: "rwm"))
        }
        devices.append(DeviceRule(allow: true, type: "c", major: 5, minor: 2, access: "rwm"))
        devices.append(DeviceRule(allow: true, type: "c", major: 136, minor: nil, access: "rwm"))
    }
}
