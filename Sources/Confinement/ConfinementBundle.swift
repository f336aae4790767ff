import OCISpec

/// What a bundle says beside the confinement: the program, and where things are on this host.
public struct BundleDetails: Sendable, Equatable {
    public var arguments: [String]
    /// "NAME=value" each.
    public var environment: [String]
    public var workingDirectory: String
    public var terminal: Bool
    public var consoleSize: RuntimeSpec.ConsoleSize?
    public var hostname: String
    public var domainname: String
    /// `root.path` of config.json.
    public var rootPath: String
    public var rootSource: RootSource
    public var stdinOpen: Bool
    /// Absolute path of the log; needed when the confinement keeps logs.
    public var logPath: String
    public var exitCommand: [String]?
    public var initProcess: Bool
    /// "" lets the runtime choose.
    public var cgroupsPath: String
    public var annotations: [String: String]
    public var hooks: RuntimeSpec.Hooks?
    /// Absolute path of pasta; needed for an outbound network.
    public var pastaPath: String
    public var dnsForwardAddress: String?
    public var preferredSteps: [String]
    public var cgroupRequired: Bool
    /// Groups by name, beside those of the user that are numbers.
    public var groupNames: [String] = []
    /// Destinations of volumes that are filled from the image while they are empty.
    public var filledVolumes: [String] = []
    /// No client that goes ends an open stdin.
    public var stdinStays = false

    public init(
        arguments: [String], environment: [String] = [], workingDirectory: String = "/", terminal: Bool = false,
        consoleSize: RuntimeSpec.ConsoleSize? = nil, hostname: String = "", domainname: String = "", rootPath: String = "rootfs",
        rootSource: RootSource = .directory, stdinOpen: Bool = false, logPath: String = "", exitCommand: [String]? = nil,
        initProcess: Bool = false, cgroupsPath: String = "", annotations: [String: String] = [:],
        hooks: RuntimeSpec.Hooks? = nil, pastaPath: String = "", dnsForwardAddress: String? = nil,
        preferredSteps: [String] = [], cgroupRequired: Bool = false
    ) {
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.terminal = terminal
        self.consoleSize = consoleSize
        self.hostname = hostname
        self.domainname = domainname
        self.rootPath = rootPath
        self.rootSource = rootSource
        self.stdinOpen = stdinOpen
        self.logPath = logPath
        self.exitCommand = exitCommand
        self.initProcess = initProcess
        self.cgroupsPath = cgroupsPath
        self.annotations = annotations
        self.hooks = hooks
        self.pastaPath = pastaPath
        self.dnsForwardAddress = dnsForwardAddress
        self.preferredSteps = preferredSteps
        self.cgroupRequired = cgroupRequired
    }
}

/// The two documents that the runtime gets.
public struct ConfinementBundle: Sendable, Equatable {
    public var spec: RuntimeSpec
    public var `extension`: BundleExtension
}

extension Confinement {
    /// Writes config.json and coffer.json. `Confinement(spec:extension:)` reads the same value back.
    public func bundle(_ details: BundleDetails) throws(ConfinementError) -> ConfinementBundle {
        ConfinementBundle(spec: spec(details), extension: try bundleExtension(details))
    }

    /// The OCI process of this confinement. For another program in the same container (`exec`) `other` is who runs it; his
    /// capabilities are then what `execve` leaves him of the container's own.
    public func process(_ details: BundleDetails, as other: PayloadUser? = nil) -> RuntimeSpec.Process {
        let user = other ?? self.user
        let capabilities = other.map { CapabilitySets(bounding: self.capabilities.bounding, for: $0) } ?? self.capabilities
        var process = RuntimeSpec.Process(
            terminal: details.terminal, consoleSize: details.consoleSize,
            user: .init(uid: user.uid, gid: user.gid, umask: user.umask, additionalGids: user.additionalGids),
            args: details.arguments, env: details.environment, cwd: details.workingDirectory,
            capabilities: .init(
                bounding: capabilities.bounding.names, effective: capabilities.effective.names,
                inheritable: capabilities.inheritable.names, permitted: capabilities.permitted.names,
                ambient: capabilities.ambient.names),
            rlimits: limits.processLimits, noNewPrivileges: noNewPrivileges, oomScoreAdj: limits.oomScoreAdjustment)
        if case .profile(let name) = appArmor { process.apparmorProfile = name }
        if case .labels(let label, _) = seLinux, !label.isEmpty { process.selinuxLabel = label }
        return process
    }

    private func spec(_ details: BundleDetails) -> RuntimeSpec {
        RuntimeSpec(
            process: process(details), root: .init(path: details.rootPath, readonly: rootReadOnly),
            hostname: details.hostname.isEmpty ? nil : details.hostname,
            domainname: details.domainname.isEmpty ? nil : details.domainname, mounts: mounts.map(\.oci), hooks: details.hooks,
            annotations: details.annotations.isEmpty ? nil : details.annotations, linux: linux(details))
    }

    private func linux(_ details: BundleDetails) -> RuntimeSpec.Linux {
        var linux = RuntimeSpec.Linux(
            sysctl: sysctls.isEmpty ? nil : sysctls, resources: resources,
            cgroupsPath: details.cgroupsPath.isEmpty ? nil : details.cgroupsPath, namespaces: ociNamespaces,
            devices: devices.map(\.oci), rootfsPropagation: "private", maskedPaths: maskedPaths, readonlyPaths: readonlyPaths)
        if case .own(let uids, let gids, _) = userNamespace {
            linux.uidMappings = uids
            linux.gidMappings = gids
        }
        if case .filtered(let filter) = syscalls { linux.seccomp = filter.oci }
        if case .labels(_, let label) = seLinux, !label.isEmpty { linux.mountLabel = label }
        return linux
    }

    private var ociNamespaces: [RuntimeSpec.Namespace] {
        var list: [RuntimeSpec.Namespace] = []
        switch userNamespace {
        case .host: break
        case .own: list.append(.init(type: .user))
        case .at(let path): list.append(.init(type: .user, path: path))
        }
        let scopes: [(RuntimeSpec.Namespace.Kind, NamespaceScope)] = [
            (.mount, namespaces.mount), (.pid, namespaces.pid), (.ipc, namespaces.ipc), (.uts, namespaces.uts),
            (.cgroup, namespaces.cgroup), (.time, namespaces.time),
        ]
        for (kind, scope) in scopes {
            switch scope {
            case .own: list.append(.init(type: kind))
            case .at(let path): list.append(.init(type: kind, path: path))
            case .host: break
            }
        }
        switch network {
        case .host: break
        case .none, .outbound, .foreign: list.append(.init(type: .network))
        case .at(let path): list.append(.init(type: .network, path: path))
        }
        return list
    }

    private var resources: RuntimeSpec.Resources {
        var memory = RuntimeSpec.Memory()
        if case .at(let bytes) = limits.memory { memory.limit = Int64(clamping: bytes) }
        switch limits.memoryAndSwap {
        case .at(let bytes): memory.swap = Int64(clamping: bytes)
        case .unlimited: if limits.memory != .unlimited { memory.swap = -1 }
        }
        if case .at(let bytes) = limits.memoryReservation { memory.reservation = Int64(clamping: bytes) }
        var cpu = RuntimeSpec.CPU(
            shares: limits.cpuShares, cpus: limits.cpus.isEmpty ? nil : limits.cpus,
            mems: limits.memoryNodes.isEmpty ? nil : limits.memoryNodes)
        if case .at(let quota) = limits.cpuQuota { cpu.quota = Int64(clamping: quota) }
        if limits.cpuQuota != .unlimited || limits.cpuPeriod != 100_000 { cpu.period = limits.cpuPeriod }
        var resources = RuntimeSpec.Resources(
            devices: deviceRules.map(\.oci), memory: memory == RuntimeSpec.Memory() ? nil : memory, cpu: cpu)
        if case .at(let count) = limits.pids { resources.pids = .init(limit: Int64(clamping: count)) }
        return resources
    }

    private func bundleExtension(_ details: BundleDetails) throws(ConfinementError) -> BundleExtension {
        var policy: LandlockPolicy?
        if case .enforced(let enforced) = landlock { policy = enforced }
        var sharesRange = false
        if case .own(_, _, let shared) = userNamespace { sharesRange = shared }
        var level: String?
        if case .level(let name) = origin { level = name.rawValue }
        return BundleExtension(
            root: details.rootSource, lockMounts: mountsLocked, landlock: policy, network: try networkPolicy(details),
            stdio: StandardStreams(stdinOpen: details.stdinOpen, stdinStays: details.stdinStays ? true : nil), log: try logPolicy(details),
            exitCommand: details.exitCommand,
            initProcess: details.initProcess, userSpec: user.lookup.isEmpty ? nil : user.lookup,
            networkNamespaceInside: networkNamespaceInside, preferredSteps: details.preferredSteps,
            cgroupRequired: details.cgroupRequired, sharesIDRange: sharesRange, level: level,
            groupNames: details.groupNames.isEmpty ? nil : details.groupNames,
            filledVolumes: details.filledVolumes.isEmpty ? nil : details.filledVolumes)
    }

    private func networkPolicy(_ details: BundleDetails) throws(ConfinementError) -> NetworkPolicy {
        switch network {
        case .none, .at: return .none
        case .host: return .host
        case .foreign: throw ConfinementError("a network that another engine connects cannot be written into a bundle of ours")
        case .outbound(let ports, let closesHost):
            guard details.pastaPath.hasPrefix("/") else {
                throw ConfinementError("an outbound network needs pasta: install the package passt, or use --network none")
            }
            return .outbound(
                OutboundNetwork(
                    ports: ports, pastaPath: details.pastaPath, dnsForwardAddress: details.dnsForwardAddress,
                    closeHost: closesHost))
        }
    }

    private func logPolicy(_ details: BundleDetails) throws(ConfinementError) -> LogPolicy? {
        guard case .rotated(let maxBytes, let maxFiles) = logs else { return nil }
        guard details.logPath.hasPrefix("/") else { throw ConfinementError("the log's path “\(details.logPath)” is not absolute") }
        return LogPolicy(path: details.logPath, maxBytes: maxBytes, maxFiles: maxFiles)
    }
}

extension Mount {
    var oci: RuntimeSpec.Mount {
        RuntimeSpec.Mount(
            destination: destination, type: type.isEmpty ? nil : type, source: source.isEmpty ? nil : source,
            options: options.isEmpty ? nil : options, uidMappings: uidMappings.isEmpty ? nil : uidMappings,
            gidMappings: gidMappings.isEmpty ? nil : gidMappings)
    }
}

extension DeviceNode {
    var oci: RuntimeSpec.Device {
        let hasNumbers = kind != .fifo
        return RuntimeSpec.Device(
            type: kind.rawValue, path: path, major: hasNumbers ? major : nil, minor: hasNumbers ? minor : nil, fileMode: mode,
            uid: uid, gid: gid)
    }
}

extension DeviceRule {
    var oci: RuntimeSpec.DeviceRule {
        RuntimeSpec.DeviceRule(
            allow: allows, type: kind == .all ? nil : kind.rawValue, major: major < 0 ? nil : major, minor: minor < 0 ? nil : minor,
            access: access)
    }
}
