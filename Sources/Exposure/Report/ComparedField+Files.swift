import Confinement
import OCISpec

extension ComparedField {
    /// What engines bring along themselves, and name nowhere.
    private static let generated: Set<String> = [
        "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/.dockerenv", "/dev/init", "/dev/pts",
        "/dev/mqueue",
        "/dev/console", "/sbin/docker-init", "/catatonit", "/run/podman-init", "/proc", "/dev", "/sys", "/dev/shm", "/sys/fs/cgroup",
    ]

    static func mounts(_ sides: Sides) -> [Difference] {
        var found: [Difference] = []
        let wished = Dictionary(sides.wish.mounts.map { (HostPath.normal($0.destination), $0) }) { $1 }
        let present = Dictionary(sides.truth.mounts.map { (HostPath.normal($0.destination), $0) }) { $1 }
        for (destination, mount) in wished.sorted(by: { $0.key < $1.key }) {
            let isKernels = destination.hasPrefix("/proc/") || destination.hasPrefix("/sys/") && destination != "/sys/fs/cgroup"
            if isKernels { continue }
            // The one that the container has with its namespaces may be another's.
            if destination == "/dev/shm", case .at = sides.wish.namespaces.ipc { continue }
            guard let other = present[destination] else {
                // /dev/shm of the host's IPC namespace, and what an engine leaves out where there is nothing to mount.
                if !generated.contains(destination) { found += word("mount \(destination)", access(mount), "absent") }
                continue
            }
            found += word("mount \(destination)", access(mount), access(other))
            if mount.isBind, other.isBind, !generated.contains(destination) {
                found += word("source of \(destination)", real(mount.source), real(other.source))
            }
            // The host's own is as large as the host made it.
            let isHosts = destination == "/dev/shm" && sides.truth.namespaces.ipc == .host
            if mount.type == "tmpfs", other.type == "tmpfs", mount.tmpfsSize != .unlimited, !isHosts {
                found += word("size of \(destination)", size(mount.tmpfsSize), size(other.tmpfsSize))
            }
        }
        for (destination, mount) in present.sorted(by: { $0.key < $1.key }) where mount.isBind && wished[destination] == nil {
            if generated.contains(destination) || destination.hasPrefix("/dev/") || isGenerated(mount) || isPart(mount, of: wished.values) {
                continue
            }
            found += word("mount \(destination)", "none", "\(real(mount.source)), \(access(mount))")
        }
        return found
    }

    /// Podman writes a user of its own into copies of these when the image has none of the number.
    private static func isGenerated(_ mount: Mount) -> Bool {
        ["passwd", "group"].contains { mount.destination == "/etc/" + $0 && mount.source.hasSuffix("/userdata/" + $0) }
    }

    /// What the host has mounted below a directory comes along with it.
    private static func isPart(_ mount: Mount, of asked: some Sequence<Mount>) -> Bool {
        asked.contains { other in
            let (above, source) = (HostPath.normal(other.destination), real(other.source))
            guard other.isBind, mount.destination.hasPrefix(above + "/") else { return false }
            return source == "/" || real(mount.source) == source || real(mount.source).hasPrefix(source + "/")
        }
    }

    private static func access(_ mount: Mount) -> String { mount.isWritable ? "writable" : "read-only" }
    private static func size(_ limit: Limit) -> String { limits(limit) }

    private static func real(_ path: String) -> String {
        let path = HostPath.normal(path)
        return path == "/var/run" || path.hasPrefix("/var/run/") ? String(path.dropFirst(4)) : path
    }

    /// Paths that this kernel does not have cannot be covered.
    static func paths(_ field: String, _ asked: [String], _ applied: [String], _ view: KernelView) -> [Difference] {
        let (wish, truth) = (Set(asked.filter(view.hasPath)), Set(applied.filter(view.hasPath)))
        func missing(_ from: Set<String>, _ in: Set<String>) -> [String] {
            from.filter { path in !`in`.contains { path == $0 || path.hasPrefix($0 + "/") } }.sorted()
        }
        let open = missing(wish, truth)
        let more = missing(truth, wish)
        var found: [Difference] = []
        if !open.isEmpty { found += word(field, open.joined(separator: " "), "open") }
        if !more.isEmpty { found += word(field, "open", more.joined(separator: " "), note: "covered though nobody asked") }
        return found
    }

    static func devices(_ sides: Sides) -> [Difference] {
        // Who may open every device may make its node as well.
        if opensAll(sides.wish), opensAll(sides.truth) { return [] }
        let usual = Set(DeviceNode.defaults.map(\.path) + ["/dev/console", "/dev/ptmx"])
        let wish = Set(sides.wish.devices.map(\.path)).subtracting(usual)
        let truth = Set(sides.truth.devices.map(\.path)).subtracting(usual)
        return word("devices", wish.sorted().joined(separator: " "), truth.sorted().joined(separator: " "))
    }

    static func deviceRules(_ sides: Sides) -> [Difference] {
        word("deviceRules", opensAll(sides.wish) ? "every device" : "named devices", opensAll(sides.truth) ? "every device" : "named devices")
    }

    private static func opensAll(_ confinement: Confinement) -> Bool { confinement.deviceRules.last { $0.kind == .all }?.allows ?? false }

    static func limits(_ sides: Sides) -> [Difference] {
        let (wish, truth) = (sides.wish.limits, sides.truth.limits)
        var found = word("limits.pids", limits(wish.pids), limits(truth.pids))
        found += word("limits.memory", limits(wish.memory), limits(truth.memory))
        if wish.memoryAndSwap != .unlimited || wish.memory == .unlimited {
            found += word("limits.memoryAndSwap", limits(wish.memoryAndSwap), limits(truth.memoryAndSwap))
        }
        found += word("limits.memoryReservation", limits(wish.memoryReservation), limits(truth.memoryReservation))
        found += word("limits.cpuShares", "\(wish.cpuShares)", "\(truth.cpuShares)")
        found += word("limits.cpuQuota", rate(wish), rate(truth))
        if !wish.cpus.isEmpty { found += word("limits.cpus", wish.cpus, truth.cpus.isEmpty ? "all" : truth.cpus) }
        if !wish.memoryNodes.isEmpty { found += word("limits.memoryNodes", wish.memoryNodes, truth.memoryNodes.isEmpty ? "all" : truth.memoryNodes) }
        found += word("limits.oomScoreAdjustment", "\(wish.oomScoreAdjustment)", "\(truth.oomScoreAdjustment)")
        for limit in wish.processLimits {
            let other = sides.view.processLimits.first { $0.type == limit.type }
            found += word("limits.\(limit.type)", both(limit), other.map(both) ?? "absent")
        }
        return found
    }

    static func limits(_ limit: Limit) -> String {
        if case .at(let value) = limit { return "\(value)" }
        return "unlimited"
    }

    private static func rate(_ limits: Limits) -> String {
        guard case .at(let quota) = limits.cpuQuota else { return "unlimited" }
        return "\(quota)/\(limits.cpuPeriod)"
    }

    private static func both(_ limit: RuntimeSpec.ResourceLimit) -> String {
        func text(_ value: UInt64) -> String { value == .max ? "unlimited" : "\(value)" }
        return "\(text(limit.soft)):\(text(limit.hard))"
    }
}
