import OCISpec

/// What a request came to.
public struct Resolution: Sendable, Equatable {
    public var confinement: Confinement
    /// What the flags loosened, each with its price, in the order of the flags' weight.
    public var relaxations: [Relaxation]
    /// What the user should know and that loosens nothing.
    public var notes: [String]
}

/// Makes a confinement of a level, a request, an image and a machine. Pure: the same input gives the same value.
public struct ConfinementResolver: Sendable {
    let request: ConfinementRequest
    let image: ImageDefaults
    let host: HostFacts
    let level: Level
    let user: PayloadUser
    let capabilities: CapabilitySet

    /// - Throws: one sentence for the first thing that cannot be granted; nothing was touched.
    public static func resolve(
        _ request: ConfinementRequest, image: ImageDefaults, host: HostFacts
    ) throws(ConfinementError) -> Resolution {
        try ConfinementResolver(request, image: image, host: host).resolution()
    }

    init(_ request: ConfinementRequest, image: ImageDefaults, host: HostFacts) throws(ConfinementError) {
        self.request = request
        self.image = image
        self.host = host
        level = try Level.builtIn(request.level)
        // As with Podman: who asks to keep his ID wants to be himself inside, whatever the image says.
        let keeps = request.userNamespace == .keepID
        user = request.user ?? (keeps ? PayloadUser(uid: host.invokingUID, gid: host.invokingGID) : image.user)
        capabilities = try Self.capabilities(request, level: level, host: host)
    }

    private func resolution() throws(ConfinementError) -> Resolution {
        if level.images == .trusted, image.provenance == .tag {
            throw ConfinementError(
                "level \(level.name.rawValue) runs no image by its tag, which may name another one tomorrow: "
                    + "name it by digest (NAME@sha256:…)")
        }
        let namespace = try userNamespace()
        let network = try networkReach()
        let mounts = try self.mounts(in: namespace, network: network)
        let confinement = Confinement(
            origin: .level(level.name), isolation: .sharedKernel, user: user, userNamespace: namespace, namespaces: namespaces,
            capabilities: CapabilitySets(bounding: capabilities, for: user), noNewPrivileges: noNewPrivileges,
            syscalls: try syscalls(), appArmor: try appArmor(), seLinux: try seLinux(),
            landlock: landlock(mounts: mounts, network: network), mountsLocked: locksMounts,
            rootReadOnly: rootReadOnly, mounts: mounts, maskedPaths: maskedPaths, readonlyPaths: readonlyPaths,
            devices: devices, deviceRules: deviceRules, limits: try limits(),
            sysctls: try sysctls(in: namespace, network: network), network: network,
            networkNamespaceInside: networkNamespaceInside(network), logs: logs)
        return Resolution(
            confinement: confinement, relaxations: try relaxations(confinement), notes: notes(network))
    }

    // MARK: Identity

    private static func capabilities(
        _ request: ConfinementRequest, level: Level, host: HostFacts
    ) throws(ConfinementError) -> CapabilitySet {
        let known = CapabilitySet.all(upTo: host.lastCapability)
        func named(_ names: [String], _ flag: String) throws(ConfinementError) -> (all: Bool, set: CapabilitySet) {
            var all = false
            var set = CapabilitySet()
            for name in names {
                if name.uppercased() == "ALL" {
                    all = true
                } else if let capability = Capability(named: name), known.contains(capability) {
                    set.insert(CapabilitySet([capability]))
                } else {
                    throw ConfinementError("\(flag) \(name): no capability of this kernel has that name (see capabilities(7))")
                }
            }
            return (all, set)
        }
        let added = try named(request.capabilitiesAdded, "--cap-add")
        let dropped = try named(request.capabilitiesDropped, "--cap-drop")
        let wanted = request.privileged || added.all ? known : level.capabilities.union(added.set)
        // As with Docker: “--cap-drop ALL” leaves what was added by name.
        return dropped.all ? added.set.subtracting(dropped.set) : wanted.subtracting(dropped.set)
    }

    /// The maps. Host IDs are as the runtime sees them: a rootless caller is 0 there, his subordinate IDs follow.
    private func userNamespace() throws(ConfinementError) -> UserNamespace {
        let range = host.range
        switch request.userNamespace {
        case .host:
            if !request.uidMap.isEmpty || !request.gidMap.isEmpty {
                throw ConfinementError("--uidmap and --gidmap cannot be combined with --userns host")
            }
            return .host
        case .keepID:
            guard !host.isRoot else {
                throw ConfinementError("--userns keep-id is for users; as root name the map with --uidmap instead")
            }
            guard request.uidMap.isEmpty, request.gidMap.isEmpty else {
                throw ConfinementError("--uidmap and --gidmap cannot be combined with --userns keep-id")
            }
            let uids = try Self.keeping(host.invokingUID, in: range)
            let gids = try Self.keeping(host.invokingGID, in: range)
            try checkMapped(uids, gids)
            return .own(uids: uids, gids: gids, sharesRange: range.isShared)
        case .private:
            let whole = [RuntimeSpec.IDMapping(containerID: 0, hostID: range.start, size: range.size)]
            let uids = request.uidMap.isEmpty ? (request.gidMap.isEmpty ? whole : request.gidMap) : request.uidMap
            let gids = request.gidMap.isEmpty ? uids : request.gidMap
            try Self.check(uids, "--uidmap")
            try Self.check(gids, "--gidmap")
            try checkMapped(uids, gids)
            let isOwn = request.uidMap.isEmpty && request.gidMap.isEmpty
            return .own(uids: uids, gids: gids, sharesRange: isOwn && range.isShared)
        }
    }

    /// The invoking user (0 in the owner namespace) under `id`, everything else from the range.
    private static func keeping(_ id: UInt32, in range: IDRange) throws(ConfinementError) -> [RuntimeSpec.IDMapping] {
        guard id < range.size else {
            throw ConfinementError("--userns keep-id: the ID \(id) is not below the \(range.size) IDs of the container's range")
        }
        var maps = [RuntimeSpec.IDMapping(containerID: id, hostID: 0, size: 1)]
        if id > 0 { maps.insert(.init(containerID: 0, hostID: range.start, size: id), at: 0) }
        if range.size - id > 1 { maps.append(.init(containerID: id + 1, hostID: range.start + id, size: range.size - id - 1)) }
        return maps
    }

    private static func check(_ maps: [RuntimeSpec.IDMapping], _ flag: String) throws(ConfinementError) {
        for (position, map) in maps.enumerated() {
            let row = "\(flag) \(map.containerID):\(map.hostID):\(map.size)"
            guard map.size > 0, !map.containerID.addingReportingOverflow(map.size).overflow,
                !map.hostID.addingReportingOverflow(map.size).overflow
            else { throw ConfinementError("\(row): a map has at least one ID and none beyond 4294967294") }
            for other in maps[..<position] {
                if map.containerID < other.containerID + other.size && other.containerID < map.containerID + map.size {
                    throw ConfinementError("\(row): container IDs are mapped twice")
                }
                if map.hostID < other.hostID + other.size && other.hostID < map.hostID + map.size {
                    throw ConfinementError("\(row): host IDs are mapped twice")
                }
            }
        }
    }

    static func isMapped(_ id: UInt32, _ maps: [RuntimeSpec.IDMapping]) -> Bool {
        maps.contains { id >= $0.containerID && id - $0.containerID < $0.size }
    }

    private func checkMapped(_ uids: [RuntimeSpec.IDMapping], _ gids: [RuntimeSpec.IDMapping]) throws(ConfinementError) {
        guard user.lookup.isEmpty else { return }
        if !Self.isMapped(user.uid, uids) {
            throw ConfinementError("the user \(user.uid) has no ID on the host: the container's range does not map it")
        }
        for gid in [user.gid] + user.additionalGids where !Self.isMapped(gid, gids) {
            throw ConfinementError("the group \(gid) has no ID on the host: the container's range does not map it")
        }
    }

    private var namespaces: Namespaces {
        func scope(_ mode: ConfinementRequest.NamespaceMode) -> NamespaceScope {
            switch mode {
            case .own: .own
            case .host: .host
            case .at(let path): .at(path: path)
            }
        }
        let ipc: NamespaceScope =
            switch request.ipc {
            case .private, .shareable, .none: .own
            case .host: .host
            case .at(let path): .at(path: path)
            }
        return Namespaces(
            pid: scope(request.pid), mount: .own, ipc: ipc, uts: scope(request.uts), cgroup: scope(request.cgroup), time: .host)
    }

    // MARK: What the kernel refuses

    var noNewPrivileges: Bool { request.security.noNewPrivileges ?? (level.noNewPrivileges && !request.privileged) }
    /// The lock is a second user namespace below the container's own, so it needs that one.
    var locksMounts: Bool { level.lockedMounts && !request.privileged && request.userNamespace != .host }
    var rootReadOnly: Bool { level.readOnlyRoot || request.readOnly }

    private func syscalls() throws(ConfinementError) -> SyscallPolicy {
        switch request.security.seccomp {
        case .unconfined: return .unconfined
        case .profile(let bytes, let source):
            let profile = try DockerSeccompProfile(bytes, source: source)
            return .filtered(try profile.filter(capabilities: capabilities, architecture: host.architecture, kernel: host.kernel))
        case .level:
            if request.privileged { return .unconfined }
            let calls = try Level.syscalls(level.name)
            return .filtered(try calls.filter(capabilities: capabilities, architecture: host.architecture))
        }
    }

    private func appArmor() throws(ConfinementError) -> AppArmorConfinement {
        switch (request.security.appArmor, host.appArmor) {
        case (let name?, .present), (let name?, .missing): return .profile(name)
        case ("unconfined"?, .absent): return .inherited
        case (let name?, .absent):
            throw ConfinementError("--security-opt apparmor=\(name): this kernel has no AppArmor, so the profile cannot be applied")
        case (nil, .absent), (nil, .missing): return .inherited
        case (nil, .present(let profile)):
            if request.privileged { return .profile("unconfined") }
            return profile.isEmpty ? .inherited : .profile(profile)
        }
    }

    private func seLinux() throws(ConfinementError) -> SELinuxConfinement {
        let labels = request.security.labels
        guard case .present(let categories) = host.seLinux else {
            if let label = labels.first(where: { $0 != "disable" }) {
                throw ConfinementError("--security-opt label=\(label): this kernel has no SELinux, so the label cannot be applied")
            }
            return .inherited
        }
        if labels.contains("disable") || request.privileged && labels.isEmpty {
            return .labels(process: "system_u:system_r:spc_t:s0", mounts: "system_u:object_r:container_file_t:s0")
        }
        var parts = ["user": "system_u", "role": "system_r", "type": "container_t", "level": "s0:" + categories]
        for label in labels {
            let pair = label.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 { parts[String(pair[0])] = String(pair[1]) }
        }
        let sensitivity = parts["level", default: "s0"]
        let process = ["user", "role", "type"].map { parts[$0, default: ""] }.joined(separator: ":") + ":" + sensitivity
        return .labels(process: process, mounts: "\(parts["user", default: "system_u"]):object_r:container_file_t:\(sensitivity)")
    }

    // MARK: Paths of the kernel

    /// "cpu*" becomes one path for every possible CPU, as a mask takes no pattern.
    private func expanded(_ paths: [String]) -> [String] {
        paths.flatMap { path -> [String] in
            let parts = path.split(separator: "*", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return [path] }
            return (0..<max(host.possibleCPUs, 1)).map { "\(parts[0])\($0)\(parts[1])" }
        }
    }

    private var unmasksEverything: Bool { request.security.systemPathsUnconfined || request.privileged }

    /// Whether `--security-opt unmask=` names the path or one above it, or is a pattern of exactly this path.
    private func isUnmasked(_ path: String) -> Bool {
        request.security.unmasked.contains { named in
            path == named || path.hasPrefix(named.hasSuffix("/") ? named : named + "/") || PathPattern(named).matches(path)
        }
    }

    private var maskedPaths: [String] {
        let fromLevel = unmasksEverything ? [] : expanded(level.maskedPaths).filter { !isUnmasked($0) }
        return fromLevel + request.security.masked.filter { !fromLevel.contains($0) }
    }

    private var readonlyPaths: [String] {
        unmasksEverything ? [] : level.readonlyPaths.filter { !isUnmasked($0) }
    }

    private var devices: [DeviceNode] {
        // A device under another name is bound instead (`userMounts`): config.json has no word for where a node comes from.
        let added = request.devices.filter { $0.path == $0.hostPath }.map {
            DeviceNode(path: $0.path, kind: $0.kind, major: $0.major, minor: $0.minor, mode: $0.mode)
        }
        return DeviceNode.defaults.filter { node in !added.contains { $0.path == node.path } } + added
    }

    /// Nothing, then the harmless ones (the defaults, ptmx, pseudo terminals, the console), then what was asked for.
    private var deviceRules: [DeviceRule] {
        if request.privileged { return [DeviceRule(allows: true, kind: .all)] }
        var rules = [DeviceRule(allows: false, kind: .all)]
        rules += DeviceNode.defaults.map {
            DeviceRule(allows: true, kind: .character, major: $0.major, minor: $0.minor, access: "rw")
        }
        rules += [
            DeviceRule(allows: true, kind: .character, major: 5, minor: 1, access: "rw"),
            DeviceRule(allows: true, kind: .character, major: 5, minor: 2, access: "rw"),
            DeviceRule(allows: true, kind: .character, major: 136, access: "rw"),
        ]
        for device in request.devices where device.kind != .fifo {
            rules.append(
                DeviceRule(
                    allows: true, kind: device.kind == .block ? .block : .character, major: device.major, minor: device.minor,
                    access: device.access))
        }
        return rules
    }

    private var logs: LogRetention { .rotated(maxBytes: level.logs.maxBytes, maxFiles: level.logs.maxFiles) }
}
