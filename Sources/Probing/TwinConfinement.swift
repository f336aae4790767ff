import Confinement

/// What a mount of a target is replaced by in its twin.
public enum CanaryKind: String, Sendable, CaseIterable { case directory, file, socket }

/// A target's confinement as its twin gets it, and what could not be reproduced.
public struct TwinConfinement: Sendable, Equatable {
    /// Mounts of the host's files, by their place in `confinement.mounts`; their sources are the target's own, and are never opened by the twin.
    public var canaries: [Int]
    public var confinement: Confinement
    /// One sentence each.
    public var shortfalls: [String]

    /// Processes that a twin may have at once, where its target has no limit: enough for every probe, too few to be felt.
    public static let processes: UInt64 = 512
    /// Bytes.
    public static let memory: UInt64 = 512 << 20

    /// - Parameters:
    ///   - closes: why an outward network cannot be had here, or nil.
    public init(of target: Confinement, closes: String?) {
        confinement = target
        shortfalls = []
        canaries = target.mounts.indices.filter { Self.isHosts(target.mounts[$0]) }
        for index in canaries {
            confinement.mounts[index].type = "bind"
            let options = confinement.mounts[index].options
            if !options.contains("bind"), !options.contains("rbind") { confinement.mounts[index].options.insert("rbind", at: 0) }
            confinement.mounts[index].options.removeAll { $0 == "rw" }
        }
        takeNamespaces()
        takeNetwork(closes)
        confinement.logs = .none
    }

    /// The same, bound in what an unlimited target leaves unbounded.
    public static func bounded(_ confinement: Confinement) -> Confinement {
        var bounded = confinement
        func least(_ limit: Limit, _ most: UInt64) -> Limit {
            if case .at(let value) = limit { return .at(min(value, most)) }
            return .at(most)
        }
        if case .unlimited = bounded.limits.pids { bounded.limits.pids = .at(processes) }
        bounded.limits.memory = least(bounded.limits.memory, memory)
        bounded.limits.memoryAndSwap = bounded.limits.memory
        bounded.limits.memoryReservation = .unlimited
        return bounded
    }

    private static func isHosts(_ mount: Mount) -> Bool {
        if ["volume", "generated", "npipe", "image"].contains(mount.type) { return true }
        guard mount.isBind else { return false }
        // The kernel's own, bound because the namespace is the host's.
        let kernels = ["/proc", "/sys", "/dev/shm", "/dev/mqueue"]
        return !(mount.source == mount.destination && kernels.contains(mount.destination))
    }

    /// A namespace of a running container is not entered: the twin has one of its own.
    private mutating func takeNamespaces() {
        func own(_ scope: inout NamespaceScope, _ word: String) -> String? {
            guard case .at = scope else { return nil }
            scope = .own
            return "the \(word) namespace is another container's, which a twin does not enter: it has one of its own"
        }
        let found = [
            own(&confinement.namespaces.pid, "process"), own(&confinement.namespaces.ipc, "IPC"), own(&confinement.namespaces.uts, "UTS"),
            own(&confinement.namespaces.cgroup, "cgroup"), own(&confinement.namespaces.time, "time"),
        ]
        shortfalls += found.compactMap { $0 }
        if confinement.namespaces.mount != .own {
            confinement.namespaces.mount = .own
            shortfalls.append("the mount namespace is not its own; the twin has one of its own")
        }
    }

    private mutating func takeNetwork(_ closes: String?) {
        switch confinement.network {
        case .none, .host: break
        case .at:
            confinement.network = .none
            shortfalls.append("the network is another container's, which a twin does not enter: it has one of its own, without a way out")
        case .foreign:
            confinement.network = .none
            shortfalls.append("the network is connected by another engine: the twin has one of its own, without a way out")
        case .outbound(_, let closesHost):
            if let closes {
                confinement.network = .none
                shortfalls.append(closes)
            } else {
                // Published ports are taken already.
                confinement.network = .outbound(ports: [], closesHost: closesHost)
            }
        }
    }
}
