import Confinement
import OCISpec
import TextSearch

/// A container in the words that Docker, Podman, compose and Kubernetes share: what was said, with what each engine does where nothing was.
struct ContainerDeclaration {
    enum Seccomp {
        case engineDefault, unconfined
        case profile(DockerSeccompProfile)
        case unreadable(String)
    }

    enum Engine { case docker, podman, kubernetes, crio }

    var name: String
    var source: Source
    var engine: Engine
    var engineUser = Subject.EngineUser.root
    var provenance = Subject.Provenance.tag
    /// "user[:group]"; "" is root.
    var user = ""
    /// Numbers, and names that are somebody's inside.
    var groups: [String] = []
    var isPrivileged = false
    var capabilitiesAdded: [String] = []
    var capabilitiesDropped: [String] = []
    /// What the engine says that it gave, instead of the two lists.
    var capabilitiesGiven: CapabilitySet?
    var noNewPrivileges = false
    var seccomp = Seccomp.engineDefault
    var appArmor = ""
    var seLinux = ""
    /// nil is the engine's.
    var maskedPaths: [String]?
    var readonlyPaths: [String]?
    var network = NetworkReach.outbound(ports: [], closesHost: false)
    var namespaces = Namespaces()
    var userNamespace = UserNamespace.host
    var rootReadOnly = false
    /// Beside the engine's own.
    var mounts: [Mount] = []
    var sharedMemory: UInt64 = 64 << 20
    var limits = Limits()
    var devices: [DeviceNode] = []
    var opensAllDevices = false
    var sysctls: [String: String] = [:]
    var runtime = ""
    var logs = LogRetention.none
    var unknown: [Aspect: String] = [:]
    var pid: Int32 = 0

    private var defaultCapabilities: CapabilitySet {
        switch engine {
        case .docker, .kubernetes: EngineDefaults.dockerCapabilities
        case .podman: EngineDefaults.podmanCapabilities
        case .crio: EngineDefaults.crioCapabilities
        }
    }

    /// The lists of `--cap-add` and `--cap-drop`: "ALL" first, then names; what no kernel knows is refused.
    private func capabilities() throws(ExposureError) -> CapabilitySet {
        if isPrivileged { return .all }
        if let capabilitiesGiven { return capabilitiesGiven }
        func named(_ list: [String]) throws(ExposureError) -> CapabilitySet {
            var set: CapabilitySet = []
            for word in list where word.uppercased() != "ALL" {
                guard let capability = Capability(named: word) else { throw ExposureError("\(name): no capability is named “\(word)”") }
                set.insert(CapabilitySet([capability]))
            }
            return set
        }
        let (added, dropped) = (try named(capabilitiesAdded), try named(capabilitiesDropped))
        let addsAll = capabilitiesAdded.contains { $0.uppercased() == "ALL" }
        if capabilitiesDropped.contains(where: { $0.uppercased() == "ALL" }) { return (addsAll ? .all : added).subtracting(dropped) }
        return (addsAll ? CapabilitySet.all : defaultCapabilities.union(added)).subtracting(dropped)
    }

    private func filter(_ capabilities: CapabilitySet, _ defaults: inout EngineDefaults) throws(ExposureError) -> (SyscallPolicy, String?) {
        switch seccomp {
        case .unconfined: return (.unconfined, nil)
        case .profile(let profile):
            if isPrivileged { return (.unconfined, nil) }
            do {
                // Rules for newer kernels are read as Debian 12's has them.
                let kernel = KernelVersion(major: 6, minor: 1)
                return (.filtered(try profile.filter(capabilities: capabilities, architecture: .current, kernel: kernel)), nil)
            } catch {
                throw ExposureError("\(name): \(error)")
            }
        case .unreadable(let why): return (.unconfined, why)
        case .engineDefault:
            if isPrivileged { return (.unconfined, nil) }
            switch engine {
            case .docker: return (.filtered(try defaults.dockerFilter(capabilities)), nil)
            case .podman, .crio: return (.filtered(defaults.podmanFilter(capabilities)), nil)
            // Kubernetes runs Unconfined unless the Pod or the kubelet says otherwise (Pod Security Standards).
            case .kubernetes: return (.unconfined, nil)
            }
        }
    }

    /// What it comes to.
    func subject(_ defaults: inout EngineDefaults) throws(ExposureError) -> Subject {
        let bounding = try capabilities()
        let payload = Self.payload(user, groups: groups)
        var unknown = unknown
        let (syscalls, why) = try filter(bounding, &defaults)
        if let why { unknown[.syscalls] = why }
        let usual = engine == .podman ? (EngineDefaults.podmanMasked, EngineDefaults.podmanReadOnly) : (defaults.masked, defaults.readOnly)
        let hidden: ([String], [String]) = isPrivileged ? ([], []) : (maskedPaths ?? usual.0, readonlyPaths ?? usual.1)
        let sysfs = isPrivileged ? ["nosuid"] : ["nosuid", "ro"]
        let own: [Mount] = [
            Mount(destination: "/proc", type: "proc", source: "proc", options: ["nosuid"]),
            Mount(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid"]),
            Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: sysfs),
            Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: sysfs),
            Mount(destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "size=\(sharedMemory)"]),
        ]
        let rules = isPrivileged || opensAllDevices ? [DeviceRule(allows: true, kind: .all)] : [DeviceRule(allows: false, kind: .all)]
        let confinement = Confinement(
            origin: .foreign, isolation: Self.isolation(runtime), user: payload, userNamespace: userNamespace, namespaces: namespaces,
            capabilities: CapabilitySets(bounding: bounding, for: payload), noNewPrivileges: noNewPrivileges, syscalls: syscalls,
            appArmor: isPrivileged ? .profile("unconfined") : appArmor.isEmpty ? .inherited : .profile(appArmor),
            seLinux: seLinux.isEmpty || isPrivileged ? .inherited : .labels(process: seLinux, mounts: ""), landlock: .off, mountsLocked: false,
            rootReadOnly: rootReadOnly, mounts: own + mounts, maskedPaths: hidden.0, readonlyPaths: hidden.1,
            devices: DeviceNode.defaults + devices, deviceRules: rules, limits: limits, sysctls: sysctls, network: network,
            networkNamespaceInside: false, logs: logs)
        var subject = Subject(
            name: name, source: source, confinement: confinement, engineUser: engineUser, provenance: provenance, unknown: unknown)
        subject.pid = pid
        return subject
    }

    /// A number is itself and "root" is 0. Any other name is somebody of the image who is not root, whatever the number.
    static func payload(_ user: String, groups: [String]) -> PayloadUser {
        let parts = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        func number(_ text: Substring?, other: UInt32) -> UInt32 {
            guard let text, !text.isEmpty, text != "root" else { return 0 }
            return UInt32(text) ?? other
        }
        let uid = number(parts.first, other: Subject.somebody)
        let gid =
            parts.count == 2 ? number(parts[1], other: Subject.somebody) : (uid == 0 ? 0 : UInt32(parts.first ?? "") == nil ? Subject.somebody : 0)
        return PayloadUser(uid: uid, gid: gid, additionalGids: groups.prefix(64).enumerated().map { UInt32($1) ?? UInt32(Self.namedGroup + $0) })
    }

    /// The first of the numbers that stand for groups of which only the name is known.
    static let namedGroup = 4_000_000_000

    /// By the names that runtimes are registered under.
    static func isolation(_ runtime: String) -> Isolation {
        let name = runtime.lowercased()
        if ["kata", "firecracker", "runu"].contains(where: name.contains) { return .microVM }
        return ["runsc", "gvisor"].contains(where: name.contains) ? .userSpaceKernel : .sharedKernel
    }
}

extension NamespaceScope {
    /// "host", "container:NAME", "ns:PATH"; everything else is its own.
    init(mode: String) {
        if mode == "host" {
            self = .host
        } else if mode.hasPrefix("container:") || mode.hasPrefix("ns:") || mode.hasPrefix("service:") {
            self = .at(path: mode)
        } else {
            self = .own
        }
    }
}
