import Confinement
import OCISpec
import StrictJSON

extension UnitSettings {
    /// The unit as every other target is seen: what systemd 252 does of these settings, in the kernel's terms (systemd.exec(5)).
    public func subject(_ target: String) throws(ExposureError) -> Subject {
        let table = try SyscallTable.current()
        let bounding = CapabilitySet(rawValue: boundingSet & CapabilitySet.all.rawValue)
        let uid: UInt32 = runsPrivileged ? 0 : UInt32(user) ?? Subject.somebody
        let payload = PayloadUser(
            uid: uid, gid: uid, additionalGids: supplementaryGroups.indices.map { UInt32(1000 + $0) }, umask: umask)
        let ambient = CapabilitySet(rawValue: ambientSet & CapabilitySet.all.rawValue).intersection(bounding)
        let held: CapabilitySet = runsPrivileged ? bounding : ambient
        let whole = RuntimeSpec.IDMapping(containerID: 0, hostID: runsPrivileged ? 0 : 1, size: 1)
        var unknown: [Aspect: String] = [:]
        if !rootImage.isEmpty { unknown[.mounts] = "the image \(rootImage) was not looked into" }
        let confinement = Confinement(
            origin: .foreign, isolation: .sharedKernel, user: payload,
            userNamespace: flag("PrivateUsers") ? .own(uids: [whole], gids: [whole], sharesRange: true) : .host, namespaces: spaces,
            capabilities: CapabilitySets(bounding: bounding, effective: held, permitted: held, inheritable: ambient, ambient: ambient),
            noNewPrivileges: flag("NoNewPrivileges") || impliesNoNewPrivileges, syscalls: policy(table), appArmor: .inherited, seLinux: .inherited,
            landlock: .off, mountsLocked: false, rootReadOnly: protectSystem == .strict, mounts: mountList, maskedPaths: masked,
            readonlyPaths: readOnly, devices: DeviceNode.defaults, deviceRules: [DeviceRule(allows: devicePolicy == .auto, kind: .all)],
            limits: bounds,
            sysctls: [:], network: reach, networkNamespaceInside: false, logs: .rotated(maxBytes: 1 << 30, maxFiles: 4))
        var subject = Subject(name: target, source: .systemd, confinement: confinement, unknown: unknown)
        subject.systemd = try SystemdAssessment(self)
        return subject
    }

    /// Where a filter can only be loaded without privileges (systemd.exec(5), NoNewPrivileges=).
    private var impliesNoNewPrivileges: Bool {
        !runsPrivileged && (syscalls.isSet || flag("RestrictSUIDSGID") || flag("LockPersonality") || flag("MemoryDenyWriteExecute"))
    }

    private var spaces: Namespaces {
        let hasMounts =
            flag("PrivateMounts") || flag("PrivateTmp") || flag("PrivateDevices") || protectHome != .no || protectSystem != .no
            || flag("ProtectControlGroups") || flag("ProtectKernelTunables") || flag("ProtectKernelModules") || !bindPaths.isEmpty || ownRoot
        return Namespaces(
            pid: protectProc == .invisible || protectProc == .ptraceable ? .at(path: "hidepid") : .host, mount: hasMounts ? .own : .host,
            ipc: flag("PrivateIPC") ? .own : .host, uts: flag("ProtectHostname") ? .own : .host,
            cgroup: flag("ProtectControlGroups") ? .own : .host, time: .host)
    }

    private var ownRoot: Bool { !(rootDirectory + rootImage).allSatisfy { $0 == "/" } }

    private var reach: NetworkReach {
        if flag("PrivateNetwork") { return .none }
        let deniesAll = [4, 16].allSatisfy { size in addressesDenied.contains { $0.isEverything && $0.bytes.count == size } }
        // Packets to the host are dropped by address, as our own rules drop them.
        return deniesAll ? .outbound(ports: [], closesHost: true) : .host
    }

    /// Calls that the list lets through, those of socket(2) and the namespaces by the settings that restrict them.
    private func policy(_ table: SyscallTable) -> SyscallPolicy {
        let isRestricted = syscalls.isSet || families.isAllowList || !families.families.isEmpty || namespacesAllowed != nil
        if !isRestricted { return .unconfined }
        var names = table.numbers.keys.filter { syscalls.lets($0) }
        if let allowed = namespacesAllowed, !allowed.contains("user") { names.removeAll { ["clone3", "unshare", "setns", "clone"].contains($0) } }
        var rules: [SyscallFilter.Rule] = []
        if families.isAllowList || !families.families.isEmpty {
            names.removeAll { $0 == "socket" }
            let sample: [(FamilyRow, UInt64)] = [(.unix, 1), (.internet, 2), (.netlink, 16), (.packet, 17), (.other, 38)]
            for (row, number) in sample where !families.excludes(row) {
                rules.append(.init(names: ["socket"], action: .allow, conditions: [.init(argument: 0, .equal(number))]))
            }
        }
        rules.append(.init(names: names.sorted(), action: .allow))
        if namespacesAllowed?.contains("user") == false {
            rules.append(.init(names: ["clone"], action: .allow, conditions: [.init(argument: 0, .masked(mask: 0x1000_0000, value: 0))]))
        }
        let foreign = syscallArchitectures == ["native"] ? [] : ["SCMP_ARCH_X86"]
        return .filtered(SyscallFilter(defaultAction: .errno(1), architectures: foreign, rules: rules))
    }

    private var masked: [String] {
        if flag("ProtectKernelTunables") || procSubsetIsPid { return Facts.sensitive.filter { procSubsetIsPid || $0.hasPrefix("/proc/k") } }
        return flag("ProtectKernelLogs") ? ["/proc/kallsyms"] : []
    }

    private var readOnly: [String] { flag("ProtectKernelTunables") || procSubsetIsPid ? Facts.writable : [] }

    /// The host's file system is inside unless the unit has a root of its own.
    private var mountList: [Mount] {
        let tunables = flag("ProtectKernelTunables") ? ["ro"] : ["rw"]
        var list = [
            Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: tunables),
            Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: flag("ProtectControlGroups") ? ["ro"] : ["rw"]),
        ]
        if !ownRoot { list += hostTree }
        for path in bindPaths {
            let parts = path.split(separator: " ")
            let fields = (parts.first ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard let source = fields.first else { continue }
            let from = source.hasPrefix("-") ? String(source.dropFirst()) : source
            list.append(
                Mount(destination: fields.count > 1 ? fields[1] : from, type: "bind", source: from, options: [parts.count > 1 ? "ro" : "rw"]))
        }
        return list
    }

    private var hostTree: [Mount] {
        func tree(_ path: String, _ writable: Bool) -> Mount {
            Mount(destination: path, type: "bind", source: path, options: [writable ? "rw" : "ro"])
        }
        // Files have owners: who is not root writes to few of them.
        let isRoot = runsPrivileged || boundingSet & CapabilitySet([.dacOverride]).rawValue != 0 && ambientSet != 0
        var list: [Mount] = []
        switch protectSystem {
        case .no: list.append(tree("/", isRoot))
        case .yes: list += [tree("/etc", isRoot), tree("/var", isRoot), tree("/usr", false)]
        case .full: list += [tree("/var", isRoot), tree("/usr", false), tree("/etc", false)]
        case .strict: list.append(tree("/usr", false))
        }
        switch protectHome {
        case .no: list.append(tree("/home", isRoot))
        case .readOnly: list.append(tree("/home", false))
        case .yes, .tmpfs: break
        }
        if !flag("PrivateTmp") { list.append(tree("/tmp", true)) }
        if !flag("PrivateDevices") { list.append(tree("/dev", isRoot)) }
        list.append(tree("/run", isRoot && protectSystem != .strict))
        return list
    }

    private var bounds: Limits {
        func limit(_ text: String) -> Limit { text.isEmpty || text == "infinity" ? .unlimited : ByteCount.parse(text).map { .at($0) } ?? .unlimited }
        var limits = Limits()
        // DefaultTasksMax= is 15 % of the machine's, which is some thousands.
        limits.pids = tasksMax.isEmpty ? .at(4915) : limit(tasksMax)
        limits.memory = limit(memoryMax)
        return limits
    }
}
