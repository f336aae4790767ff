import Confinement
import OCISpec
import StrictJSON
import TextSearch

/// Reads a compose file (the Compose Specification, services as Docker runs them).
public struct ComposeReader {
    private var defaults: EngineDefaults
    /// The seccomp profile that a file names by its path, as it is written there.
    private let profile: (String) throws(ExposureError) -> [UInt8]

    public init(profile: @escaping (String) throws(ExposureError) -> [UInt8]) throws(ExposureError) {
        self.profile = profile
        defaults = try EngineDefaults()
    }

    /// Whether a document looks like one.
    public static func accepts(_ document: JSONValue) -> Bool { document["services"]?.object != nil && document["kind"] == nil }

    /// One subject a service, named `FILE:SERVICE`.
    public mutating func subjects(_ document: JSONValue, file: String) throws(ExposureError) -> [Subject] {
        guard let services = document["services"]?.object else { throw ExposureError("\(file) has no services") }
        guard services.count <= InspectReader.maximumContainers else { throw ExposureError("\(file) has more services than can be scored") }
        var subjects: [Subject] = []
        for entry in services {
            guard entry.value.object != nil || entry.value.isNull else { throw ExposureError("\(file): service \(entry.key) is \(entry.value.kind)") }
            subjects.append(try declaration(entry.key, entry.value, file).subject(&defaults))
        }
        return subjects
    }

    private func declaration(_ name: String, _ service: JSONValue, _ file: String) throws(ExposureError) -> ContainerDeclaration {
        var declaration = ContainerDeclaration(name: "\(file):\(name)", source: .compose, engine: .docker)
        declaration.user = text(service["user"])
        declaration.groups = list(service["group_add"])
        declaration.isPrivileged = service["privileged"]?.bool ?? false
        declaration.capabilitiesAdded = list(service["cap_add"])
        declaration.capabilitiesDropped = list(service["cap_drop"])
        declaration.rootReadOnly = service["read_only"]?.bool ?? false
        declaration.runtime = text(service["runtime"])
        declaration.sharedMemory = ByteCount.parse(text(service["shm_size"])) ?? 64 << 20
        declaration.namespaces.pid = NamespaceScope(mode: text(service["pid"]))
        declaration.namespaces.ipc = NamespaceScope(mode: text(service["ipc"]))
        declaration.namespaces.uts = NamespaceScope(mode: text(service["uts"]))
        declaration.namespaces.cgroup = NamespaceScope(mode: text(service["cgroup"]))
        declaration.provenance = service["build"] != nil && service["image"] == nil ? .local : provenance(text(service["image"]))
        // The daemon gives docker-default where the host has AppArmor, which the file cannot say.
        declaration.unknown[.lsm] = "the file does not say whether the host has a security module"
        for option in list(service["security_opt"]) { read(option, file, &declaration) }
        declaration.network = network(service)
        for volume in service["volumes"]?.array ?? [] { if let mount = mount(volume) { declaration.mounts.append(mount) } }
        for path in list(service["tmpfs"]) {
            let parts = path.split(separator: ":", maxSplits: 1).map(String.init)
            let options = parts.count == 2 ? parts[1].split(separator: ",").map(String.init) : []
            declaration.mounts.append(Mount(destination: parts.first ?? "", type: "tmpfs", source: "tmpfs", options: options))
        }
        readDevices(service, &declaration)
        readLimits(service, &declaration)
        return declaration
    }

    private func read(_ option: String, _ file: String, _ declaration: inout ContainerDeclaration) {
        let cut = option.firstIndex { $0 == "=" || $0 == ":" }
        let key = cut.map { String(option[..<$0]) } ?? option
        let value = cut.map { String(option[option.index(after: $0)...]) } ?? ""
        switch key {
        case "no-new-privileges": declaration.noNewPrivileges = value.isEmpty || value == "true"
        case "apparmor":
            declaration.appArmor = value
            declaration.unknown[.lsm] = nil
        case "label": declaration.unknown[.lsm] = nil
        case "systempaths": if value == "unconfined" { (declaration.maskedPaths, declaration.readonlyPaths) = ([], []) }
        case "seccomp": declaration.seccomp = value == "unconfined" ? .unconfined : seccomp(value)
        default: break
        }
    }

    /// Compose reads the file beside its own and hands it to the daemon.
    private func seccomp(_ path: String) -> ContainerDeclaration.Seccomp {
        do throws(ExposureError) {
            return .profile(try DockerSeccompProfile(named: path, try profile(path)))
        } catch {
            return .unreadable(error.message)
        }
    }

    private func network(_ service: JSONValue) -> NetworkReach {
        let mode = text(service["network_mode"])
        if mode == "host" { return .host }
        if mode == "none" { return .none }
        if mode.hasPrefix("service:") || mode.hasPrefix("container:") { return .at(path: mode) }
        return .outbound(ports: (service["ports"]?.array ?? []).flatMap(ports), closesHost: false)
    }

    /// "80", "8080:80", "127.0.0.1:8080:80/udp", or the long form. A range counts by its first port.
    private func ports(_ value: JSONValue) -> [OutboundNetwork.PublishedPort] {
        if value.object != nil {
            guard let inner = UInt16(text(value["target"])) else { return [] }
            let outer = UInt16(text(value["published"]).prefix { $0 != "-" }) ?? inner
            let transport = OutboundNetwork.PublishedPort.TransportProtocol(rawValue: text(value["protocol"])) ?? .tcp
            return [.init(hostAddress: text(value["host_ip"]), hostPort: outer, containerPort: inner, transport: transport)]
        }
        let parts = text(value).split(separator: "/")
        let fields = (parts.first ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard let last = fields.last, let inner = UInt16(last.prefix { $0 != "-" }) else { return [] }
        let outer = fields.count > 1 ? UInt16(fields[fields.count - 2].prefix { $0 != "-" }) ?? inner : inner
        let address = fields.count > 2 ? fields.dropLast(2).joined(separator: ":").filter { $0 != "[" && $0 != "]" } : ""
        return [.init(hostAddress: address, hostPort: outer, containerPort: inner, transport: parts.last == "udp" ? .udp : .tcp)]
    }

    /// "SOURCE:TARGET[:MODE]" or the long form; a source that is no path is a volume of the engine's.
    private func mount(_ value: JSONValue) -> Mount? {
        var (type, source, target, options) = (text(value["type"]), text(value["source"]), text(value["target"]), ["rw"])
        if value.object == nil {
            let fields = text(value).split(separator: ":").map(String.init)
            guard let first = fields.first else { return nil }
            (source, target) = fields.count == 1 ? ("", first) : (first, fields[1])
            let modes = fields.count > 2 ? fields[2].split(separator: ",").map(String.init) : []
            options = modes.contains("ro") ? ["ro"] + modes : ["rw"] + modes
            type = ["/", ".", "~", "$"].contains { source.hasPrefix($0) } ? "bind" : "volume"
        } else if value["read_only"]?.bool == true {
            options = ["ro"]
        }
        if type == "tmpfs" { return Mount(destination: target, type: "tmpfs", source: "tmpfs", options: options) }
        if type == "bind" {
            if let propagation = value["bind"]?["propagation"]?.string { options.append(propagation) }
            // Relative to a file that lies somewhere below a home directory or the like.
            let path = source.hasPrefix("/") ? source : source.hasPrefix("~") ? "/home/user" + source.dropFirst() : "/project/" + source
            return Mount(destination: target, type: "bind", source: path, options: options)
        }
        return Mount(destination: target, type: "volume", source: source, options: options)
    }

    private func readDevices(_ service: JSONValue, _ declaration: inout ContainerDeclaration) {
        for device in list(service["devices"]) {
            let path = device.split(separator: ":").first.map(String.init) ?? device
            let isBlock = ["/dev/sd", "/dev/nvme", "/dev/vd", "/dev/dm-", "/dev/loop", "/dev/mem"].contains { path.hasPrefix($0) }
            declaration.devices.append(DeviceNode(path: path, kind: isBlock ? .block : .character, major: 0, minor: 0))
        }
        declaration.opensAllDevices = list(service["device_cgroup_rules"]).contains { $0.hasPrefix("a") || $0.contains("*:*") }
        for entry in service["sysctls"]?.object ?? [:] { declaration.sysctls[entry.key] = text(entry.value) }
        for pair in list(service["sysctls"]) { declaration.sysctls[String(pair.prefix { $0 != "=" })] = "" }
    }

    private func readLimits(_ service: JSONValue, _ declaration: inout ContainerDeclaration) {
        let deployed = service["deploy"]?["resources"]?["limits"]
        var limits = Limits()
        func bytes(_ values: JSONValue?...) -> Limit {
            values.compactMap { ByteCount.parse(text($0)) }.first { $0 > 0 }.map { .at($0) } ?? .unlimited
        }
        limits.memory = bytes(service["mem_limit"], deployed?["memory"])
        limits.memoryAndSwap = bytes(service["memswap_limit"])
        let processes = [service["pids_limit"], deployed?["pids"]].compactMap { UInt64(text($0)) }.first { $0 > 0 }
        limits.pids = processes.map { .at($0) } ?? .unlimited
        if let cpus = [service["cpus"], deployed?["cpus"]].compactMap({ Double(text($0)) }).first(where: { $0 > 0 && $0 < 10_000 }) {
            limits.cpuQuota = .at(UInt64(cpus * 100_000))
        }
        limits.cpus = text(service["cpuset"])
        if let shares = UInt64(text(service["cpu_shares"])), shares > 0 { limits.cpuShares = shares }
        limits.oomScoreAdjustment = Int(text(service["oom_score_adj"])) ?? 0
        for entry in service["ulimits"]?.object ?? [:] {
            let hard = text(entry.value["hard"] ?? entry.value)
            limits.processLimits.append(
                .init(
                    type: "RLIMIT_" + entry.key.uppercased(), soft: UInt64(text(entry.value["soft"] ?? entry.value)) ?? .max,
                    hard: UInt64(hard) ?? .max))
        }
        declaration.limits = limits
        if let size = ByteCount.parse(text(service["logging"]?["options"]?["max-size"])) {
            declaration.logs = .rotated(maxBytes: Int(clamping: size), maxFiles: Int(text(service["logging"]?["options"]?["max-file"])) ?? 1)
        }
    }
}

extension DockerSeccompProfile {
    init(named name: String, _ bytes: [UInt8]) throws(ExposureError) {
        do {
            self = try DockerSeccompProfile(bytes, source: name)
        } catch {
            throw ExposureError("\(error)")
        }
    }
}

/// A scalar as text: YAML writes numbers where strings are meant.
func text(_ value: JSONValue?) -> String {
    switch value {
    case .string(let text): text
    case .number(let number): number.text
    case .bool(let value): value ? "true" : "false"
    default: ""
    }
}

/// A list of scalars, or one scalar where a list of one is meant.
func list(_ value: JSONValue?) -> [String] {
    if let array = value?.array { return array.map { text($0) } }
    let one = text(value)
    return one.isEmpty ? [] : [one]
}
