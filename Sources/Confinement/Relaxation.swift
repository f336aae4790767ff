import OCISpec
import StrictJSON

/// One flag that loosened the level, in plain words, with its price.
public struct Relaxation: Codable, Sendable, Equatable {
    /// As the user typed it: "--cap-add SYS_ADMIN".
    public var flag: String
    /// What the payload can do now that it could not do before.
    public var effect: String
    /// Exposure points, of 10.
    public var points: Double

    public init(flag: String, effect: String, points: Double) {
        self.flag = flag
        self.effect = effect
        self.points = points
    }
}

/// The price list (`Levels/relaxations.json`).
struct RelaxationPrices: Decodable, Sendable {
    struct Price: Decodable, Sendable {
        let points: Double
        let effect: String
    }

    /// A host path that gives more away than its files; `under` extends the price to everything below it.
    struct Path: Decodable, Sendable {
        let path: String
        let under: Bool
        let points: Double
        let effect: String
    }

    let about: String
    let capabilities: [String: Price]
    let otherCapability: Price
    let flags: [String: Price]
    let paths: [Path]

    static func builtIn() throws(ConfinementError) -> RelaxationPrices {
        try Level.decode(PackageResources.relaxations_json, "relaxations")
    }

    /// The most expensive row that a host path falls under.
    func price(ofPath path: String) -> Path? {
        paths.filter { path == $0.path || $0.under && path.hasPrefix($0.path == "/" ? "/" : $0.path + "/") }
            .max { $0.points < $1.points }
    }
}

/// Collects what a request loosens. The price list is read with the first item: most runs loosen nothing.
private struct Bill {
    private var list: RelaxationPrices?
    var items: [Relaxation] = []

    mutating func prices() throws(ConfinementError) -> RelaxationPrices {
        if let list { return list }
        let read = try RelaxationPrices.builtIn()
        list = read
        return read
    }

    mutating func add(_ flag: String, _ key: String) throws(ConfinementError) {
        guard let price = try prices().flags[key] else { throw ConfinementError("the built-in relaxations.json has no price for “\(key)”") }
        items.append(Relaxation(flag: flag, effect: price.effect, points: price.points))
    }

    mutating func add(_ flag: String, _ key: String, when condition: Bool) throws(ConfinementError) {
        if condition { try add(flag, key) }
    }
}

extension ConfinementResolver {
    /// Compares what was asked with what the level gives.
    func relaxations(_ confinement: Confinement) throws(ConfinementError) -> [Relaxation] {
        var bill = Bill()
        try bill.add("--level compat", "level-compat", when: level.name == .compat)
        try bill.add("--privileged", "privileged", when: request.privileged)
        if !request.privileged { try addCapabilities(confinement, &bill) }
        try addSecurityOptions(confinement, &bill)
        try addNamespaces(confinement, &bill)
        try addNetwork(confinement, &bill)
        try addLimits(confinement, &bill)
        try addPaths(&bill)
        return bill.items.enumerated().sorted {
            $0.element.points != $1.element.points ? $0.element.points > $1.element.points : $0.offset < $1.offset
        }.map(\.element)
    }

    private func addCapabilities(_ confinement: Confinement, _ bill: inout Bill) throws(ConfinementError) {
        for capability in confinement.capabilities.bounding.subtracting(level.capabilities).members {
            let prices = try bill.prices()
            let price = prices.capabilities[capability.name] ?? prices.otherCapability
            bill.items.append(
                Relaxation(flag: "--cap-add \(capability.name.dropFirst(4))", effect: price.effect, points: price.points))
        }
        if case .enforced(let policy) = confinement.landlock {
            try bill.add("--cap-add SYS_ADMIN", "landlock-paths-off", when: !policy.handlesFileSystem)
        }
        try bill.add(
            "--cap-add \(capabilities.contains(.netAdmin) ? "NET_ADMIN" : "NET_RAW")", "network-inside",
            when: confinement.networkNamespaceInside && capabilities.contains(.netAdmin))
    }

    private func addSecurityOptions(_ confinement: Confinement, _ bill: inout Bill) throws(ConfinementError) {
        let security = request.security
        switch security.seccomp {
        case .level: break
        case .unconfined: try bill.add("--security-opt seccomp=unconfined", "seccomp-unconfined")
        case .profile(_, let source): try bill.add("--security-opt seccomp=\(source)", "seccomp-profile")
        }
        try bill.add(
            "--security-opt no-new-privileges=false", "new-privileges",
            when: level.noNewPrivileges && security.noNewPrivileges == false)
        try bill.add("--security-opt landlock=off", "landlock-off", when: level.landlock.enabled && security.landlock == false)
        try bill.add("--security-opt systempaths=unconfined", "system-paths", when: security.systemPathsUnconfined)
        for path in security.unmasked { try bill.add("--security-opt unmask=\(path)", "unmask") }
        try bill.add(
            "--security-opt apparmor=unconfined", "apparmor-off",
            when: security.appArmor == "unconfined" && host.appArmor != .absent)
        try bill.add(
            "--security-opt label=disable", "label-off", when: security.labels.contains("disable") && host.seLinux != .absent)
        for device in request.devices { try bill.add("--device \(device.hostPath)", "device") }
    }

    private func addNamespaces(_ confinement: Confinement, _ bill: inout Bill) throws(ConfinementError) {
        try bill.add("--userns host", "userns-host", when: request.userNamespace == .host)
        try bill.add("--userns keep-id", "userns-keep-id", when: request.userNamespace == .keepID)
        if request.userNamespace == .private, case .own(let uids, _, _) = confinement.userNamespace,
            uids.contains(where: { $0.hostID == 0 })
        {
            try bill.add("--uidmap", host.isRoot ? "uidmap-root" : "userns-keep-id")
        }
        let scopes: [(String, NamespaceScope, String)] = [
            ("--pid", confinement.namespaces.pid, "pid"), ("--ipc", confinement.namespaces.ipc, "ipc"),
            ("--uts", confinement.namespaces.uts, "uts"), ("--cgroupns", confinement.namespaces.cgroup, "cgroup"),
        ]
        for (flag, scope, key) in scopes {
            switch scope {
            case .own: break
            case .host: try bill.add("\(flag) host", key + "-host")
            case .at: try bill.add("\(flag) container", "joined")
            }
        }
    }

    private func addNetwork(_ confinement: Confinement, _ bill: inout Bill) throws(ConfinementError) {
        switch confinement.network {
        case .host: try bill.add("--network host", "network-host")
        case .at: try bill.add("--network container", "joined")
        case .outbound(let ports, _):
            try bill.add("--network outbound", "network-outbound", when: level.network == .none)
            for port in ports where !port.hostAddress.hasPrefix("127.") && port.hostAddress != "::1" {
                try bill.add("-p \(port.hostAddress):\(port.hostPort):\(port.containerPort)", "port-public")
            }
        case .none, .foreign: break
        }
    }

    private func addLimits(_ confinement: Confinement, _ bill: inout Bill) throws(ConfinementError) {
        let limits = confinement.limits
        try bill.add("--pids-limit \(request.pidsLimit ?? 0)", "pids-unlimited", when: level.pidsLimit != nil && limits.pids == .unlimited)
        try bill.add("--memory 0", "memory-unlimited", when: level.memoryPercent != nil && limits.memory == .unlimited)
        if case .at(let memory) = limits.memory, limits.memoryAndSwap != .at(memory) {
            try bill.add("--memory-swap \(request.memorySwap ?? 0)", "swap", when: level.swapBytes == 0)
        }
    }

    private func addPaths(_ bill: inout Bill) throws(ConfinementError) {
        for volume in request.volumes {
            guard case .bind(let source) = volume.source else { continue }
            let flag = "-v \(source):\(volume.destination)" + (volume.readOnly ? ":ro" : "")
            if let price = try bill.prices().price(ofPath: source) {
                // Reading secrets is as good as having them; writing more than doubles what can be done.
                let points = volume.readOnly ? (price.points * 5).rounded() / 10 : price.points
                bill.items.append(Relaxation(flag: flag, effect: price.effect, points: points))
            } else if source.hasSuffix(".sock") {
                try bill.add(flag, "socket")
            } else {
                try bill.add(flag, "bind-writable", when: !volume.readOnly)
            }
            try bill.add(flag, "shared-propagation", when: volume.propagation == .shared || volume.propagation == .rshared)
        }
    }
}
