import Confinement
import OCISpec
import StrictJSON

/// Reads Pods, and workloads by the Pods that they make (Kubernetes API v1, PodSpec).
public struct KubernetesReader: Sendable {
    private var defaults: EngineDefaults

    public init() throws(ExposureError) { defaults = try EngineDefaults() }

    /// Whether a document looks like one.
    public static func accepts(_ document: JSONValue) -> Bool { document["kind"]?.string != nil && document["apiVersion"]?.string != nil }

    /// One subject a container, named `KIND/NAME:CONTAINER`; documents that make no Pods give none.
    public mutating func subjects(_ document: JSONValue) throws(ExposureError) -> [Subject] {
        let kind = document["kind"]?.string ?? ""
        if kind.hasSuffix("List"), let items = document["items"]?.array {
            var subjects: [Subject] = []
            for item in items { subjects += try self.subjects(item) }
            return subjects
        }
        guard let pod = Self.pod(document, kind) else { return [] }
        let name = "\(kind)/\(document["metadata"]?["name"]?.string ?? document["metadata"]?["generateName"]?.string ?? "?")"
        var subjects: [Subject] = []
        for key in ["initContainers", "containers", "ephemeralContainers"] {
            for container in pod["spec"]?[key]?.array ?? [] {
                subjects.append(try declaration(name, pod, container).subject(&defaults))
            }
        }
        guard subjects.count <= InspectReader.maximumContainers else { throw ExposureError("\(name) has more containers than can be scored") }
        return subjects
    }

    private static func pod(_ document: JSONValue, _ kind: String) -> JSONValue? {
        switch kind {
        case "Pod": document
        case "PodTemplate": document["template"]
        case "CronJob": document["spec"]?["jobTemplate"]?["spec"]?["template"]
        case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job": document["spec"]?["template"]
        default: nil
        }
    }

    private func declaration(_ owner: String, _ pod: JSONValue, _ container: JSONValue) throws(ExposureError) -> ContainerDeclaration {
        let spec = pod["spec"] ?? .null
        let (outer, inner) = (spec["securityContext"], container["securityContext"])
        var declaration = ContainerDeclaration(
            name: "\(owner):\(container["name"]?.string ?? "?")", source: .kubernetes, engine: .kubernetes)
        declaration.isPrivileged = inner?["privileged"]?.bool ?? false
        let user = inner?["runAsUser"] ?? outer?["runAsUser"]
        let isOrdinary = (inner?["runAsNonRoot"] ?? outer?["runAsNonRoot"])?.bool == true
        // Without a number the image's own user counts, whom the kubelet refuses when it is root and runAsNonRoot is set.
        declaration.user = user.map { text($0) + ":" + text(inner?["runAsGroup"] ?? outer?["runAsGroup"]) } ?? (isOrdinary ? "somebody" : "")
        if user == nil, !isOrdinary { declaration.unknown[.user] = "the image decides; set runAsNonRoot" }
        declaration.groups = list(outer?["supplementalGroups"]) + list(outer?["fsGroup"])
        declaration.capabilitiesAdded = list(inner?["capabilities"]?["add"])
        declaration.capabilitiesDropped = list(inner?["capabilities"]?["drop"])
        declaration.noNewPrivileges = inner?["allowPrivilegeEscalation"]?.bool == false
        declaration.rootReadOnly = inner?["readOnlyRootFilesystem"]?.bool ?? false
        declaration.runtime = spec["runtimeClassName"]?.string ?? ""
        declaration.provenance = provenance(text(container["image"]))
        if spec["hostPID"]?.bool == true { declaration.namespaces.pid = .host }
        if spec["hostIPC"]?.bool == true { declaration.namespaces.ipc = .host }
        if spec["hostNetwork"]?.bool == true { declaration.namespaces.uts = .host }
        if spec["hostUsers"]?.bool == false {
            let map = RuntimeSpec.IDMapping(containerID: 0, hostID: 65536, size: 65536)
            declaration.userNamespace = .own(uids: [map], gids: [map], sharesRange: false)
        }
        if text(inner?["procMount"]) == "Unmasked" { (declaration.maskedPaths, declaration.readonlyPaths) = ([], []) }
        readProfiles(pod, container, &declaration)
        declaration.network = network(spec)
        readMounts(spec, container, &declaration)
        readLimits(container["resources"]?["limits"], &declaration)
        for sysctl in outer?["sysctls"]?.array ?? [] { declaration.sysctls[text(sysctl["name"])] = text(sysctl["value"]) }
        return declaration
    }

    private func readProfiles(_ pod: JSONValue, _ container: JSONValue, _ declaration: inout ContainerDeclaration) {
        let (outer, inner) = (pod["spec"]?["securityContext"], container["securityContext"])
        switch text((inner?["seccompProfile"] ?? outer?["seccompProfile"])?["type"]) {
        // containerd and Docker take Docker's profile, CRI-O the containers one, which lets more through: the worse of the two.
        case "RuntimeDefault": declaration.seccomp = .engineDefault
        case "Localhost": declaration.seccomp = .unreadable("the profile lies on the node")
        default: declaration.seccomp = .unconfined
        }
        if case .engineDefault = declaration.seccomp { declaration.engine = declaration.isPrivileged ? .kubernetes : .docker }
        let annotation = pod["metadata"]?["annotations"]?["container.apparmor.security.beta.kubernetes.io/\(text(container["name"]))"]
        switch text((inner?["appArmorProfile"] ?? outer?["appArmorProfile"])?["type"]) + text(annotation) {
        case "RuntimeDefault", "runtime/default": declaration.appArmor = "runtime/default"
        case "Localhost": declaration.appArmor = "localhost"
        case "Unconfined", "unconfined": declaration.appArmor = "unconfined"
        default:
            if (inner?["seLinuxOptions"] ?? outer?["seLinuxOptions"]) != nil {
                declaration.seLinux = "system_u:system_r:\(text((inner?["seLinuxOptions"] ?? outer?["seLinuxOptions"])?["type"])):s0"
            } else {
                declaration.unknown[.lsm] = "the Pod does not say, and nodes differ"
            }
        }
    }

    private func network(_ spec: JSONValue) -> NetworkReach {
        if spec["hostNetwork"]?.bool == true { return .host }
        var ports: [OutboundNetwork.PublishedPort] = []
        for container in spec["containers"]?.array ?? [] {
            for port in container["ports"]?.array ?? [] {
                guard let outer = UInt16(text(port["hostPort"])), outer > 0, let inner = UInt16(text(port["containerPort"])) else { continue }
                let transport: OutboundNetwork.PublishedPort.TransportProtocol = text(port["protocol"]) == "UDP" ? .udp : .tcp
                ports.append(.init(hostAddress: text(port["hostIP"]), hostPort: outer, containerPort: inner, transport: transport))
            }
        }
        return .outbound(ports: ports, closesHost: false)
    }

    private func readMounts(_ spec: JSONValue, _ container: JSONValue, _ declaration: inout ContainerDeclaration) {
        var volumes: [String: JSONValue] = [:]
        for volume in spec["volumes"]?.array ?? [] { volumes[text(volume["name"])] = volume }
        for mount in container["volumeMounts"]?.array ?? [] {
            let volume = volumes[text(mount["name"])] ?? .null
            var options = [mount["readOnly"]?.bool == true ? "ro" : "rw"]
            if text(mount["mountPropagation"]) == "Bidirectional" { options.append("rshared") }
            let target = text(mount["mountPath"])
            if let path = volume["hostPath"]?["path"]?.string {
                let below = text(mount["subPath"])
                declaration.mounts.append(
                    Mount(destination: target, type: "bind", source: path + (below.isEmpty ? "" : "/" + below), options: options))
            } else if let memory = volume["emptyDir"], text(memory["medium"]) == "Memory" {
                let size = ByteCount.parse(text(memory["sizeLimit"])).map { ["size=\($0)"] } ?? []
                declaration.mounts.append(Mount(destination: target, type: "tmpfs", source: "tmpfs", options: options + size))
            } else {
                declaration.mounts.append(Mount(destination: target, type: "volume", source: text(mount["name"]), options: options))
            }
        }
        // A key to the API is inside unless the Pod says no (automountServiceAccountToken).
        if spec["automountServiceAccountToken"]?.bool != false {
            declaration.mounts.append(
                Mount(destination: "/var/run/secrets/kubernetes.io/serviceaccount", type: "volume", source: "token", options: ["rw"]))
        }
    }

    private func readLimits(_ given: JSONValue?, _ declaration: inout ContainerDeclaration) {
        var limits = Limits()
        if let bytes = ByteCount.parse(text(given?["memory"])), bytes > 0 {
            limits.memory = .at(bytes)
            limits.memoryAndSwap = .at(bytes)
        }
        let cpu = text(given?["cpu"])
        if let count = cpu.hasSuffix("m") ? Double(cpu.dropLast()).map({ $0 / 1000 }) : Double(cpu), count > 0, count < 10_000 {
            limits.cpuQuota = .at(UInt64(count * 100_000))
        }
        declaration.limits = limits
        declaration.logs = .rotated(maxBytes: 10 << 20, maxFiles: 5)
    }
}
