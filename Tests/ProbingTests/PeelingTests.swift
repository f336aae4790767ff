import Confinement
import Exposure
import OCISpec
import Probe
import StrictJSON
import Testing

@testable import Probing

@Suite struct PeelingTests {
    static let host = ProbeHost(isRootful: true, lastCapability: 40, hasAppArmor: false)
    static let user = ProbeHost(isRootful: false, lastCapability: 40, hasAppArmor: false)

    static func confinement(_ change: (inout ConfinementRequest) -> Void = { _ in }) throws -> Confinement {
        var request = ConfinementRequest()
        change(&request)
        let facts = HostFacts(
            kernel: KernelVersion(major: 6, minor: 18), isRoot: true, invokingUID: 0, invokingGID: 0,
            range: IDRange(start: 524_288, size: 65536, isShared: false), memoryBytes: 8 << 30, possibleCPUs: 2, openFilesHardLimit: 1_048_576)
        return try ConfinementResolver.resolve(request, image: ImageDefaults(provenance: .local), host: facts).confinement
    }

    @Test(arguments: ProbeLayer.peelable) func aLayerIsTakenAwayAndNothingElse(_ layer: ProbeLayer) throws {
        let whole = try Self.confinement()
        guard case .without(let peeled) = whole.peeling(layer, on: Self.host) else { return }
        #expect(peeled != whole)
        // What has been taken away cannot be taken away again.
        #expect(peeled.peeling(layer, on: Self.host) == .absent)
        if layer != .seccomp { #expect(peeled.syscalls == whole.syscalls) }
        if layer != .landlock { #expect(peeled.landlock == whole.landlock) }
        if layer != .capabilities, layer != .user { #expect(peeled.capabilities == whole.capabilities) }
        if layer != .noNewPrivileges { #expect(peeled.noNewPrivileges == whole.noNewPrivileges) }
        if layer != .maskedPaths { #expect(peeled.maskedPaths == whole.maskedPaths) }
        if layer != .lockedMounts, layer != .userNamespace { #expect(peeled.mountsLocked == whole.mountsLocked) }
    }

    @Test func theDefaultHasTheLayersThatItPromises() throws {
        let whole = try Self.confinement()
        for layer in [
            ProbeLayer.seccomp, .capabilities, .noNewPrivileges, .landlock, .maskedPaths, .readOnlyPaths, .lockedMounts, .userNamespace,
            .pidNamespace,
        ] {
            if case .without = whole.peeling(layer, on: Self.host) { continue }
            Issue.record("\(layer) is not there to be taken away")
        }
    }

    /// The size of /dev/shm is a limit like any other; the probe that fills it must get through without.
    @Test func limitsAreTheSizeOfTheSharedMemoryToo() throws {
        func sizes(_ confinement: Confinement) -> [String] {
            confinement.mounts.filter { $0.destination == "/dev/shm" }.flatMap(\.options).filter { $0.hasPrefix("size=") }
        }
        let whole = TwinConfinement.bounded(try Self.confinement())
        #expect(sizes(whole) == ["size=\(8 << 20)"])
        guard case .without(let peeled) = whole.peeling(.limits, on: Self.host) else {
            Issue.record("the limits are not there to be taken away")
            return
        }
        #expect(sizes(peeled).isEmpty && peeled.limits.pids != whole.limits.pids)
    }

    /// As with every limit: the same wall, reached sooner. What keeps no log gets none.
    @Test func aTwinsLogIsSmaller() throws {
        #expect(TwinConfinement.bounded(try Self.confinement()).logs == .rotated(maxBytes: 128 << 10, maxFiles: 2))
        var silent = try Self.confinement()
        silent.logs = .none
        #expect(TwinConfinement.bounded(silent).logs == .none)
    }

    @Test func aUserCannotLeaveTheUserNamespace() throws {
        guard case .fixed(let why) = try Self.confinement().peeling(.userNamespace, on: Self.user) else {
            Issue.record("it was taken away")
            return
        }
        #expect(why.contains("user namespace"))
    }

    @Test func oneLayerAlone() throws {
        let whole = try Self.confinement()
        let loose = whole.loosened(on: Self.host)
        #expect(loose.syscalls == .unconfined && loose.landlock == .off && loose.userNamespace == .host && !loose.mountsLocked)
        #expect(loose.maskedPaths.isEmpty && loose.readonlyPaths.isEmpty && loose.namespaces.pid == .host && loose.network == .host)
        let filtered = whole.loosened(keeping: [.seccomp], on: Self.host)
        #expect(filtered.syscalls == whole.syscalls && filtered.landlock == .off && filtered.userNamespace == .host)
        let locked = whole.loosened(keeping: [.lockedMounts], on: Self.host)
        #expect(locked.mountsLocked && locked.userNamespace == whole.userNamespace)
    }

    @Test func aTwinHasCanariesForTheHostsFilesAndNoPorts() throws {
        let target = try Self.confinement { request in
            request.volumes = [VolumeRequest(source: .bind("/etc"), destination: "/host", readOnly: true)]
            request.ports = [.init(hostAddress: "127.0.0.1", hostPort: 80, containerPort: 80, transport: .tcp)]
        }
        let twin = TwinConfinement(of: target, closes: nil)
        #expect(twin.canaries.map { twin.confinement.mounts[$0].destination } == ["/host"])
        #expect(!twin.confinement.mounts[twin.canaries[0]].isWritable)
        #expect(twin.confinement.network == .outbound(ports: [], closesHost: true))
        #expect(TwinConfinement(of: target, closes: "no pasta").confinement.network == .none)
        let bounded = TwinConfinement.bounded(twin.confinement)
        // What had a limit gets a lower one, which is reached sooner.
        #expect(bounded.limits.memory == .at(TwinConfinement.lowered.memory))
    }

    @Test func namespacesOfOthersAreNotEntered() throws {
        let target = try Self.confinement { $0.pid = .at(path: "/proc/1/ns/pid") }
        let twin = TwinConfinement(of: target, closes: nil)
        #expect(twin.confinement.namespaces.pid == .own)
        #expect(twin.shortfalls.count == 1)
    }

    @Test(arguments: [
        ("carried-host-pid", "--pid host"), ("carried-host-network", "--network host"), ("carried-capability", "--cap-add SYS_ADMIN"),
        ("carried-socket", "-v /var/run/docker.sock"), ("carried-proc-sys", "systempaths"), ("carried-device", "--device /dev/kmsg"),
        ("carried-host-user", "--userns host"),
    ]) func whatATargetBringsAlongIsSaidWithItsFlag(_ id: String, _ flag: String) throws {
        let target = try Self.confinement { request in
            switch id {
            case "carried-host-pid": request.pid = .host
            case "carried-host-network": request.network = .host
            case "carried-capability": request.capabilitiesAdded = ["SYS_ADMIN"]
            case "carried-socket": request.volumes = [VolumeRequest(source: .bind("/var/run/docker.sock"), destination: "/var/run/docker.sock")]
            case "carried-proc-sys": request.security.systemPathsUnconfined = true
            case "carried-device": request.devices = [DeviceRequest(hostPath: "/dev/kmsg", path: "/dev/kmsg", kind: .character, major: 1, minor: 11)]
            default: request.userNamespace = .host
            }
        }
        let found = CarriedWeakness.all(of: target, in: .coffer)
        #expect(found.map(\.id) == [id])
        #expect(found.first?.remedy.contains(flag) ?? false, "\(found)")
        #expect(CarriedWeakness.all(of: try Self.confinement(), in: .coffer).isEmpty)
    }

    @Test func dockersDefaultCarriesNothing() throws {
        var reader = try InspectReader()
        let document: JSONValue = ["Name": "a", "HostConfig": ["NetworkMode": "bridge"], "Config": [:]]
        let subject = try #require(try reader.subjects(document).first)
        #expect(CarriedWeakness.all(of: subject.confinement, in: .docker).isEmpty)
        let user = ForeignConfinement(subject, isRootful: false, range: IDRange(start: 1, size: 65536, isShared: true))
        #expect(user.shortfalls.contains { $0.contains("root is the host's") })
        guard case .own = user.confinement.userNamespace else {
            Issue.record("a user cannot make a twin without a user namespace")
            return
        }
    }
}
