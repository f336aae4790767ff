import OCISpec

extension ConfinementResolver {
    func networkReach() throws(ConfinementError) -> NetworkReach {
        let mode: ConfinementRequest.NetworkMode =
            request.network
            ?? (level.network == .none ? .none : .outbound)
        switch mode {
        case .none:
            if let port = request.ports.first {
                throw ConfinementError(
                    "-p \(port.hostPort):\(port.containerPort): a container without a network publishes no port; add --network outbound")
            }
            return .none
        case .outbound: return .outbound(ports: try checkedPorts(), closesHost: true)
        case .host: return .host
        case .at(let path):
            if !request.ports.isEmpty {
                throw ConfinementError("-p: ports are published by the container whose network this one joins")
            }
            return .at(path: path)
        }
    }

    private func checkedPorts() throws(ConfinementError) -> [OutboundNetwork.PublishedPort] {
        for (position, port) in request.ports.enumerated() {
            let clash = request.ports[..<position].contains {
                $0.hostPort == port.hostPort && $0.transport == port.transport && $0.hostAddress == port.hostAddress
            }
            if clash {
                throw ConfinementError("-p: port \(port.hostPort)/\(port.transport.rawValue) of \(port.hostAddress) is published twice")
            }
        }
        return request.ports
    }

    /// NET_ADMIN and NET_RAW are powerless over a network namespace of the outer user namespace, so it moves inside.
    /// Without the inner namespace of the locked mounts there is but one, and they have power already. Where the level itself has one of them (Docker's
    /// defaults have NET_RAW) and nobody has asked for it, the rules that close the host count for more: it stays powerless.
    func networkNamespaceInside(_ network: NetworkReach) -> Bool {
        guard locksMounts, capabilities.contains(.netAdmin) || capabilities.contains(.netRaw) else { return false }
        return switch network {
        case .none: true
        case .outbound(_, let closesHost): !closesHost || hasAskedForNetworkCapabilities
        case .host, .at, .foreign: false
        }
    }

    private var hasAskedForNetworkCapabilities: Bool {
        request.capabilitiesAdded.contains { name in
            guard let capability = Capability(named: name) else { return name.uppercased() == "ALL" }
            return [.netAdmin, .netRaw].contains(capability) && capabilities.contains(capability)
        }
    }

    func notes(_ network: NetworkReach) -> [String] {
        var notes: [String] = []
        if network == .host, !request.ports.isEmpty { notes.append("-p has no effect with --network host: the ports are the host's own") }
        if locksMounts, capabilities.contains(.netRaw), case .outbound = network, !networkNamespaceInside(network) {
            notes.append("NET_RAW has no power over the outbound network, whose rules close the host; with --network none it has")
        }
        if case .own(_, _, true) = userNamespaceOrHost { notes.append("its ID range is shared with this user's other containers") }
        if case .missing(let reason) = host.appArmor, request.security.appArmor == nil { notes.append("AppArmor is unavailable: \(reason)") }
        return notes
    }

    private var userNamespaceOrHost: UserNamespace {
        host.range.isShared && request.userNamespace == .private && request.uidMap.isEmpty && request.gidMap.isEmpty
            ? .own(uids: [], gids: [], sharesRange: true) : .host
    }

    // MARK: Landlock

    /// Everything but device nodes and device ioctls.
    private static let everything = [
        "execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_dir", "make_reg", "make_sock",
        "make_fifo", "make_sym", "refer", "truncate",
    ]
    private static let reading = ["execute", "read_file", "read_dir"]
    private static let writing = everything.filter { !reading.contains($0) }

    /// The rules that the mounts imply. They cannot subtract, so with a writable root they forbid device nodes, device
    /// ioctls, mounts and ptrace across domains; the rest is held by mount flags.
    func landlock(mounts: [Mount], network: NetworkReach) -> LandlockConfinement {
        let asked = request.security.landlock
        guard asked ?? (level.landlock.enabled && !request.privileged) else { return .off }
        var tcpBind: [UInt16]?
        var tcpConnect: [UInt16]?
        if level.landlock.namedPortsOnly {
            tcpBind = []
            tcpConnect = []
            if case .outbound(let ports, _) = network {
                tcpBind = Set(ports.filter { $0.transport == .tcp }.map(\.containerPort)).sorted()
            }
            if network == .host { tcpConnect = nil }
        }
        // A mount of its own (SYS_ADMIN) would fail under any file-system rule.
        let handlesFileSystem = !capabilities.contains(.sysAdmin)
        return .enforced(
            LandlockPolicy(
                handlesFileSystem: handlesFileSystem, rules: handlesFileSystem ? pathRules(mounts) : [],
                scopeAbstractUnixSockets: true, scopeSignals: request.pid != .own, tcpBindPorts: tcpBind,
                tcpConnectPorts: tcpConnect))
    }

    private func pathRules(_ mounts: [Mount]) -> [LandlockPolicy.PathRule] {
        var rules: [LandlockPolicy.PathRule] = []
        func grant(_ path: String, _ access: [String], optional: Bool = true) {
            rules.append(LandlockPolicy.PathRule(path: path, access: access, optional: optional))
        }
        if rootReadOnly {
            grant("/", Self.reading, optional: false)
            grant("/dev", ["write_file", "truncate"])
            if level.landlock.procWritable { grant("/proc", ["write_file", "truncate"]) }
            let kernelOwned = ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"]
            for mount in mounts where mount.isWritable && !kernelOwned.contains(mount.destination) {
                grant(mount.destination, Self.writing)
            }
        } else {
            grant("/", Self.everything, optional: false)
        }
        // Terminals are opened and unlocked by ioctls; without these openpty fails.
        for path in ["/dev/ptmx", "/dev/pts", "/dev/tty", "/dev/console"] { grant(path, ["read_file", "write_file", "ioctl_dev"]) }
        for device in request.devices { grant(device.path, ["read_file", "write_file", "ioctl_dev"], optional: false) }
        return rules
    }
}
