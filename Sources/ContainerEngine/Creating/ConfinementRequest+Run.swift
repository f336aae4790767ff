import Confinement
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension ConfinementRequest {
    /// What a `run` asked for, in the words of the model.
    ///
    /// - Throws: `EngineError` for what no flag can mean; what the level refuses is the model's to say.
    init(_ details: ContainerDetails, _ directory: ContainerDirectory, _ engine: Engine) throws(EngineError) {
        self.init()
        let request = details.request
        guard let level = LevelName(rawValue: request.security.level) else {
            throw EngineError("unknown level: \(request.security.level)", remedy: "use standard, strict or compat")
        }
        self.level = level
        capabilitiesAdded = request.security.addCapabilities
        capabilitiesDropped = request.security.dropCapabilities
        privileged = request.security.privileged
        devices = try request.security.devices.map { text throws(EngineError) in try DeviceRequest(parsing: text) }
        for option in request.security.options {
            do {
                try security.add(option) { try readFile($0, limit: 4 << 20) }
            } catch {
                throw EngineError("\(error)")
            }
        }
        uidMap = request.security.uidMaps.map(Self.mapping)
        gidMap = request.security.gidMaps.map(Self.mapping)
        try takeNamespaces(request, engine)
        try takeNetwork(request, details)
        takeResources(request.resources)
        readOnly = request.readOnlyRoot
        let hasMaps = request.security.userNamespace != "host"
        volumes = try details.mounts.map { mount throws(EngineError) in try VolumeRequest(mount, engine.root, hasMaps: hasMaps) }
        sysctls = request.security.sysctls
        user = try Self.payloadUser(details)
        generatedFiles = [
            GeneratedFile(source: directory.resolver, destination: "/etc/resolv.conf"),
            GeneratedFile(source: directory.hostname, destination: "/etc/hostname"),
            GeneratedFile(source: directory.hosts, destination: "/etc/hosts"),
        ].filter { file in !details.mounts.contains { $0.destination == file.destination } }
    }

    private static func mapping(_ flag: IDMapFlag) -> RuntimeSpec.IDMapping {
        RuntimeSpec.IDMapping(containerID: flag.containerID, hostID: flag.hostID, size: flag.count)
    }

    private mutating func takeNamespaces(_ request: RunRequest, _ engine: Engine) throws(EngineError) {
        switch request.security.userNamespace {
        case "", "private", "auto", "nomap": userNamespace = .private
        case "keep-id": userNamespace = .keepID
        case "host": userNamespace = .host
        case let other: throw EngineError("invalid USER mode: \(other)", remedy: "use private, keep-id or host")
        }
        pid = try Self.mode(request.security.pidNamespace, "pid", engine)
        uts = try Self.mode(request.security.utsNamespace, "uts", engine)
        cgroup = try Self.mode(request.security.cgroupNamespace, "cgroup", engine)
        switch request.security.ipcNamespace {
        case "", "private": ipc = .private
        case "shareable": ipc = .shareable
        case "none": ipc = .none
        case "host": ipc = .host
        case let other:
            guard case .at(let path) = try Self.mode(other, "ipc", engine) else { return }
            ipc = .at(path: path)
        }
    }

    private static func mode(_ text: String, _ kind: String, _ engine: Engine) throws(EngineError) -> NamespaceMode {
        switch text {
        case "", "private": return .own
        case "host": return .host
        case _ where text.hasPrefix("container:"):
            let other = try engine.container(String(text.dropFirst("container:".count)))
            guard case .running(let state, _) = other.status else {
                throw EngineError("cannot join the \(kind) namespace of container \(other.record.name): it is not running")
            }
            return .at(path: "/proc/\(state.pid)/ns/\(kind)")
        default: throw EngineError("invalid \(kind.uppercased()) mode: \(text)", remedy: "use private, host or container:NAME")
        }
    }

    private mutating func takeNetwork(_ request: RunRequest, _ details: ContainerDetails) throws(EngineError) {
        network =
            switch request.network {
            case nil: nil
            case .some(.none): NetworkMode.none
            case .host: .host
            case .outbound: .outbound
            }
        ports = details.ports.map { port in
            OutboundNetwork.PublishedPort(
                hostAddress: port.boundAddress, hostPort: port.hostPort ?? 0, containerPort: port.containerPort,
                transport: port.transport == .tcp ? .tcp : .udp)
        }
    }

    private mutating func takeResources(_ resources: ResourceRequest) {
        pidsLimit = resources.pids
        memory = resources.memory.map { UInt64($0) }
        memorySwap = resources.memorySwap
        memoryReservation = resources.memoryReservation.map { UInt64($0) }
        cpus = resources.nanoCPUs.map { Double($0) / 1e9 }
        cpuShares = resources.cpuShares.flatMap { $0 == 0 ? nil : UInt64($0) }
        cpuSet = resources.cpusetCPUs
        memoryNodes = resources.cpusetMemory
        ulimits = resources.ulimits.map { RuntimeSpec.ResourceLimit(type: $0.ociType, soft: $0.soft, hard: $0.hard) }
        oomScoreAdjustment = resources.oomScoreAdjust
        shmSize = resources.sharedMemory.map { UInt64($0) }
    }

    /// The user as far as numbers say it; names are looked up inside the root by the runtime.
    private static func payloadUser(_ details: ContainerDetails) throws(EngineError) -> PayloadUser? {
        // Names are the image's: the runtime looks them up inside the root (rule R9).
        var groups: [UInt32] = []
        for text in details.request.security.addGroups {
            if text.isEmpty || text.contains(":") || text.utf8.contains(0) {
                throw EngineError("invalid group: '\(text)' in --group-add", remedy: "name one group, or give its number")
            }
            if let number = UInt32(text) { groups.append(number) }
        }
        let parts = details.user.split(separator: ":", omittingEmptySubsequences: false)
        guard let uid = parts.first.flatMap({ UInt32($0) }) else {
            return groups.isEmpty ? nil : PayloadUser(additionalGids: groups)
        }
        return PayloadUser(uid: uid, gid: parts.count > 1 ? UInt32(parts[1]) ?? 0 : 0, additionalGids: groups)
    }
}

extension VolumeRequest {
    /// - Parameter hasMaps: the container has a user namespace, and so IDs that are not the host's.
    init(_ mount: MountRequest, _ root: StateRoot, hasMaps: Bool) throws(EngineError) {
        let source: Source =
            switch mount.source {
            case .bind(let path): .bind(path)
            case .volume(let name): .volume(path: root.volumeData(name ?? ""))
            case .tmpfs(let size, let mode): .temporary(bytes: size.map { UInt64($0) }, mode: String(mode ?? 0o1777, radix: 8))
            }
        self.init(
            source: source, destination: mount.destination, readOnly: mount.readOnly, noExec: mount.options.contains("noexec"),
            recursive: true, propagation: Propagation(rawValue: mount.propagation) ?? .rprivate,
            // A rootful container's range is its own: files of a volume keep the image's IDs and are shifted on the way.
            idmap: mount.idMapped || (mount.type == "volume" && root.isRootful && hasMaps))
    }
}

extension DeviceRequest {
    /// Parses `--device SOURCE[:DESTINATION[:PERMISSIONS]]` and looks the device up.
    init(parsing text: String) throws(EngineError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let isPermissions = { (part: String) in !part.isEmpty && part.allSatisfy { "rwm".contains($0) } }
        guard (1...3).contains(parts.count), parts[0].hasPrefix("/") else {
            throw EngineError("invalid device: '\(text)'", remedy: "write SOURCE[:DESTINATION[:rwm]]")
        }
        var destination = parts[0]
        var access = "rwm"
        if parts.count == 2, isPermissions(parts[1]) { access = parts[1] } else if parts.count >= 2 { destination = parts[1] }
        if parts.count == 3 { access = parts[2] }
        guard isPermissions(access) else { throw EngineError("invalid device mode: \(access) in '\(text)'") }
        guard destination.hasPrefix("/") else { throw EngineError("invalid device: '\(text)': the path inside must be absolute") }
        var status = stat()
        guard stat(parts[0], &status) == 0 else {
            throw EngineError("error gathering device information for \(parts[0]): \(KernelError.last("stat").reason)")
        }
        let kind: DeviceNode.Kind
        switch status.st_mode & S_IFMT {
        case S_IFCHR: kind = .character
        case S_IFBLK: kind = .block
        default: throw EngineError("\(parts[0]) is no device", remedy: "mount files and directories with -v")
        }
        self.init(
            hostPath: parts[0], path: normalised(destination), kind: kind, major: Self.major(status.st_rdev), minor: Self.minor(status.st_rdev),
            mode: UInt32(status.st_mode & 0o777), access: access)
    }

    /// The numbers in a dev_t (makedev(3), glibc's layout).
    static func major(_ device: dev_t) -> Int64 { Int64((device >> 8) & 0xfff | (device >> 32) & 0xffff_f000) }
    static func minor(_ device: dev_t) -> Int64 { Int64(device & 0xff | (device >> 12) & 0xffff_ff00) }
}
