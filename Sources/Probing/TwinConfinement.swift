import Confinement
import OCISpec

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
    /// What a limit of the target is lowered to: the same wall, reached sooner.
    static let lowered = (processes: UInt64(96), memory: UInt64(96 << 20), openFiles: UInt64(512), sharedMemory: UInt64(8 << 20), log: 128 << 10)
    /// What is written to see whether a log is bounded.
    static let flood: UInt64 = 1 << 20

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
    }

    /// The same with lower limits, and with some where the target has none: whatever a probe does is bounded.
    public static func bounded(_ confinement: Confinement) -> Confinement {
        var bounded = confinement
        func lower(_ limit: Limit, _ most: UInt64, otherwise: UInt64) -> Limit {
            if case .at(let value) = limit { return .at(min(value, most)) }
            return .at(otherwise)
        }
        bounded.limits.pids = lower(bounded.limits.pids, lowered.processes, otherwise: processes)
        bounded.limits.memory = lower(bounded.limits.memory, lowered.memory, otherwise: memory)
        bounded.limits.memoryAndSwap = bounded.limits.memory
        bounded.limits.memoryReservation = .unlimited
        if case .rotated(let bytes, let files) = bounded.logs { bounded.logs = .rotated(maxBytes: min(bytes, lowered.log), maxFiles: min(files, 2)) }
        for index in bounded.limits.processLimits.indices where bounded.limits.processLimits[index].type == "RLIMIT_NOFILE" {
            bounded.limits.processLimits[index].hard = min(bounded.limits.processLimits[index].hard, lowered.openFiles)
            bounded.limits.processLimits[index].soft = min(bounded.limits.processLimits[index].soft, lowered.openFiles)
        }
        for index in bounded.mounts.indices where bounded.mounts[index].destination == "/dev/shm" && bounded.mounts[index].type == "tmpfs" {
            guard bounded.mounts[index].options.contains(where: { $0.hasPrefix("size=") }) else { continue }
            bounded.mounts[index].options.removeAll { $0.hasPrefix("size=") }
            bounded.mounts[index].options.append("size=\(lowered.sharedMemory)")
        }
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
            } else if confinement.userNamespace == .host {
                confinement.network = .none
                shortfalls.append(
                    "its network leads outward, which pasta gives to no container in the host's user namespace: the twin's leads nowhere")
            } else if closesHost, confinement.networkNamespaceInside {
                confinement.network = .none
                shortfalls.append(
                    "coffer run refuses it an outward network, as NET_RAW or NET_ADMIN could open the host to it: the twin's leads nowhere")
            } else {
                // Published ports are taken already.
                confinement.network = .outbound(ports: [], closesHost: closesHost)
            }
        }
    }
}
