import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import Testing

@testable import ContainerRuntime

@Suite("From the starting process to the monitor")
struct HandoverTests {
    @Test(
        "Settings come back as they were",
        arguments: [
            MonitorSettings(terminal: true, log: nil, groupPaths: [], exitCommand: []),
            MonitorSettings(
                terminal: false, log: LogPolicy(path: "/a \"b\"/ü", maxBytes: 10_000_000, maxFiles: 3),
                groupPaths: ["/sys/fs/cgroup/pids/a", "/b"], exitCommand: ["/usr/bin/coffer", "cleanup", ""]),
        ])
    func settings(_ settings: MonitorSettings) throws {
        #expect(try MonitorSettings(document: settings.document) == settings)
    }

    @Test(
        "Settings that cannot be",
        arguments: [
            "", "[]", "{}", #"{"terminal":1,"groups":[],"exitCommand":[]}"#, #"{"terminal":true,"groups":[1],"exitCommand":[]}"#,
            #"{"terminal":true,"groups":[],"exitCommand":[],"log":{"path":"/a"}}"#,
        ])
    func badSettings(_ text: String) {
        #expect(throws: (any Error).self) { try MonitorSettings(document: Array(text.utf8)) }
    }

    /// What the monitor makes of these packets: "started PID", "failed TEXT" or "lost".
    private func arrival(_ send: (borrowing FileDescriptor) throws -> Void) throws -> String {
        let pair = try SocketPair()
        let (ours, theirs) = pair.ends()
        let monitor = FileDescriptor(owning: ours)
        do {
            let channel = FileDescriptor(owning: theirs)
            try send(channel)
        }
        switch try MonitoredPayload.receive(from: monitor) {
        case .started(let payload): return "started \(payload.pid)"
        case .failed(let packet): return "failed " + String(decoding: packet, as: UTF8.self)
        case .lost: return "lost"
        }
    }

    @Test("A payload is whole when it is said to be started")
    func started() throws {
        let file = try FileDescriptor.open("/dev/null", O_RDONLY)
        let whole = try arrival { channel in
            try Handover.state.send(file, to: channel)
            try Handover.process.send(file, Array("12".utf8), to: channel)
            try Handover.console.send(.none, to: channel)
            try Handover.started.send([1], to: channel)
        }
        #expect(whole == "started 12")
        #expect(throws: InitMessageError.unexpected) { try arrival { try Handover.started.send(to: $0) } }
        #expect(throws: InitMessageError.unexpected) { try arrival { try Handover.console.send(to: $0) } }
        #expect(throws: InitMessageError.unknownKind) { try arrival { try $0.sendMessage([99]) } }
    }

    @Test("A failure comes through, and a death is noticed")
    func failed() throws {
        #expect(try arrival { try Handover.failed.send(Array("why".utf8), to: $0) } == "failed why")
        let file = try FileDescriptor.open("/dev/null", O_RDONLY)
        #expect(try arrival { try Handover.state.send(file, to: $0) } == "lost")
    }
}
