import Confinement
import OCISpec
import StrictJSON
import Testing

@testable import Exposure

/// What is worse than what: written down before the weights, which must follow it.
@Suite struct RankingTests {
    private static let allHost: JSONObject = ["NetworkMode": "host", "PidMode": "host", "IpcMode": "host", "UTSMode": "host"]

    /// Twenty-nine configurations, each strictly more exposed than the one before.
    private func ladder() throws -> [(name: String, subject: Subject)] {
        let root = aHost(isRoot: true, appArmor: true)
        return [
            ("coffer strict, as a user, pinned", try coffer(.strict, user: 1000)),
            ("coffer strict, pinned", try coffer(.strict)),
            ("coffer standard, as a user", try coffer(user: 1000)),
            ("coffer standard", try coffer()),
            ("coffer standard, by tag", try coffer(provenance: .tag)),
            ("coffer standard, no pids limit", try coffer(provenance: .tag) { $0.pidsLimit = -1 }),
            (
                "coffer standard, new privileges",
                try coffer(provenance: .tag) { request in
                    request.pidsLimit = -1
                    request.security.noNewPrivileges = false
                }
            ),
            (
                "podman rootless, hardened",
                try podman(
                    host: ["CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": true, "Memory": 268_435_456],
                    config: ["User": "1000"])
            ),
            ("podman rootless", try podman()),
            ("podman rootless, new mounts of the home directory", try podman(mounts: [bind("/home/me/project", "/src")])),
            ("docker", try docker()),
            ("docker, no AppArmor", try docker(more: ["AppArmorProfile": ""])),
            ("docker, NET_ADMIN", try docker(host: ["CapAdd": ["NET_ADMIN"]], more: ["AppArmorProfile": ""])),
            (
                "docker, seccomp unconfined",
                try docker(host: ["SecurityOpt": ["seccomp=unconfined"], "CapAdd": ["NET_ADMIN"]], more: ["AppArmorProfile": ""])
            ),
            (
                "docker, SYS_PTRACE and the host's processes",
                try docker(
                    host: ["SecurityOpt": ["seccomp=unconfined"], "CapAdd": ["NET_ADMIN", "SYS_PTRACE"], "PidMode": "host"],
                    more: ["AppArmorProfile": ""])
            ),
            (
                "docker, docker.sock",
                try docker(
                    host: ["SecurityOpt": ["seccomp=unconfined"], "CapAdd": ["NET_ADMIN", "SYS_PTRACE"], "PidMode": "host"],
                    mounts: [bind("/var/run/docker.sock", "/var/run/docker.sock", writable: false)], more: ["AppArmorProfile": ""])
            ),
            ("privileged", try docker(host: ["Privileged": true, "MaskedPaths": nil, "ReadonlyPaths": nil], more: ["AppArmorProfile": ""])),
            ("privileged, host network", try docker(host: ["Privileged": true, "NetworkMode": "host"])),
            ("privileged, host namespaces", try docker(host: merged(["Privileged": true], Self.allHost))),
            ("privileged, host namespaces, /", try docker(host: merged(["Privileged": true], Self.allHost), mounts: [bind("/", "/host")])),
        ]
        .filter { _ in root.isRoot }
    }

    private func merged(_ left: JSONObject, _ right: JSONObject) -> JSONObject {
        var result = left
        for entry in right { result[entry.key] = entry.value }
        return result
    }

    @Test func everyRungIsWorseThanTheOneBelow() throws {
        let rungs = try ladder()
        for (lower, upper) in zip(rungs, rungs.dropFirst()) {
            let (less, more) = (try score(lower.subject), try score(upper.subject))
            #expect(less < more, "\(lower.name) (\(less)) must be below \(upper.name) (\(more))")
        }
    }

    /// Pairs that stand beside the ladder: the first is less exposed than the second.
    @Test func pairs() throws {
        let socket = bind("/var/run/docker.sock", "/var/run/docker.sock")
        let pairs: [(String, Subject, Subject)] = [
            ("docker.sock against the default", try docker(), try docker(mounts: [socket])),
            ("host namespaces against docker.sock", try docker(mounts: [socket]), try docker(host: Self.allHost)),
            ("privileged against host namespaces", try docker(host: Self.allHost), try docker(host: ["Privileged": true])),
            ("a read-only / against a writable one", try docker(mounts: [bind("/", "/h", writable: false)]), try docker(mounts: [bind("/", "/h")])),
            (
                "/ read-only against a directory", try docker(mounts: [bind("/srv/data", "/d")]),
                try docker(mounts: [bind("/", "/h", writable: false)])
            ),
            ("/etc against /srv", try docker(mounts: [bind("/srv/x", "/x")]), try docker(mounts: [bind("/etc", "/x")])),
            (
                "a local port against a public one", try docker(host: ["PortBindings": ["80/tcp": [["HostIp": "127.0.0.1", "HostPort": "80"]]]]),
                try docker(host: ["PortBindings": ["80/tcp": [["HostIp": "", "HostPort": "80"]]]])
            ),
            ("a user against root", try docker(config: ["User": "1000"]), try docker()),
            ("SYS_ADMIN against NET_ADMIN", try docker(host: ["CapAdd": ["NET_ADMIN"]]), try docker(host: ["CapAdd": ["SYS_ADMIN"]])),
            (
                "a hardened docker against the default",
                try docker(host: ["CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": true]), try docker()
            ),
            ("gVisor against runc", try docker(host: ["Runtime": "runsc"]), try docker()),
            ("Kata against gVisor", try docker(host: ["Runtime": "kata"]), try docker(host: ["Runtime": "runsc"])),
            (
                "rootless podman, privileged, against docker, privileged", try podman(host: ["Privileged": true]),
                try docker(host: ["Privileged": true])
            ),
            ("the host's network against its processes", try docker(host: ["UTSMode": "host"]), try docker(host: ["PidMode": "host"])),
            (
                "rootless --userns host against rootful", try coffer { $0.userNamespace = .host },
                try coffer(host: aHost(isRoot: true)) { $0.userNamespace = .host }
            ),
            ("compat against docker", try coffer(.compat, host: aHost(isRoot: true, appArmor: true), provenance: .tag), try docker()),
        ]
        for (name, less, more) in pairs {
            let (low, high) = (try score(less), try score(more))
            #expect(low < high, "\(name): \(low) must be below \(high)")
        }
    }

    @Test func printsTheLadder() throws {
        for rung in try ladder() {
            var scorer = try ExposureScore()
            let report = scorer.report(rung.subject)
            print(report.figure, report.band.rawValue, rung.name, report.factors.prefix(7).map { "\($0.id)+\(ReportText.points($0.points))" })
        }
    }
}

extension Subject.Provenance {
    init(_ provenance: ImageDefaults.Provenance) {
        self =
            switch provenance {
            case .pinnedDigest: .pinnedDigest
            case .verifiedSignature: .verifiedSignature
            case .local: .local
            case .tag: .tag
            }
    }
}
