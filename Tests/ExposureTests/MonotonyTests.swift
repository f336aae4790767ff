import Confinement
import OCISpec
import Testing

@testable import Exposure

/// Whatever one flag loosens raises the score, whatever one flag tightens lowers it, wherever one starts from.
@Suite struct MonotonyTests {
    typealias Change = @Sendable (inout ConfinementRequest) -> Void

    struct Flag: Sendable, CustomTestStringConvertible {
        let name: String
        let change: Change
        let host: HostFacts
        var testDescription: String { name }

        init(_ name: String, host: HostFacts = aHost(), _ change: @escaping Change) {
            self.name = name
            self.change = change
            self.host = host
        }
    }

    private static func volume(_ source: VolumeRequest.Source, readOnly: Bool = false, _ propagation: VolumeRequest.Propagation = .rprivate) -> Change
    {
        { $0.volumes.append(VolumeRequest(source: source, destination: "/data", readOnly: readOnly, propagation: propagation)) }
    }

    private static func port(_ address: String) -> OutboundNetwork.PublishedPort {
        .init(hostAddress: address, hostPort: 8080, containerPort: 80, transport: .tcp)
    }

    private static let confinedHost = aHost(appArmor: true)

    static let relaxations: [Flag] =
        Capability.allCases.map { capability in Flag("--cap-add \(capability.name)") { $0.capabilitiesAdded = [capability.name] } } + [
            Flag("--cap-add ALL") { $0.capabilitiesAdded = ["ALL"] },
            Flag("--privileged") { $0.privileged = true },
            Flag("landlock=off") { $0.security.landlock = false },
            Flag("seccomp=unconfined") { $0.security.seccomp = .unconfined },
            Flag("no-new-privileges=false") { $0.security.noNewPrivileges = false },
            Flag("systempaths=unconfined") { $0.security.systemPathsUnconfined = true },
            Flag("unmask /proc/kcore") { $0.security.unmasked = ["/proc/kcore"] },
            Flag("unmask /proc/sys") { $0.security.unmasked = ["/proc/sys"] },
            Flag("--userns host") { $0.userNamespace = .host },
            Flag("--userns keep-id") { $0.userNamespace = .keepID },
            Flag("--pid host") { $0.pid = .host },
            Flag("--pid container") { $0.pid = .at(path: "/proc/7/ns/pid") },
            Flag("--ipc host") { $0.ipc = .host },
            Flag("--uts host") { $0.uts = .host },
            Flag("--cgroupns host") { $0.cgroup = .host },
            Flag("--network host") { $0.network = .host },
            Flag("-p 127.0.0.1") { $0.ports = [port("127.0.0.1")] },
            Flag("-p 0.0.0.0") { $0.ports = [port("0.0.0.0")] },
            Flag("--pids-limit -1") { $0.pidsLimit = -1 },
            Flag("--pids-limit 4096") { $0.pidsLimit = 4096 },
            Flag("--memory 0") { $0.memory = 0 },
            Flag("--memory 7g") { $0.memory = 7 << 30 },
            Flag("--memory-swap -1") { $0.memorySwap = -1 },
            Flag("--cpu-shares 4096") { $0.cpuShares = 4096 },
            Flag("--ulimit core=-1") { $0.ulimits = [.init(type: "RLIMIT_CORE", soft: .max, hard: .max)] },
            Flag("--oom-score-adj -500") { $0.oomScoreAdjustment = -500 },
            Flag("--shm-size 1g") { $0.shmSize = 1 << 30 },
            Flag("--sysctl") { $0.sysctls = ["net.core.somaxconn": "1024"] },
            Flag("--device") { $0.devices = [.init(hostPath: "/dev/fuse", path: "/dev/fuse", kind: .character, major: 10, minor: 229)] },
            Flag("--device sda") { $0.devices = [.init(hostPath: "/dev/sda", path: "/dev/sda", kind: .block, major: 8, minor: 0)] },
            Flag("-v /srv", volume(.bind("/srv"))),
            Flag("-v /srv:ro", volume(.bind("/srv"), readOnly: true)),
            Flag("-v /", volume(.bind("/"))),
            Flag("-v docker.sock", volume(.bind("/run/docker.sock"))),
            Flag("-v name", volume(.volume(path: "/state/volumes/name/_data"))),
            Flag("-v rshared", volume(.bind("/srv"), .rshared)),
            Flag("--tmpfs", volume(.temporary(bytes: nil, mode: "1777"))),
        ]

    static let hardenings: [Flag] =
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "ALL"].map { name in
            Flag("--cap-drop \(name)") { $0.capabilitiesDropped = [name] }
        } + [
            Flag("mask /sys/power") { $0.security.masked = ["/sys/power"] },
            Flag("--read-only") { $0.readOnly = true },
            Flag("--network none") { $0.network = ConfinementRequest.NetworkMode.none },
            Flag("--user 1000") { $0.user = PayloadUser(uid: 1000, gid: 1000) },
            Flag("--pids-limit 64") { $0.pidsLimit = 64 },
            Flag("--memory 64m") { $0.memory = 64 << 20 },
            Flag("--cpus 0.5") { $0.cpus = 0.5 },
            Flag("--cpuset-cpus 0") { $0.cpuSet = "0" },
            Flag("--cpu-shares 128") { $0.cpuShares = 128 },
            Flag("--shm-size 1m") { $0.shmSize = 1 << 20 },
            Flag("--ulimit nofile=64") { $0.ulimits = [.init(type: "RLIMIT_NOFILE", soft: 64, hard: 64)] },
            Flag("--oom-score-adj 500") { $0.oomScoreAdjustment = 500 },
        ]

    /// Where one may start from: each flag must count there too.
    static let starts: [Flag] = [
        Flag("standard") { _ in },
        Flag("as a user") { $0.user = PayloadUser(uid: 1000, gid: 1000) },
        Flag("loose") { request in
            request.security.noNewPrivileges = false
            request.volumes = [VolumeRequest(source: .bind("/srv/x"), destination: "/x")]
        },
    ]

    private func score(_ start: Flag, _ flag: Flag?) throws -> Double {
        var scorer = try ExposureScore()
        let subject = try coffer(host: flag?.host ?? aHost()) { request in
            start.change(&request)
            flag?.change(&request)
        }
        return scorer.report(subject).score
    }

    @Test(arguments: relaxations) func raises(_ flag: Flag) throws {
        // What the level or the start already gives away cannot be given away again.
        for start in Self.starts where !(start.name == "loose" && flag.name.hasPrefix("no-new-privileges")) {
            let (before, after) = (try score(start, nil), try score(start, flag))
            if Self.given.contains(flag.name) { #expect(before == after) } else { #expect(before < after, "\(flag.name) from \(start.name)") }
        }
    }

    /// The level's own capabilities.
    private static let given: Set<String> = Set(
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"].map { "--cap-add CAP_\($0)" })

    @Test(arguments: hardenings) func lowers(_ flag: Flag) throws {
        for start in Self.starts where !(start.name == "as a user" && flag.name.hasPrefix("--user")) {
            let (before, after) = (try score(start, nil), try score(start, flag))
            #expect(after < before, "\(flag.name) from \(start.name)")
        }
    }

    @Test func securityModulesCount() throws {
        let (held, free) = (try coffer(host: Self.confinedHost), try coffer(host: Self.confinedHost) { $0.security.appArmor = "unconfined" })
        var scorer = try ExposureScore()
        #expect(scorer.report(held).score < scorer.report(free).score)
        let labelled = try coffer(host: aHost(seLinux: true))
        #expect(scorer.report(labelled).score < scorer.report(try coffer()).score)
    }

    @Test func everySystemCallCounts() throws {
        var scorer = try ExposureScore()
        var subject = try coffer()
        guard case .filtered(var filter) = subject.confinement.syscalls else {
            Issue.record("the level has no filter")
            return
        }
        let before = scorer.report(subject).score
        filter.rules.append(.init(names: ["io_uring_setup"], action: .allow))
        subject.confinement.syscalls = .filtered(filter)
        #expect(scorer.report(subject).score > before)
        filter.rules = filter.rules.map { rule in
            var rule = rule
            rule.names.removeAll { $0 == "chmod" || $0 == "io_uring_setup" }
            return rule
        }
        subject.confinement.syscalls = .filtered(filter)
        #expect(scorer.report(subject).score < before)
    }

    /// What cannot be read is never better than anything that it could be.
    @Test(arguments: Aspect.allCases) func theUnknownIsTheWorst(_ aspect: Aspect) throws {
        var scorer = try ExposureScore()
        for known in [try coffer(), try docker(host: ["Privileged": true, "NetworkMode": "host", "PidMode": "host"])] {
            var unknown = known
            unknown.unknown = [aspect: "nobody may read it"]
            let report = scorer.report(unknown)
            #expect(report.score >= scorer.report(known).score)
            #expect(report.unknown.allSatisfy { $0.badness == $0.range })
        }
    }

    @Test func scoresStayInTheirRange() throws {
        var scorer = try ExposureScore()
        let worst = try docker(
            host: ["Privileged": true, "NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host"],
            mounts: (0..<200).map { bind("/", "/host\($0)") })
        let report = scorer.report(worst)
        #expect((0...10).contains(report.score))
        #expect(report.figure == "10.0")
        #expect(report.band == .dangerous)
    }
}
