import OCISpec

extension Confinement {
    /// Reads an OCI configuration, and Coffer's own words about it where there are any.
    ///
    /// What a document leaves out is what a runtime does then: an absent namespace is the host's, an absent filter is none,
    /// an absent limit is none. - Throws: what the document says and no kernel understands.
    public init(spec: RuntimeSpec, extension notes: BundleExtension?) throws(ConfinementError) {
        let linux = spec.linux ?? RuntimeSpec.Linux()
        let process = spec.process ?? RuntimeSpec.Process()
        let namespaces = linux.namespaces ?? []
        var origin = Origin.foreign
        if let level = notes?.level {
            guard let name = LevelName(rawValue: level) else {
                throw ConfinementError("the bundle names a level “\(level)”, which does not exist")
            }
            origin = .level(name)
        }
        var devices: [DeviceNode] = []
        for device in linux.devices ?? [] { devices.append(try DeviceNode(device)) }
        let missing = DeviceNode.defaults.filter { node in !devices.contains { $0.path == node.path } }
        var rules: [DeviceRule] = []
        for rule in linux.resources?.devices ?? [] { rules.append(try DeviceRule(rule)) }
        self.init(
            origin: origin, isolation: .sharedKernel, user: PayloadUser(process.user ?? .init(), lookup: notes?.userSpec ?? ""),
            userNamespace: UserNamespace(linux, namespaces, sharesRange: notes?.sharesIDRange ?? false),
            namespaces: Namespaces(
                pid: Self.scope(.pid, namespaces), mount: Self.scope(.mount, namespaces), ipc: Self.scope(.ipc, namespaces),
                uts: Self.scope(.uts, namespaces), cgroup: Self.scope(.cgroup, namespaces), time: Self.scope(.time, namespaces)),
            capabilities: try CapabilitySets(process.capabilities), noNewPrivileges: process.noNewPrivileges ?? false,
            syscalls: try linux.seccomp.map { seccomp throws(ConfinementError) in .filtered(try SyscallFilter(oci: seccomp)) }
                ?? .unconfined,
            appArmor: process.apparmorProfile.flatMap { $0.isEmpty ? nil : .profile($0) } ?? .inherited,
            seLinux: Self.seLinux(process.selinuxLabel ?? "", linux.mountLabel ?? ""),
            landlock: notes?.landlock.map { .enforced($0) } ?? .off, mountsLocked: notes?.lockMounts ?? false,
            rootReadOnly: spec.root?.readonly ?? false, mounts: (spec.mounts ?? []).map(Mount.init),
            maskedPaths: linux.maskedPaths ?? [], readonlyPaths: linux.readonlyPaths ?? [], devices: missing + devices,
            deviceRules: rules, limits: Limits(linux.resources ?? .init(), process), sysctls: linux.sysctl ?? [:],
            network: Self.network(namespaces, notes?.network, devices: linux.netDevices ?? [:]),
            networkNamespaceInside: notes?.networkNamespaceInside ?? false,
            logs: notes?.log.map { .rotated(maxBytes: $0.maxBytes, maxFiles: $0.maxFiles) } ?? .none)
    }

    private static func scope(_ kind: RuntimeSpec.Namespace.Kind, _ list: [RuntimeSpec.Namespace]) -> NamespaceScope {
        guard let namespace = list.first(where: { $0.type == kind }) else { return .host }
        return namespace.path.flatMap { $0.isEmpty ? nil : .at(path: $0) } ?? .own
    }

    private static func seLinux(_ process: String, _ mounts: String) -> SELinuxConfinement {
        process.isEmpty && mounts.isEmpty ? .inherited : .labels(process: process, mounts: mounts)
    }

    private static func network(
        _ list: [RuntimeSpec.Namespace], _ policy: NetworkPolicy?, devices: [String: RuntimeSpec.NetDevice]
    ) -> NetworkReach {
        switch scope(.network, list) {
        case .host: return .host
        case .at(let path): return .at(path: path)
        case .own: break
        }
        // Whatever the policy is: a device of the host is a way past it.
        if !devices.isEmpty { return .foreign }
        switch policy {
        case nil: return .foreign
        // The namespace in config.json is its own, so it is not the host's whatever the policy says.
        case .some(.none), .some(.host): return .none
        case .some(.outbound(let outbound)): return .outbound(ports: outbound.ports, closesHost: outbound.closeHost)
        }
    }
}

extension PayloadUser {
    init(_ user: RuntimeSpec.User, lookup: String) {
        self.init(
            uid: user.uid, gid: user.gid, additionalGids: user.additionalGids ?? [], umask: user.umask ?? 0o022, lookup: lookup)
    }
}

extension UserNamespace {
    init(_ linux: RuntimeSpec.Linux, _ list: [RuntimeSpec.Namespace], sharesRange: Bool) {
        guard let namespace = list.first(where: { $0.type == .user }) else {
            self = .host
            return
        }
        if let path = namespace.path, !path.isEmpty {
            self = .at(path: path)
        } else {
            self = .own(uids: linux.uidMappings ?? [], gids: linux.gidMappings ?? [], sharesRange: sharesRange)
        }
    }
}

extension CapabilitySets {
    /// Without any statement a runtime sets all five empty.
    init(_ capabilities: RuntimeSpec.Capabilities?) throws(ConfinementError) {
        func set(_ names: [String]?) throws(ConfinementError) -> CapabilitySet {
            var members: [Capability] = []
            for name in names ?? [] {
                guard let capability = Capability(named: name) else {
                    throw ConfinementError("config.json: no capability is named “\(name)”")
                }
                members.append(capability)
            }
            return CapabilitySet(members)
        }
        self.init(
            bounding: try set(capabilities?.bounding), effective: try set(capabilities?.effective),
            permitted: try set(capabilities?.permitted), inheritable: try set(capabilities?.inheritable),
            ambient: try set(capabilities?.ambient))
    }
}

extension Mount {
    init(_ mount: RuntimeSpec.Mount) {
        self.init(
            destination: mount.destination, type: mount.type ?? "", source: mount.source ?? "", options: mount.options ?? [],
            uidMappings: mount.uidMappings ?? [], gidMappings: mount.gidMappings ?? [])
    }
}

extension DeviceNode {
    init(_ device: RuntimeSpec.Device) throws(ConfinementError) {
        // "u" is an unbuffered character device, which Linux does not tell apart.
        guard let kind = Kind(rawValue: device.type == "u" ? "c" : device.type) else {
            throw ConfinementError("config.json: “\(device.type)” is no type of the device \(device.path)")
        }
        if kind != .fifo, device.major == nil || device.minor == nil {
            throw ConfinementError("config.json: the device \(device.path) lacks its major or minor number")
        }
        self.init(
            path: device.path, kind: kind, major: device.major ?? 0, minor: device.minor ?? 0, mode: device.fileMode ?? 0o666,
            uid: device.uid ?? 0, gid: device.gid ?? 0)
    }
}

extension DeviceRule {
    init(_ rule: RuntimeSpec.DeviceRule) throws(ConfinementError) {
        guard let kind = Kind(rawValue: rule.type ?? "a") else {
            throw ConfinementError("config.json: “\(rule.type ?? "")” is no type of a device rule")
        }
        self.init(
            allows: rule.allow, kind: kind, major: rule.major ?? -1, minor: rule.minor ?? -1, access: rule.access ?? "rwm")
    }
}

extension Limits {
    init(_ resources: RuntimeSpec.Resources, _ process: RuntimeSpec.Process) {
        func limit(_ number: Int64?) -> Limit { number.flatMap { UInt64(exactly: $0) }.map { .at($0) } ?? .unlimited }
        func positive(_ number: Int64?) -> Limit { (number ?? 0) > 0 ? limit(number) : .unlimited }
        self.init(
            pids: positive(resources.pids?.limit), memory: limit(resources.memory?.limit),
            memoryAndSwap: limit(resources.memory?.swap), memoryReservation: limit(resources.memory?.reservation),
            cpuShares: resources.cpu?.shares ?? 1024, cpuQuota: positive(resources.cpu?.quota),
            cpuPeriod: resources.cpu?.period ?? 100_000, cpus: resources.cpu?.cpus ?? "", memoryNodes: resources.cpu?.mems ?? "",
            processLimits: (process.rlimits ?? []).sorted { $0.type < $1.type }, oomScoreAdjustment: process.oomScoreAdj ?? 0)
    }
}
