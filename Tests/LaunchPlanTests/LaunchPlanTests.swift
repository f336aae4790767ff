import OCISpec
import StrictJSON
import Testing

@testable import LaunchPlan

@Suite("The order of a launch")
struct LaunchPlanTests {
    private static let capabilities = CapabilityStep(bounding: 0x4fb, effective: 0x4fb, permitted: 0x4fb, inheritable: 0, ambient: 0)
    private static let identity = LaunchStep.identity(.numeric(uid: 0, gid: 0, additionalGroups: [], umask: nil))
    private static let filter = LaunchStep.systemCallFilter(
        SystemCallFilter(profile: RuntimeSpec.Seccomp(defaultAction: "SCMP_ACT_ERRNO")))
    private static let landlock = LaunchStep.landlock(
        LandlockPolicy(
            handlesFileSystem: true, rules: [], scopeAbstractUnixSockets: true, scopeSignals: false, tcpBindPorts: nil,
            tcpConnectPorts: nil))
    private static let good: [LaunchStep] = [
        .namespaces(new: ["user", "mnt"], joined: []), .networkDevice(NetworkDeviceStep(hostName: "eth0", name: "net%d")), .mountNamespace,
        .systemControl(key: "net.ipv4.ip_forward", value: "1"), .resourceLimit(name: "RLIMIT_NPROC", soft: 1, hard: 1),
        .root(.directory("/r")), .mask(path: "/proc/keys"), .readOnlyPath("/proc/sys"), .pivot(PivotStep(readOnly: false)), .nestingLimit,
        .lockedMounts(networkInside: false), identity, .capabilities(capabilities), .noNewPrivileges, landlock, filter,
        .execute(arguments: ["true"], environment: []),
    ]

    private func violations(_ steps: [LaunchStep]) -> [String] {
        LaunchPlan(steps: steps, terminal: false, preferred: []).violations
    }

    @Test("A plan in the kernel's order has no violation")
    func goodOrder() { #expect(violations(Self.good) == []) }

    @Test(
        "Moving any confining step to the wrong side is seen",
        arguments: [
            (LaunchStep.Kind.resourceLimit, LaunchStep.Kind.lockedMounts), (.mask, .lockedMounts), (.readOnlyPath, .lockedMounts),
            (.nestingLimit, .lockedMounts), (.pivot, .lockedMounts), (.lockedMounts, .landlock), (.identity, .capabilities),
            (.networkDevice, .systemControl), (.noNewPrivileges, .landlock), (.noNewPrivileges, .systemCallFilter), (.landlock, .systemCallFilter),
        ])
    func wrongOrder(_ first: LaunchStep.Kind, _ second: LaunchStep.Kind) throws {
        var steps = Self.good
        let from = try #require(steps.firstIndex { $0.kind == first })
        let moved = steps.remove(at: from)
        let to = try #require(steps.firstIndex { $0.kind == second })
        steps.insert(moved, at: to + 1)
        #expect(!violations(steps).isEmpty)
    }

    @Test("Without no_new_privs the filter comes before capabilities are dropped")
    func withoutNoNewPrivileges() {
        let head: [LaunchStep] = [.namespaces(new: [], joined: []), .mountNamespace, .pivot(PivotStep(readOnly: false))]
        let tail: [LaunchStep] = [.execute(arguments: ["true"], environment: [])]
        #expect(violations(head + [Self.landlock, Self.filter, Self.identity, .capabilities(Self.capabilities)] + tail) == [])
        #expect(violations(head + [Self.identity, .capabilities(Self.capabilities), Self.filter] + tail).count == 1)
        #expect(violations(head + [Self.identity, Self.landlock, .capabilities(Self.capabilities)] + tail).count == 1)
    }

    @Test("Execute must be last")
    func executeLast() { #expect(violations(Array(Self.good.dropLast())) == ["the last step must be execute"]) }

    @Test("Every step says in words what it does")
    func descriptions() {
        for step in Self.good { #expect(step.description.count > 5, "\(step.kind)") }
        #expect(LaunchStep.capabilities(Self.capabilities).description.contains("00000000000004fb"))
    }
}

@Suite("Messages between the runtime's processes")
struct MessageTests {
    private static let failure = LaunchFailure(step: "mount", call: "mount", errno: 13, subject: "/x", message: "mount /x: denied")

    @Test("What is sent to the runtime is what arrives")
    func initMessages() throws {
        let messages: [InitMessage] = [
            .console, .egressRules, .mounted, .filterListener, .ready([]), .ready([.init(step: 3, result: .partial("less"))]), .failed(Self.failure),
            .log("mount: done"), .shift(step: 12), .binds(from: 7),
        ]
        for message in messages { #expect(try InitMessage(decoding: message.encoded()) == message) }
    }

    @Test("A failure fits into a packet, whatever it speaks of, and keeps its end")
    func longFailure() throws {
        let long = String(repeating: "\u{1}", count: 100_000)
        let failure = LaunchFailure(step: "mount", call: "openat2", errno: 36, subject: long, message: "\(long): File name too long")
        let packet = try InitMessage.failed(failure).encoded()
        #expect(try InitMessage(decoding: packet) == .failed(failure))
        #expect(failure.message.hasSuffix(": File name too long"))
        #expect(try AttachFrame.FromMonitor.failed(failure).encoded().count <= AttachFrame.limit + 1)
    }

    @Test("What cannot be a message is an error", arguments: [[], [9], [3, 1, 2], [2, 0x7b], [8], [8, 0x2d, 0x31]] as [[UInt8]])
    func badInitMessage(_ bytes: [UInt8]) {
        #expect(throws: (any Error).self) { try InitMessage(decoding: bytes) }
    }

    @Test("A message over the limit is refused by the sender")
    func tooLong() {
        let long = [InitMessage.ReportedResult(step: 1, result: .partial(String(repeating: "x", count: 70_000)))]
        #expect(throws: InitMessageError.tooLong) { try InitMessage.ready(long).encoded() }
    }

    @Test("Frames of attached clients")
    func attachFrames() throws {
        let toClient: [AttachFrame.FromMonitor] = [
            .output([1, 2, 3]), .errorOutput([]), .exited(code: -1), .exited(code: 137), .started(pid: 4711), .failed(Self.failure),
        ]
        for frame in toClient { #expect(try AttachFrame.FromMonitor(decoding: frame.encoded()) == frame) }
        let toMonitor: [AttachFrame.FromClient] = [.input([0, 255]), .endOfInput, .resize(rows: 50, columns: 300), .beginsInput]
        for frame in toMonitor { #expect(try AttachFrame.FromClient(decoding: frame.encoded) == frame) }
    }

    @Test("Frames that cannot be", arguments: [[], [2, 1], [7], [1, 0]] as [[UInt8]])
    func badFrames(_ bytes: [UInt8]) {
        #expect(throws: InitMessageError.unknownKind) { try AttachFrame.FromClient(decoding: bytes) }
    }

    @Test("Frames that no monitor sends", arguments: [[], [3, 1], [7], [10, 0x7b, 0x7d], [11]] as [[UInt8]])
    func badMonitorFrames(_ bytes: [UInt8]) {
        #expect(throws: (any Error).self) { try AttachFrame.FromMonitor(decoding: bytes) }
    }
}

@Suite("The state of a container that has ended")
struct EndedStateTests {
    private static let running = RuntimeState(
        status: .running, pid: 12, pidStartTicks: 1, monitorPid: 11, monitorStartTicks: 1, startedAt: 1_700_000_000_000_000_001, finishedAt: 0,
        exitCode: 0, oomKilled: false, cgroupPaths: ["/sys/fs/cgroup/a \"b\""],
        outcomes: [StepOutcome(step: "mount", detail: "ü", result: .partial("less")), StepOutcome(step: "seccomp", detail: "", result: .applied)],
        bootID: "b", ipAddress: "10.0.0.2")

    @Test("It is the one from the start, but for the end")
    func end() throws {
        var expected = Self.running
        expected.status = .exited
        expected.exitCode = 137
        expected.oomKilled = true
        expected.finishedAt = .max
        let document = try RuntimeState.ended(
            try StrictJSONEncoder().encode(Self.running), exitCode: 137, oomKilled: true, finishedAt: .max)
        #expect(try StrictJSONDecoder().decode(RuntimeState.self, from: document) == expected)
    }

    @Test("What is no state of a running container is refused", arguments: ["", "[]", "{}", #"{"status":"exited"}"#])
    func noState(_ text: String) {
        #expect(throws: (any Error).self) {
            try RuntimeState.ended(Array(text.utf8), exitCode: 0, oomKilled: false, finishedAt: 1)
        }
    }
}
