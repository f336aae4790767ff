import Confinement
import OCISpec
import StrictJSON
import Testing

/// A reproducible stream of choices (SplitMix64).
private struct Choices: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func flip() -> Bool { Bool.random(using: &self) }
    mutating func pick<T>(_ values: [T]) -> T { values[Int.random(in: 0..<values.count, using: &self)] }
    mutating func number(_ range: ClosedRange<UInt64>) -> UInt64 { UInt64.random(in: range, using: &self) }
    mutating func word() -> String { pick(["a", "b-c", "/x/y z", "é\"\\\n", "CAP_SYS_ADMIN", "0", "long/\(number(0...99))"]) }
    mutating func some<T>(_ most: Int, _ make: (inout Choices) -> T) -> [T] {
        (0..<Int.random(in: 0...most, using: &self)).map { _ in make(&self) }
    }
    mutating func limit(from low: UInt64 = 0) -> Limit { flip() ? .unlimited : .at(number(low...1 << 50)) }
    mutating func scope() -> NamespaceScope { pick([.own, .host, .at(path: "/proc/\(number(1...9))/ns/x")]) }
    mutating func maps() -> [RuntimeSpec.IDMapping] {
        some(3) { .init(containerID: UInt32($0.number(0...9)), hostID: UInt32($0.number(0...0xFFFF_FFFF)), size: UInt32($0.number(1...9))) }
    }
}

extension Choices {
    mutating func action() -> SyscallFilter.Action {
        pick([.allow, .log, .trap, .notify, .killThread, .killProcess, .errno(UInt16(number(0...4095))), .trace(UInt16(number(0...4095)))])
    }

    mutating func condition(_ argument: UInt32) -> SyscallFilter.Condition {
        let value = number(0...UInt64.max)
        return .init(
            argument: argument,
            pick([
                .notEqual(value), .less(value), .lessOrEqual(value), .equal(value), .greaterOrEqual(value), .greater(value),
                .masked(mask: value, value: number(0...UInt64.max)),
            ]))
    }

    mutating func syscalls() -> SyscallPolicy {
        if flip() { return .unconfined }
        return .filtered(
            SyscallFilter(
                defaultAction: action(), architectures: some(2) { $0.pick(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]) },
                rules: some(4) { choices in
                    .init(
                        names: choices.some(3) { $0.word() }, action: choices.action(),
                        conditions: (0..<UInt32(choices.number(0...5))).map { choices.condition($0) })
                }, flags: some(1) { _ in "SECCOMP_FILTER_FLAG_LOG" }, listenerPath: flip() ? "" : "/l"))
    }

    mutating func landlock() -> LandlockConfinement {
        if flip() { return .off }
        return .enforced(
            LandlockPolicy(
                handlesFileSystem: flip(), rules: some(3) { .init(path: $0.word(), access: $0.some(3) { $0.word() }, optional: $0.flip()) },
                scopeAbstractUnixSockets: flip(), scopeSignals: flip(),
                tcpBindPorts: flip() ? nil : some(3) { UInt16($0.number(0...65535)) },
                tcpConnectPorts: flip() ? nil : []))
    }

    mutating func network() -> NetworkReach {
        let ports = some(2) {
            OutboundNetwork.PublishedPort(
                hostAddress: $0.pick(["127.0.0.1", "::1"]), hostPort: UInt16($0.number(0...65535)), containerPort: 80,
                transport: $0.pick([.tcp, .udp]))
        }
        return pick([.none, .host, .at(path: "/n"), .outbound(ports: ports, closesHost: flip())])
    }

    mutating func devices() -> [DeviceNode] {
        DeviceNode.defaults
            + some(2) {
                let kind = $0.pick(DeviceNode.Kind.allCases)
                return DeviceNode(
                    path: "/dev/x\($0.number(0...999))", kind: kind, major: kind == .fifo ? 0 : Int64($0.number(0...4095)),
                    minor: kind == .fifo ? 0 : Int64($0.number(0...1 << 20)), mode: UInt32($0.number(0...0o777)), uid: 5, gid: 6)
            }
    }

    mutating func deviceRules() -> [DeviceRule] {
        some(4) {
            DeviceRule(
                allows: $0.flip(), kind: $0.pick(DeviceRule.Kind.allCases), major: Int64($0.number(0...9)) - 1,
                minor: Int64($0.number(0...9)) - 1,
                access: $0.pick(["r", "rw", "rwm"]))
        }
    }

    mutating func limits() -> Limits {
        let memory = limit()
        return Limits(
            pids: limit(from: 1), memory: memory, memoryAndSwap: memory == .unlimited ? .unlimited : limit(), memoryReservation: limit(),
            cpuShares: number(2...262_144), cpuQuota: limit(from: 1), cpuPeriod: number(1000...1_000_000), cpus: flip() ? "" : "0-3",
            memoryNodes: flip() ? "" : "0",
            processLimits: flip() ? [] : [.init(type: "RLIMIT_CORE", soft: 0, hard: .max), .init(type: "RLIMIT_NOFILE", soft: 1, hard: 2)],
            oomScoreAdjustment: Int(number(0...2000)) - 1000)
    }

    mutating func confinement() -> Confinement {
        let user: UserNamespace = pick([.host, .own(uids: maps(), gids: maps(), sharesRange: flip()), .at(path: "/u")])
        return Confinement(
            origin: flip() ? .foreign : .level(pick(LevelName.allCases)), isolation: .sharedKernel,
            user: PayloadUser(
                uid: UInt32(number(0...0xFFFF_FFFF)), gid: UInt32(number(0...9)), additionalGids: some(3) { UInt32($0.number(0...99)) },
                umask: UInt32(number(0...0o777)), lookup: flip() ? "" : "nginx:nginx"),
            userNamespace: user,
            namespaces: Namespaces(pid: scope(), mount: scope(), ipc: scope(), uts: scope(), cgroup: scope(), time: scope()),
            capabilities: CapabilitySets(
                bounding: set(), effective: set(), permitted: set(), inheritable: set(), ambient: set()),
            noNewPrivileges: flip(), syscalls: syscalls(), appArmor: flip() ? .inherited : .profile("p"),
            seLinux: pick([
                .inherited, .labels(process: "p", mounts: ""), .labels(process: "", mounts: "m"), .labels(process: "p", mounts: "m"),
            ]),
            landlock: landlock(), mountsLocked: flip(), rootReadOnly: flip(),
            mounts: some(4) {
                Mount(
                    destination: $0.word(), type: $0.pick(["", "bind", "tmpfs"]), source: $0.pick(["", "/s"]),
                    options: $0.some(3) { $0.word() },
                    uidMappings: $0.maps(), gidMappings: $0.maps())
            }, maskedPaths: some(3) { $0.word() }, readonlyPaths: some(3) { $0.word() }, devices: devices(), deviceRules: deviceRules(),
            limits: limits(), sysctls: flip() ? [:] : ["net.a": word(), "kernel.sem": word()], network: network(),
            networkNamespaceInside: flip(),
            logs: flip() ? .none : .rotated(maxBytes: Int(number(1...1 << 40)), maxFiles: 3))
    }

    private mutating func set() -> CapabilitySet { CapabilitySet(rawValue: next()).intersection(.all) }
}

@Suite struct RoundTripTests {
    /// Writing a confinement to config.json and coffer.json and reading them back gives the same value.
    @Test func generatedValuesComeBack() throws {
        for seed: UInt64 in 0..<500 {
            var choices = Choices(state: seed)
            let confinement = choices.confinement()
            #expect(try throughBytes(confinement) == confinement, "seed \(seed)")
        }
    }

    @Test(arguments: LevelName.allCases)
    func levelsComeBack(_ level: LevelName) throws {
        for host in [aHost(), aHost(isRoot: true), aHost(shared: true)] {
            for flags in 0..<16 {
                let confinement = try resolve(level, host: host) {
                    if flags & 1 != 0 { $0.privileged = true }
                    if flags & 2 != 0 { $0.capabilitiesAdded = ["NET_ADMIN", "SYS_ADMIN"] }
                    if flags & 4 != 0 { $0.network = .host }
                    if flags & 8 != 0 { $0.memory = 0 }
                }.confinement
                #expect(try throughBytes(confinement) == confinement)
            }
        }
    }

    private func throughBytes(_ confinement: Confinement) throws -> Confinement {
        let bundle = try confinement.bundle(aBundle())
        let spec = try StrictJSONEncoder().encode(bundle.spec)
        let notes = try StrictJSONEncoder().encode(bundle.extension)
        return try Confinement(
            spec: StrictJSONDecoder.rejectUnknownKeys.decode(RuntimeSpec.self, from: spec),
            extension: StrictJSONDecoder.rejectUnknownKeys.decode(BundleExtension.self, from: notes))
    }

    @Test func theModelItselfIsCodable() throws {
        var choices = Choices(state: 7)
        for _ in 0..<50 {
            let confinement = choices.confinement()
            let bytes = try StrictJSONEncoder().encode(confinement)
            #expect(try StrictJSONDecoder().decode(Confinement.self, from: bytes) == confinement)
        }
    }

    @Test func theSameConfinementGivesTheSameBytes() throws {
        let confinement = try resolve { $0.sysctls = ["net.a.b": "1", "net.c.d": "2", "kernel.sem": "3"] }.confinement
        let first = try StrictJSONEncoder().encode(confinement.bundle(aBundle()).spec)
        for _ in 0..<20 { #expect(try StrictJSONEncoder().encode(confinement.bundle(aBundle()).spec) == first) }
    }

    @Test func whatADocumentLeavesOutIsWhatTheKernelDoes() throws {
        let confinement = try Confinement(spec: RuntimeSpec(), extension: nil)
        #expect(confinement.origin == .foreign && confinement.userNamespace == .host && confinement.network == .host)
        #expect(confinement.namespaces.pid == .host && confinement.namespaces.mount == .host)
        #expect(confinement.syscalls == .unconfined && confinement.landlock == .off && !confinement.noNewPrivileges)
        #expect(confinement.limits == Limits() && confinement.devices == DeviceNode.defaults)
        let foreign = try Confinement(spec: RuntimeSpec(linux: .init(namespaces: [.init(type: .network)])), extension: nil)
        #expect(foreign.network == .foreign)
        // A device of the host inside: nobody knows what is behind it, whatever the policy says.
        let device = RuntimeSpec(linux: .init(namespaces: [.init(type: .network)], netDevices: ["eth0": .init()]))
        var notes = BundleExtension(
            root: .directory, lockMounts: false, landlock: nil, network: .none, stdio: StandardStreams(stdinOpen: false), log: nil,
            exitCommand: nil, initProcess: false, userSpec: nil, networkNamespaceInside: false, preferredSteps: [], cgroupRequired: false)
        #expect(try Confinement(spec: device, extension: notes).network == .foreign)
        notes.network = .outbound(OutboundNetwork(ports: [], pastaPath: "/usr/bin/pasta", dnsForwardAddress: nil, closeHost: true))
        #expect(try Confinement(spec: device, extension: notes).network == .foreign)
        let unlimited = RuntimeSpec(linux: .init(resources: .init(memory: .init(limit: -1), cpu: .init(quota: -1), pids: .init(limit: 0))))
        #expect(try Confinement(spec: unlimited, extension: nil).limits == Limits())
    }

    @Test func nonsenseIsRefused() throws {
        let specs = [
            RuntimeSpec(process: .init(capabilities: .init(bounding: ["CAP_FLY"]))),
            RuntimeSpec(linux: .init(devices: [.init(type: "x", path: "/dev/x", major: 1, minor: 1)])),
            RuntimeSpec(linux: .init(devices: [.init(type: "c", path: "/dev/x")])),
            RuntimeSpec(linux: .init(seccomp: .init(defaultAction: "ALLOW"))),
            RuntimeSpec(
                linux: .init(
                    seccomp: .init(
                        defaultAction: "SCMP_ACT_ALLOW", syscalls: [.init(names: ["a"], action: "SCMP_ACT_ERRNO", errnoRet: 70000)]))),
            RuntimeSpec(
                linux: .init(
                    seccomp: .init(
                        defaultAction: "SCMP_ACT_ALLOW",
                        syscalls: [
                            .init(
                                names: ["a"], action: "SCMP_ACT_ALLOW",
                                args: [.init(index: 0, value: 1, op: "SCMP_CMP_GE"), .init(index: 0, value: 2, op: "SCMP_CMP_LE")])
                        ]))),
        ]
        for spec in specs { #expect(throws: ConfinementError.self) { try Confinement(spec: spec, extension: nil) } }
    }
}
