import Confinement
import OCISpec
import TextSearch

/// The score of a subject.
///
///     open = 1 − Π ( 1 − weight/100 · badness/range )          exposure = 10 · open, rounded up to tenths
///
/// Each factor opens its share of what the others left closed. So no single closed door makes up for an open one, the score never leaves
/// 0…10, and whatever loosens a factor raises it, however open the rest is. systemd's mean of weights has none of the three.
public struct ExposureScore: Sendable {
    struct Answer {
        let id: String
        let weight: Double
        let badness: Double
        let range: Double
        let text: String
        let remedy: String
        let unknown: String
        var openness: Double { weight / 100 * badness / range }
    }

    private let table: SyscallTable
    /// Many containers have one filter: what it lets through is counted once.
    private var counted: [(policy: SyscallPolicy, loaded: LoadedFilters?, calls: KernelCalls)] = []

    public init() throws(ExposureError) { table = try SyscallTable.current() }

    /// The report of one subject.
    public mutating func report(_ subject: Subject) -> ExposureReport {
        let facts = Facts(subject, table, calls(of: subject))
        let answers = Self.answers(facts)
        let closed = answers.reduce(1.0) { $0 * (1 - $1.openness) }
        let factors = answers.map { answer in
            // What the figure would be without it, other things as they are.
            let without = answer.openness < 1 ? closed / (1 - answer.openness) : 0
            return ExposureReport.Factor(
                id: answer.id, weight: answer.weight, badness: answer.badness, range: answer.range, points: 10 * (without - closed),
                text: answer.text, remedy: answer.badness > 0 ? answer.remedy : "", unknown: answer.unknown)
        }
        return ExposureReport(target: subject.name, source: subject.source, score: 10 * (1 - closed), factors: factors, systemd: subject.systemd)
    }

    mutating func calls(of subject: Subject) -> KernelCalls {
        let policy = subject.confinement.syscalls
        if let known = counted.first(where: { $0.loaded == subject.loadedFilters && $0.policy == policy }) { return known.calls }
        let calls = KernelCalls(subject, table)
        counted = [(policy, subject.loadedFilters, calls)] + counted.prefix(15)
        return calls
    }

    static func answers(_ facts: Facts) -> [Answer] {
        let source = facts.subject.source
        var answers = FactorRow.all.map { row in
            let unknown = facts.subject.unknown[row.aspect] ?? ""
            let badness = unknown.isEmpty ? min(row.range, max(0, row.measure(facts))) : row.range
            return Answer(
                id: row.id, weight: row.weight, badness: badness, range: row.range, text: text(row, badness, facts),
                remedy: row.remedy.words(for: source), unknown: unknown)
        }
        answers += mounts(facts) + devices(facts) + ports(facts)
        return answers
    }

    private static func text(_ row: FactorRow, _ badness: Double, _ facts: Facts) -> String {
        if row.id == "syscalls" { return "\(facts.calls.reachable.count) of \(facts.syscallCount) system calls reach the kernel" }
        if badness <= 0 { return row.good }
        return badness >= row.range ? row.bad : "in part: \(row.bad)"
    }

    /// Files that the engine wrote for the container, and its own volumes, are no paths of the host.
    private static func isHostPath(_ mount: Mount) -> Bool {
        guard mount.isBind, mount.source.hasPrefix("/") else { return false }
        let generated = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets", "/.dockerenv", "/dev/init"]
        if generated.contains(mount.destination), mount.source != mount.destination { return false }
        return mount.source != "/sys/fs/cgroup" || mount.destination != "/sys/fs/cgroup"
    }

    private static func mounts(_ facts: Facts) -> [Answer] {
        var answers: [Answer] = []
        for mount in facts.confinement.mounts where mount.isBind || mount.type == "volume" {
            let destination = mount.destination
            if mount.type == "volume" || isEngineVolume(mount) {
                answers.append(
                    Answer(
                        id: "volume:" + destination, weight: 0.5, badness: mount.isWritable ? 10 : 4, range: 10,
                        text: "a volume at \(destination), \(mount.isWritable ? "writable" : "read-only")", remedy: "", unknown: ""))
                continue
            }
            guard isHostPath(mount) else { continue }
            let price = HostPath.price(of: mount)
            answers.append(
                Answer(
                    id: "mount:" + destination, weight: price.weight, badness: 10, range: 10, text: price.text,
                    remedy: mountRemedy(mount, facts.subject.source), unknown: ""))
            if mount.options.contains(where: { $0 == "shared" || $0 == "rshared" }) {
                answers.append(
                    Answer(
                        id: "propagation:" + destination, weight: 6, badness: 10, range: 10,
                        text: "mounts made below \(destination) appear on the host",
                        remedy: "remove rshared", unknown: ""))
            }
        }
        return answers
    }

    private static func isEngineVolume(_ mount: Mount) -> Bool {
        mount.source.contains("/volumes/") && (mount.source.hasSuffix("/_data") || mount.source.contains("/coffer/"))
    }

    private static func mountRemedy(_ mount: Mount, _ source: Source) -> String {
        switch source {
        case .coffer, .docker, .podman, .image, .dockerfile: return "remove -v \(mount.source)"
        case .compose: return "remove volumes: \(mount.source)"
        case .kubernetes: return "remove the hostPath volume \(mount.source)"
        case .systemd:
            if mount.destination == "/" { return "RootDirectory= or ProtectSystem=strict" }
            return mount.destination == mount.source ? "InaccessiblePaths=\(mount.source)" : "remove BindPaths=\(mount.source)"
        case .oci, .process: return "remove the mount of \(mount.source)"
        }
    }

    private static func devices(_ facts: Facts) -> [Answer] {
        let confinement = facts.confinement
        let own = Set(DeviceNode.defaults.map(\.path) + ["/dev/console", "/dev/ptmx"])
        var answers = confinement.devices.filter { !own.contains($0.path) }.map { device in
            let isDangerous = device.kind == .block || ["/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg"].contains(device.path)
            return Answer(
                id: "device:" + device.path, weight: isDangerous ? 25 : 6, badness: 10, range: 10,
                text: "\(device.path): it talks to a driver of the host",
                remedy: "remove --device \(device.path)", unknown: "")
        }
        let opensAll = confinement.deviceRules.last { $0.kind == .all }.map { $0.allows } ?? (facts.subject.source == .process)
        let unknown = facts.subject.unknown[.devices] ?? ""
        answers.append(
            Answer(
                id: "device-rules", weight: 18, badness: !unknown.isEmpty ? 10 : opensAll ? (facts.hasOwnUsers ? 2 : 10) : 0, range: 10,
                text: opensAll ? "every device of the host can be opened" : "only named devices can be opened",
                remedy: opensAll ? "remove --privileged" : "",
                unknown: unknown))
        return answers
    }

    private static func ports(_ facts: Facts) -> [Answer] {
        guard case .outbound(let ports, _) = facts.confinement.network else { return [] }
        return ports.map { port in
            let isLocal = port.hostAddress.hasPrefix("127.") || port.hostAddress == "::1"
            let address = port.hostAddress.isEmpty ? "0.0.0.0" : port.hostAddress
            return Answer(
                id: "port:\(port.hostPort)/\(port.transport.rawValue)", weight: isLocal ? 0.4 : 1.8, badness: 10, range: 10,
                text: "port \(port.hostPort) is open to \(isLocal ? "this machine" : "whoever reaches \(address)")",
                remedy: isLocal ? "" : "publish 127.0.0.1:\(port.hostPort):\(port.containerPort)", unknown: "")
        }
    }
}
