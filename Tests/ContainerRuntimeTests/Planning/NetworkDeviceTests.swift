import LaunchPlan
import OCISpec
import Testing

@testable import ContainerRuntime

@Suite("Network devices of a configuration")
struct NetworkDeviceTests {
    private func plan(
        _ devices: [String: String?], _ namespaces: [RuntimeSpec.Namespace] = [.init(type: .network), .init(type: .mount)], inside: Bool = false
    ) throws -> LaunchPlan {
        var spec = RuntimeSpec(ociVersion: "1.3.0")
        spec.process = RuntimeSpec.Process(cwd: "/")
        spec.process?.args = ["true"]
        spec.root = RuntimeSpec.Root(path: "rootfs", readonly: nil)
        spec.linux = RuntimeSpec.Linux(
            sysctl: ["net.ipv4.conf.net0.forwarding": "1"], namespaces: namespaces, netDevices: devices.mapValues { .init(name: $0) })
        var ext: BundleExtension?
        if inside {
            ext = BundleExtension(
                root: .directory, lockMounts: false, landlock: nil, network: .none, stdio: StandardStreams(stdinOpen: false), log: nil,
                exitCommand: nil, initProcess: false, userSpec: nil, networkNamespaceInside: true, preferredSteps: [], cgroupRequired: false)
        }
        return try LaunchPlanner.plan(spec, ext, facts: LaunchFacts(hasControlGroups: true, bundle: "/bundle"))
    }

    private func devices(_ devices: [String: String?]) throws -> [String] {
        try plan(devices).steps.compactMap { if case .networkDevice(let step) = $0 { "\(step.hostName)>\(step.name)" } else { nil } }
    }

    private func problem(_ body: () throws -> LaunchPlan) -> String? {
        do {
            return try body().violations.first
        } catch {
            return "\(error)"
        }
    }

    @Test("Each device is a step, before what may need it; a template takes what names leave")
    func steps() throws {
        #expect(try devices([:]) == [])
        #expect(try devices(["eth1": nil, "eth0": "", "b": "net0", "a": "net%d"]) == ["b>net0", "eth0>eth0", "eth1>eth1", "a>net%d"])
        let kinds = try plan(["eth0": nil]).steps.map(\.kind)
        let place = try #require(kinds.firstIndex(of: .networkDevice))
        for later in [LaunchStep.Kind.mountNamespace, .loopback, .systemControl, .pivot] {
            #expect(try #require(kinds.firstIndex(of: later)) > place)
        }
        #expect(LaunchStep.networkDevice(.init(hostName: "eth0", name: "eth0")).description == "network device eth0 of the host")
        #expect(LaunchStep.networkDevice(.init(hostName: "eth0", name: "net%d")).description == "network device eth0 of the host as net%d")
    }

    @Test(
        "A name is what the kernel takes for one",
        arguments: [
            "", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\n", "a\0b", "a%", "%da", "a%sb", "abcdefghijklmnop", "à", "a\u{1b}[2J", "a\u{7f}", "%d%d",
        ])
    func names(_ name: String) {
        #expect(problem { try plan([name: nil]) }?.contains("is no name of a network device") == true)
        if name.isEmpty { return }  // none is asked for
        #expect(problem { try plan(["eth0": name]) }?.contains("is no name of a network device") == true)
    }

    @Test("The longest names, and those that are only strange, are names")
    func strangeNames() {
        for name in ["abcdefghijklmno", "a.b", "...", "-", "é", "abcdefghijklmn%d", "%d"] {
            #expect(problem { try plan(["eth0": name]) } == nil, "\(name)")
        }
        #expect(problem { try plan(["eth%d": nil]) }?.contains("is no name") == true, "a device of the host has a number")
    }

    @Test("What cannot be done is refused in one sentence")
    func refusals() {
        #expect(problem { try plan(["lo": nil]) }?.contains("a loopback device cannot leave its network namespace") == true)
        #expect(problem { try plan(["a": "net0", "b": "net0"]) } == "linux.netDevices: a and b would both be net0 in the container")
        #expect(problem { try plan(["a": "b", "b": nil]) }?.contains("a and b would both be b") == true)
        #expect(problem { try plan(["a": "n%d", "b": "n%d"]) } == nil)
        #expect(problem { try plan(["a": nil], inside: true) }?.contains("NET_ADMIN") == true)
        #expect(problem { try plan(["a": nil], [.init(type: .network, path: "/run/netns/a"), .init(type: .mount)]) } == nil)
        #expect(
            problem {
                let steps = try NetworkDevicePlan.steps(
                    .init(netDevices: ["a": .init()]), NamespacePlan(.init(namespaces: [.init(type: .mount)])), networkInside: false)
                return LaunchPlan(steps: steps, terminal: false, preferred: [])
            }?.contains("needs a network namespace that is not the host's") == true)
    }

    @Test("A template gets the lowest number that is free; a name that is taken is an error that names both")
    func numbers() throws {
        func name(_ name: String, _ others: Set<String>) throws -> String {
            try NetworkDevices.name(for: .init(hostName: "eth7", name: name), besides: others)
        }
        #expect(try name("net%d", ["lo"]) == "net0")
        #expect(try name("net%d", ["lo", "net0", "net2", "net01"]) == "net1")
        #expect(try name("net0", ["lo"]) == "net0")
        #expect(throws: LaunchFailure.self) { try name("abcdefghijklmn%d", Set((0...9).map { "abcdefghijklmn\($0)" })) }
        do {
            _ = try name("net0", ["net0"])
            Issue.record("a name that is taken")
        } catch {
            #expect("\(error)".contains("eth7 cannot become net0"))
        }
    }
}
