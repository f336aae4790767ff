import OCISpec
import Testing

@testable import Confinement
@testable import Exposure

/// Every row of the engine's own price list (`Levels/relaxations.json`), by a flag that brings it about: whatever the engine says that a flag loosens
/// raises the score.
@Suite struct PricedRelaxationTests {
    struct Case: Sendable {
        var host = aHost()
        var before: MonotonyTests.Change = { _ in }
        let change: MonotonyTests.Change
    }

    private static func port(_ address: String) -> OutboundNetwork.PublishedPort {
        .init(hostAddress: address, hostPort: 8080, containerPort: 80, transport: .tcp)
    }

    private static func bind(
        _ path: String, readOnly: Bool = false, _ propagation: VolumeRequest.Propagation = .rprivate
    ) -> MonotonyTests.Change {
        { $0.volumes.append(VolumeRequest(source: .bind(path), destination: "/data", readOnly: readOnly, propagation: propagation)) }
    }

    private static let looserProfile = """
        {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
         "syscalls": [{"names": \(everyCall), "action": "SCMP_ACT_ALLOW"}]}
        """

    private static var everyCall: String {
        let names = (try? SyscallTable.current().numbers.keys.sorted()) ?? []
        return "[" + names.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    }

    private static let wholeRoot = [RuntimeSpec.IDMapping(containerID: 0, hostID: 0, size: 65536)]

    static let byKey: [String: Case] = [
        "level-compat": Case { $0.level = .compat },
        "privileged": Case { $0.privileged = true },
        "seccomp-unconfined": Case { $0.security.seccomp = .unconfined },
        "seccomp-profile": Case {
            $0.security.seccomp = .profile(Array(looserProfile.utf8), source: "x.json")
        },
        "new-privileges": Case { $0.security.noNewPrivileges = false },
        "landlock-off": Case { $0.security.landlock = false },
        "landlock-paths-off": Case { $0.capabilitiesAdded = ["SYS_ADMIN"] },
        "system-paths": Case { $0.security.systemPathsUnconfined = true },
        "unmask": Case { $0.security.unmasked = ["/proc/kcore"] },
        "apparmor-off": Case(host: aHost(appArmor: true)) { $0.security.appArmor = "unconfined" },
        "label-off": Case(host: aHost(seLinux: true)) { $0.security.labels = ["disable"] },
        "device": Case { $0.devices = [.init(hostPath: "/dev/fuse", path: "/dev/fuse", kind: .character, major: 10, minor: 229)] },
        "userns-host": Case { $0.userNamespace = .host },
        "userns-keep-id": Case { $0.userNamespace = .keepID },
        "uidmap-root": Case(host: aHost(isRoot: true)) {
            $0.uidMap = wholeRoot
            $0.gidMap = wholeRoot
        },
        "pid-host": Case { $0.pid = .host },
        "ipc-host": Case { $0.ipc = .host },
        "uts-host": Case { $0.uts = .host },
        "cgroup-host": Case { $0.cgroup = .host },
        "joined": Case { $0.pid = .at(path: "/proc/7/ns/pid") },
        "network-host": Case { $0.network = .host },
        "network-outbound": Case(before: { $0.level = .strict }, change: { $0.network = .outbound }),
        "network-inside": Case { $0.capabilitiesAdded = ["NET_ADMIN"] },
        "port-public": Case { $0.ports = [port("0.0.0.0")] },
        "pids-unlimited": Case { $0.pidsLimit = -1 },
        "memory-unlimited": Case { $0.memory = 0 },
        "swap": Case { $0.memorySwap = -1 },
        "socket": Case(change: bind("/srv/service.sock")),
        "bind-writable": Case(change: bind("/srv/site")),
        "shared-propagation": Case(change: bind("/srv/site", .rshared)),
    ]

    private func resolved(_ host: HostFacts, _ changes: MonotonyTests.Change...) throws -> (score: Double, effects: [String]) {
        var request = ConfinementRequest()
        for change in changes { change(&request) }
        let resolution = try ConfinementResolver.resolve(request, image: ImageDefaults(provenance: .pinnedDigest), host: host)
        let subject = Subject(
            name: "x", source: .coffer, confinement: resolution.confinement, engineUser: host.isRoot ? .root : .ordinary, provenance: .pinnedDigest)
        return (try score(subject), resolution.relaxations.map(\.effect))
    }

    @Test func everyRowIsTried() throws {
        let prices = try RelaxationPrices.builtIn()
        #expect(Set(prices.flags.keys) == Set(Self.byKey.keys))
        #expect(Set(prices.capabilities.keys).isSubset(of: Capability.allCases.map(\.name)))
    }

    @Test(arguments: byKey.keys.sorted()) func raises(_ key: String) throws {
        let row = try #require(Self.byKey[key])
        let price = try #require(try RelaxationPrices.builtIn().flags[key])
        let (before, after) = (try resolved(row.host, row.before), try resolved(row.host, row.before, row.change))
        #expect(after.effects.contains(price.effect), "the flag does not bring \(key) about")
        #expect(!before.effects.contains(price.effect))
        #expect(before.score < after.score, "\(key) does not raise the score")
    }

    /// The price of a path is the score's as well, and writing costs more than reading.
    @Test func pathsRaise() throws {
        let plain = try resolved(aHost(), { _ in }).score
        for row in try RelaxationPrices.builtIn().paths {
            for path in row.under ? [row.path, row.path + "/below"] : [row.path] {
                let reading = try resolved(aHost(), Self.bind(path, readOnly: true))
                let writing = try resolved(aHost(), Self.bind(path))
                #expect(writing.effects.contains(row.effect), "\(path)")
                #expect(plain < reading.score, "\(path):ro")
                // Who can talk to a socket can do so through a read-only mount.
                if path.hasSuffix(".sock") { #expect(reading.score <= writing.score) } else { #expect(reading.score < writing.score, "\(path)") }
            }
        }
    }
}
