import Confinement
import OCISpec
import StrictJSON
import TextSearch

/// Reads what `docker inspect` and `podman inspect` print of a container (Docker Engine API 1.41 and newer, ContainerInspect).
public struct InspectReader: Sendable {
    private var defaults: EngineDefaults

    public init() throws(ExposureError) { defaults = try EngineDefaults() }

    /// What the engine said of itself (`docker info`), where it could be asked.
    public struct EngineFacts: Sendable {
        public var isRootless = false
        public var remapsUsers = false
        public var setsNoNewPrivileges = false
        /// The profile of the daemon's own choice: "default" or "builtin" is Docker's, "" where it has none, else a file.
        public var seccompProfile = "default"
        public init() {}
    }

    /// Most containers that one document may have.
    public static let maximumContainers = 10_000

    /// Every container of a document: an array as inspect prints it, or one object.
    public mutating func subjects(_ document: JSONValue, engine facts: EngineFacts = EngineFacts()) throws(ExposureError) -> [Subject] {
        let list: [JSONValue]
        switch document {
        case .array(let elements): list = elements
        case .object: list = [document]
        default: throw ExposureError("inspect output is an array of containers, not \(document.kind)")
        }
        guard list.count <= Self.maximumContainers else { throw ExposureError("more than \(Self.maximumContainers) containers in one document") }
        var subjects: [Subject] = []
        for container in list { subjects.append(try subject(container, facts)) }
        return subjects
    }

    private mutating func subject(_ container: JSONValue, _ facts: EngineFacts) throws(ExposureError) -> Subject {
        guard container["HostConfig"]?.object != nil else {
            throw ExposureError("this is no container as docker or podman inspect prints it: it has no HostConfig")
        }
        let isPodman = container["OCIRuntime"] != nil || container["ConmonPidFile"] != nil || container["BoundingCaps"] != nil
        let host = container["HostConfig"] ?? .null
        let config = container["Config"] ?? .null
        let bare = (container["Name"]?.string ?? container["Id"]?.string ?? "").drop { $0 == "/" }
        var declaration = ContainerDeclaration(
            name: (isPodman ? "podman:" : "docker:") + bare, source: isPodman ? .podman : .docker, engine: isPodman ? .podman : .docker)
        if container["State"]?["Running"]?.bool == true { declaration.pid = Int32(clamping: container["State"]?["Pid"]?.int64 ?? 0) }
        declaration.user = config["User"]?.string ?? ""
        declaration.groups = strings(host["GroupAdd"])
        declaration.isPrivileged = host["Privileged"]?.bool ?? false
        declaration.capabilitiesAdded = strings(host["CapAdd"])
        declaration.capabilitiesDropped = strings(host["CapDrop"])
        declaration.appArmor = container["AppArmorProfile"]?.string ?? ""
        declaration.seLinux = container["ProcessLabel"]?.string ?? ""
        declaration.rootReadOnly = host["ReadonlyRootfs"]?.bool ?? false
        declaration.runtime = (isPodman ? container["OCIRuntime"]?.string : host["Runtime"]?.string) ?? ""
        declaration.sysctls = (host["Sysctls"]?.object ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.string ?? "" }
        declaration.sharedMemory = host["ShmSize"]?.uint64 ?? 64 << 20
        declaration.provenance = provenance(config["Image"]?.string ?? container["ImageName"]?.string ?? "")
        if isPodman, let bounding = container["BoundingCaps"]?.array {
            declaration.capabilitiesGiven = CapabilitySet(bounding.compactMap { $0.string.flatMap { Capability(named: $0) } })
        }
        declaration.noNewPrivileges = facts.setsNoNewPrivileges
        switch facts.seccompProfile {
        case "default", "builtin": break
        case "", "unconfined": declaration.seccomp = .unconfined
        default: declaration.seccomp = .unreadable("the daemon's own seccomp profile \(facts.seccompProfile) was not read")
        }
        try readSecurityOptions(strings(host["SecurityOpt"]), &declaration)
        readPaths(host, &declaration)
        readNamespaces(host, container, facts, isPodman, &declaration)
        readNetwork(host, &declaration)
        readMounts(container, host, &declaration)
        readLimits(host, isPodman, &declaration)
        readDevices(host, &declaration)
        readLogs(host["LogConfig"], &declaration)
        return try declaration.subject(&defaults)
    }

    private func readPaths(_ host: JSONValue, _ declaration: inout ContainerDeclaration) {
        // Null says that nothing is hidden; a key that is not there says nothing.
        if let masked = host["MaskedPaths"] { declaration.maskedPaths = strings(masked).map(Self.onePath) }
        if let readOnly = host["ReadonlyPaths"] { declaration.readonlyPaths = strings(readOnly) }
    }

    private static func onePath(_ path: String) -> String {
        path.hasPrefix("/sys/devices/system/cpu/cpu") ? "/sys/devices/system/cpu/cpu0/thermal_throttle" : path
    }

    private func readSecurityOptions(_ options: [String], _ declaration: inout ContainerDeclaration) throws(ExposureError) {
        for option in options {
            let cut = option.firstIndex { $0 == "=" || $0 == ":" }
            let key = cut.map { String(option[..<$0]) } ?? option
            let value = cut.map { String(option[option.index(after: $0)...]) } ?? ""
            switch key {
            case "no-new-privileges": declaration.noNewPrivileges = value.isEmpty || value == "true"
            case "apparmor": declaration.appArmor = value
            case "label": if value == "disable" { declaration.seLinux = "" }
            case "unmask": if value.uppercased() == "ALL" { (declaration.maskedPaths, declaration.readonlyPaths) = ([], []) }
            case "systempaths": if value == "unconfined" { (declaration.maskedPaths, declaration.readonlyPaths) = ([], []) }
            case "seccomp": declaration.seccomp = try seccomp(value, declaration)
            default: break
            }
        }
    }

    /// Docker keeps the profile itself in the container's options; Podman keeps the path.
    private func seccomp(_ value: String, _ declaration: ContainerDeclaration) throws(ExposureError) -> ContainerDeclaration.Seccomp {
        if value == "unconfined" { return .unconfined }
        if value.isEmpty || value == "builtin" || value.hasSuffix("/containers/seccomp.json") { return .engineDefault }
        guard value.hasPrefix("{") else { return .unreadable("the seccomp profile \(value) was not read") }
        return .profile(try DockerSeccompProfile(named: "of \(declaration.name)", Array(value.utf8)))
    }

    private func readNamespaces(
        _ host: JSONValue, _ container: JSONValue, _ facts: EngineFacts, _ isPodman: Bool, _ declaration: inout ContainerDeclaration
    ) {
        func mode(_ key: String) -> String { host[key]?.string ?? "" }
        declaration.namespaces.pid = NamespaceScope(mode: mode("PidMode"))
        declaration.namespaces.ipc = NamespaceScope(mode: mode("IpcMode"))
        declaration.namespaces.uts = NamespaceScope(mode: mode("UTSMode"))
        // Docker on cgroup v1 gives the host's unless told otherwise, and then writes the mode down.
        declaration.namespaces.cgroup = NamespaceScope(mode: mode(isPodman ? "CgroupMode" : "CgroupnsMode"))
        let storage = container["StaticDir"]?.string ?? container["OCIConfigPath"]?.string ?? ""
        let isRootless = facts.isRootless || storage.hasPrefix("/home/") || storage.contains("/.local/share/containers/")
        declaration.engineUser = isRootless ? .ordinary : .root
        let users = mode("UsernsMode")
        if users == "host", !isRootless { return }
        let whole = RuntimeSpec.IDMapping(containerID: 0, hostID: isRootless ? 0 : 100_000, size: isRootless ? 1 : 65536)
        if isRootless {
            let keeps = users.hasPrefix("keep-id")
            let own = RuntimeSpec.IDMapping(
                containerID: keeps ? 1000 : 0, hostID: users.hasPrefix("nomap") || users.hasPrefix("auto") ? 1 : 0, size: 1)
            declaration.userNamespace = .own(uids: [own], gids: [own], sharesRange: true)
        } else if facts.remapsUsers || users == "private" || users.hasPrefix("auto") || users.hasPrefix("nomap") || hasMaps(host["IDMappings"]) {
            declaration.userNamespace = .own(uids: [whole], gids: [whole], sharesRange: !users.hasPrefix("auto"))
        }
    }

    private func hasMaps(_ maps: JSONValue?) -> Bool { !strings(maps?["UidMap"]).isEmpty }

    private func readNetwork(_ host: JSONValue, _ declaration: inout ContainerDeclaration) {
        let mode = host["NetworkMode"]?.string ?? ""
        switch mode {
        case "host": declaration.network = .host
        case "none": declaration.network = .none
        case let other where other.hasPrefix("container:") || other.hasPrefix("ns:"): declaration.network = .at(path: other)
        default:
            var ports: [OutboundNetwork.PublishedPort] = []
            for entry in host["PortBindings"]?.object ?? [:] {
                let parts = entry.key.split(separator: "/")
                guard let inner = parts.first.flatMap({ UInt16($0) }) else { continue }
                for binding in entry.value.array ?? [] {
                    ports.append(
                        OutboundNetwork.PublishedPort(
                            hostAddress: binding["HostIp"]?.string ?? "", hostPort: binding["HostPort"]?.string.flatMap { UInt16($0) } ?? inner,
                            containerPort: inner, transport: parts.last == "udp" ? .udp : .tcp))
                }
            }
            declaration.network = .outbound(ports: ports, closesHost: false)
        }
    }

    private func readMounts(_ container: JSONValue, _ host: JSONValue, _ declaration: inout ContainerDeclaration) {
        for mount in container["Mounts"]?.array ?? [] {
            let isBind = mount["Type"]?.string == "bind"
            var options = mount["RW"]?.bool ?? true ? ["rw"] : ["ro"]
            if let propagation = mount["Propagation"]?.string, !propagation.isEmpty { options.append(propagation) }
            declaration.mounts.append(
                Mount(
                    destination: mount["Destination"]?.string ?? "", type: isBind ? "bind" : mount["Type"]?.string ?? "volume",
                    source: mount["Source"]?.string ?? "", options: options))
        }
        for entry in host["Tmpfs"]?.object ?? [:] {
            let options = (entry.value.string ?? "").split(separator: ",").map(String.init)
            declaration.mounts.append(Mount(destination: entry.key, type: "tmpfs", source: "tmpfs", options: options))
        }
    }

    private func readLimits(_ host: JSONValue, _ isPodman: Bool, _ declaration: inout ContainerDeclaration) {
        func positive(_ key: String) -> Limit { (host[key]?.int64).flatMap { $0 > 0 ? .at(UInt64($0)) : nil } ?? .unlimited }
        var limits = Limits()
        limits.pids = positive("PidsLimit")
        limits.memory = positive("Memory")
        limits.memoryAndSwap = positive("MemorySwap")
        limits.memoryReservation = positive("MemoryReservation")
        if case .at(let shares) = positive("CpuShares") { limits.cpuShares = shares }
        if case .at(let nanoseconds) = positive("NanoCpus") { limits.cpuQuota = .at(nanoseconds / 10_000) }
        if case .at(let quota) = positive("CpuQuota") {
            limits.cpuQuota = .at(quota)
            if case .at(let period) = positive("CpuPeriod") { limits.cpuPeriod = period }
        }
        limits.cpus = host["CpusetCpus"]?.string ?? ""
        limits.oomScoreAdjustment = Int(host["OomScoreAdj"]?.int64 ?? 0)
        for limit in host["Ulimits"]?.array ?? [] {
            guard let name = limit["Name"]?.string else { continue }
            let type = name.hasPrefix("RLIMIT_") ? name : "RLIMIT_" + name.uppercased()
            limits.processLimits.append(
                RuntimeSpec.ResourceLimit(type: type, soft: Self.bound(limit["Soft"]), hard: Self.bound(limit["Hard"])))
        }
        declaration.limits = limits
    }

    /// -1 and 2⁶⁴-1 are no bound.
    private static func bound(_ value: JSONValue?) -> UInt64 { value?.uint64 ?? ((value?.int64 ?? -1) < 0 ? .max : 0) }

    private func readDevices(_ host: JSONValue, _ declaration: inout ContainerDeclaration) {
        for device in host["Devices"]?.array ?? [] {
            let path = device["PathInContainer"]?.string ?? device["PathOnHost"]?.string ?? ""
            let outside = device["PathOnHost"]?.string ?? path
            let isBlock = [
                "/dev/sd", "/dev/nvme", "/dev/vd", "/dev/xvd", "/dev/dm-", "/dev/mapper/", "/dev/loop", "/dev/mem", "/dev/port", "/dev/kmem",
            ]
            .contains { outside.hasPrefix($0) }
            declaration.devices.append(DeviceNode(path: path, kind: isBlock ? .block : .character, major: 0, minor: 0))
        }
        for rule in strings(host["DeviceCgroupRules"]) {
            let parts = rule.split(separator: " ")
            if parts.count >= 2, parts[0] == "a" || parts[1] == "*:*" { declaration.opensAllDevices = true }
        }
    }

    private func readLogs(_ config: JSONValue?, _ declaration: inout ContainerDeclaration) {
        let type = config?["Type"]?.string ?? ""
        let size = config?["Config"]?["max-size"]?.string ?? config?["Size"]?.string ?? ""
        let files = config?["Config"]?["max-file"]?.string.flatMap { Int($0) } ?? 1
        if type == "none" || type == "local" || type == "journald" {
            declaration.logs = .rotated(maxBytes: 20_000_000, maxFiles: 5)
        } else if let bytes = ByteCount.parse(size), bytes > 0 {
            declaration.logs = .rotated(maxBytes: Int(clamping: bytes), maxFiles: max(1, files))
        }
    }
}

/// Strings of an array; nothing for anything else.
func strings(_ value: JSONValue?) -> [String] { (value?.array ?? []).compactMap(\.string) }

/// A name with a digest is that image and no other.
func provenance(_ image: String) -> Subject.Provenance {
    if image.contains("@sha256:") || image.hasPrefix("sha256:") { return .pinnedDigest }
    return image.hasPrefix("localhost/") ? .local : .tag
}

/// Sizes as compose, Kubernetes and engines write them: "512m", "1Gi", "1073741824".
enum ByteCount {
    static func parse(_ text: String) -> UInt64? {
        let lower = text.lowercased()
        let digits = lower.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard !digits.isEmpty, let number = Double(digits) else { return nil }
        let factors: [String: Double] = [
            "": 1, "b": 1, "k": 1024, "kb": 1024, "ki": 1024, "kib": 1024, "m": 1_048_576, "mb": 1_048_576, "mi": 1_048_576, "mib": 1_048_576,
            "g": 1_073_741_824, "gb": 1_073_741_824, "gi": 1_073_741_824, "gib": 1_073_741_824, "t": 1_099_511_627_776, "ti": 1_099_511_627_776,
        ]
        guard let factor = factors[String(lower.dropFirst(digits.count))] else { return nil }
        let bytes = number * factor
        return bytes < 1e18 ? UInt64(bytes) : nil
    }
}
