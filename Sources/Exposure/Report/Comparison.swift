import Confinement
import OCISpec
import StrictJSON

/// What was asked for beside what the kernel says of the running process.
public struct Comparison: Sendable {
    public struct Difference: Sendable, Equatable {
        public let field: String
        public let asked: String
        public let applied: String
    }

    public let differences: [Difference]
    /// The asked confinement with everything that the kernel shows in place of what was asked. What it does not show stays as asked: the
    /// content of a filter, Landlock, published ports, provenance, sizes of memory file systems, parameters and logs.
    public let applied: Subject

    public init(asked: Subject, live: Subject) {
        var found: [Difference] = []
        func compare(_ field: String, _ asked: String, _ applied: String) {
            if asked != applied { found.append(Difference(field: field, asked: asked, applied: applied)) }
        }
        let (wish, truth) = (asked.confinement, live.confinement)
        // A user who was named is looked up inside; the number is the kernel's to say.
        if wish.user.uid != 65534 { compare("user", "\(wish.user.uid)", "\(truth.user.uid)") }
        compare("capabilities.bounding", Self.names(wish.capabilities.bounding), Self.names(truth.capabilities.bounding))
        compare("capabilities.ambient", Self.names(wish.capabilities.ambient), Self.names(truth.capabilities.ambient))
        compare("noNewPrivileges", "\(wish.noNewPrivileges)", "\(truth.noNewPrivileges)")
        compare("syscallFilter", wish.syscalls == .unconfined ? "none" : "loaded", truth.syscalls == .unconfined ? "none" : "loaded")
        if live.unknown[.namespaces] == nil {
            for (name, path) in Self.namespaces {
                compare("namespaces.\(name)", Self.word(wish.namespaces[keyPath: path]), Self.word(truth.namespaces[keyPath: path]))
            }
        }
        if live.unknown[.network] == nil { compare("network", Self.word(wish.network), Self.word(truth.network)) }
        if live.unknown[.userNamespace] == nil { compare("rootOutside", Self.rootOutside(asked), Self.rootOutside(live)) }
        if live.unknown[.mounts] == nil {
            compare("rootReadOnly", "\(wish.rootReadOnly)", "\(truth.rootReadOnly)")
            compare("kernelPathsHidden", "\(!wish.maskedPaths.isEmpty)", "\(!truth.maskedPaths.isEmpty)")
            compare("kernelSettingsReadOnly", "\(!wish.readonlyPaths.isEmpty)", "\(!truth.readonlyPaths.isEmpty)")
            for mount in wish.mounts where mount.isBind && !mount.destination.hasPrefix("/sys") && !mount.destination.hasPrefix("/proc") {
                let other = truth.mounts.last { $0.destination == mount.destination }
                compare(
                    "mount \(mount.destination)", mount.isWritable ? "writable" : "read-only",
                    other.map { $0.isWritable ? "writable" : "read-only" } ?? "absent")
            }
        }
        compare("limits.pids", Self.word(wish.limits.pids), Self.word(truth.limits.pids))
        compare("limits.memory", Self.word(wish.limits.memory), Self.word(truth.limits.memory))
        compare("oomScoreAdjustment", "\(wish.limits.oomScoreAdjustment)", "\(truth.limits.oomScoreAdjustment)")
        if asked.unknown[.lsm] == nil { compare("securityModule", Self.module(wish), Self.module(truth)) }
        differences = found
        applied = Self.merged(asked, live)
    }

    private static var namespaces: [(String, KeyPath<Namespaces, NamespaceScope>)] {
        [("pid", \.pid), ("mount", \.mount), ("ipc", \.ipc), ("uts", \.uts), ("cgroup", \.cgroup)]
    }

    private static func merged(_ asked: Subject, _ live: Subject) -> Subject {
        var result = asked
        let truth = live.confinement
        result.unknown[.lsm] = nil
        result.unknown[.user] = nil
        result.confinement.user = truth.user
        result.confinement.capabilities = truth.capabilities
        result.confinement.noNewPrivileges = truth.noNewPrivileges
        if truth.syscalls == .unconfined { result.confinement.syscalls = .unconfined }
        result.confinement.appArmor = truth.appArmor
        result.confinement.seLinux = truth.seLinux
        if live.unknown[.namespaces] == nil { result.confinement.namespaces = truth.namespaces }
        if live.unknown[.network] == nil, word(asked.confinement.network) != word(truth.network) { result.confinement.network = truth.network }
        if live.unknown[.userNamespace] == nil, rootOutside(asked) != rootOutside(live) {
            result.confinement.userNamespace = truth.userNamespace
            result.engineUser = live.engineUser
        }
        if live.unknown[.mounts] == nil {
            result.confinement.rootReadOnly = truth.rootReadOnly
            if truth.maskedPaths.isEmpty { result.confinement.maskedPaths = [] }
            if truth.readonlyPaths.isEmpty { result.confinement.readonlyPaths = [] }
        }
        result.confinement.limits.pids = truth.limits.pids
        result.confinement.limits.memory = truth.limits.memory
        result.confinement.limits.oomScoreAdjustment = truth.limits.oomScoreAdjustment
        return result
    }

    private static func names(_ set: CapabilitySet) -> String {
        set.isEmpty ? "none" : set.names.map { String($0.dropFirst(4)) }.joined(separator: " ")
    }

    private static func word(_ scope: NamespaceScope) -> String { scope == .host ? "host" : "own" }

    private static func word(_ limit: Limit) -> String {
        if case .at(let value) = limit { return "\(value)" }
        return "unlimited"
    }

    private static func word(_ reach: NetworkReach) -> String {
        switch reach {
        case .none: "none"
        case .host: "host"
        case .outbound, .at, .foreign: "connected"
        }
    }

    /// Whether root inside is root of the host, whoever the engine is.
    private static func rootOutside(_ subject: Subject) -> String {
        switch subject.confinement.userNamespace {
        case .host, .at: return subject.engineUser == .root ? "root" : "the user"
        case .own(let uids, _, _):
            guard let root = uids.first(where: { $0.containerID == 0 }) else { return "nobody" }
            // To a rootless runtime its own 0 is the user, who has another number on the host.
            return root.hostID == 0 && subject.engineUser == .root ? "root" : root.hostID == 0 || root.size == 1 ? "the user" : "nobody"
        }
    }

    private static func module(_ confinement: Confinement) -> String {
        if case .profile(let name) = confinement.appArmor, name != "unconfined", !name.isEmpty { return name }
        if case .labels(let process, _) = confinement.seLinux, !process.isEmpty { return process }
        return "none"
    }
}

extension Comparison.Difference {
    var json: JSONValue { ["field": .string(field), "asked": .string(asked), "applied": .string(applied)] }
}
