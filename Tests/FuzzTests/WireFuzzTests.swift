import Fuzzing
import LaunchPlan
import OCISpec
import PullMessages
import StrictJSON
import Testing

@testable import ContainerRuntime

/// Spoiled packets between the programs' own processes: refused or understood, never a crash, and what is understood is said again in the same way.
@Suite("Spoiled packets between processes")
struct WireFuzzTests {
    private static let failure = LaunchFailure(step: "mount", call: "move_mount", errno: 13, subject: "/x", message: "mounting /x: denied")

    /// A packet: the kind in its first byte, then a body that may be JSON.
    private struct Packet: Sendable {
        var kind: UInt8
        var body: Body
        enum Body: Sendable { case json(JSONDocument), bytes([UInt8]) }

        init(_ bytes: [UInt8]) {
            kind = bytes.first ?? 0
            let rest = Array(bytes.dropFirst())
            do {
                body = .json(JSONDocument(try JSONParser().parse(rest)))
            } catch {
                body = .bytes(rest)
            }
        }

        var bytes: [UInt8] {
            switch body {
            case .json(let document): [kind] + document.bytes
            case .bytes(let bytes): [kind] + bytes
            }
        }

        mutating func mutate(_ generator: inout SeededGenerator, _ words: [String]) -> String {
            if generator.once(in: 8) {
                kind = generator.once(in: 4) ? UInt8(truncatingIfNeeded: generator.next()) : UInt8(generator.below(14))
                return "kind \(kind)"
            }
            switch body {
            case .json(var document):
                let told = document.mutate(&generator, words: words)
                body = .json(document)
                return told
            case .bytes(var bytes):
                let told = ByteMutation.apply(&bytes, &generator)
                body = .bytes(bytes)
                return told
            }
        }
    }

    private func spoil(
        _ name: String, _ packets: [[UInt8]], _ cases: Int, perMille: Int = 20, sourceLocation: SourceLocation = #_sourceLocation,
        _ read: ([UInt8]) throws -> Void
    ) {
        let corpus = packets.enumerated().map { (name: "packet \($0.offset)", input: Packet($0.element)) }
        let words = corpus.flatMap { packet -> [String] in
            guard case .json(let document) = packet.input.body else { return [] }
            return JSONDocument.words(of: document.value)
        }
        let result = Fuzzer(name, corpus: corpus, mostMutations: 3) { $0.mutate(&$1, words) }.run(cases) { packet in
            do {
                try read(packet.bytes)
                return .accepted
            } catch let finding as FuzzFinding {
                throw finding
            } catch {
                return .refused
            }
        }
        #expect(result.findings == [], sourceLocation: sourceLocation)
        #expect(result.isTelling(perMille: perMille), sourceLocation: sourceLocation)
    }

    /// What is understood must be sayable, and mean the same. Long texts are cut, once.
    private func again<Message: Equatable>(_ message: Message, _ encode: (Message) throws -> [UInt8], _ decode: ([UInt8]) throws -> Message) throws {
        let bytes: [UInt8]
        do {
            bytes = try encode(message)
        } catch {
            return  // Longer than a packet may be.
        }
        let heard = try decode(bytes)
        let isSame = bytes.count < 4000 ? heard == message : try decode(try encode(heard)) == heard
        if !isSame { throw FuzzFinding("\(message) is another message when said again") }
    }

    @Test func firstProcess() throws {
        let messages: [InitMessage] = [
            .console, .egressRules, .mounted, .filterListener, .ready([.init(step: 3, result: .partial("less")), .init(step: 4, result: .applied)]),
            .failed(Self.failure),
        ]
        spoil("init messages", try messages.map { try $0.encoded() }, 8000) { bytes in
            try again(try InitMessage(decoding: bytes), { try $0.encoded() }, { try InitMessage(decoding: $0) })
        }
    }

    @Test func attached() throws {
        let packets: [AttachFrame.FromClient] = [.input([1, 2, 3]), .endOfInput, .resize(rows: 24, columns: 80), .beginsInput]
        spoil("attach, from the client", packets.map(\.encoded), 4000) { bytes in
            try again(try AttachFrame.FromClient(decoding: bytes), { $0.encoded }, { try AttachFrame.FromClient(decoding: $0) })
        }
        let answers: [AttachFrame.FromMonitor] = [
            .output([1]), .errorOutput([2]), .exited(code: 7), .started(pid: 12), .failed(Self.failure),
        ]
        spoil("attach, from the monitor", try answers.map { try $0.encoded() }, 6000) { bytes in
            try again(try AttachFrame.FromMonitor(decoding: bytes), { try $0.encoded() }, { try AttachFrame.FromMonitor(decoding: $0) })
        }
    }

    @Test func pull() throws {
        let digest = try #require(Digest(.sha256, hex: Corpus.hex))
        let image = try ImageReference(parsing: "localhost:5000/a:1")
        let messages: [PullMessage] = [
            .layer(digest, .waiting), .layer(digest, .downloading(done: 1, total: 2)), .layer(digest, .retrying(reason: "reset")),
            .warning("slow"), .done(PullResult(image: image, digest: digest, wasUpToDate: false)), .failed(PullFailure("no", signal: 15)),
        ]
        spoil("pull messages", try messages.map { try $0.encoded() }, 6000) { bytes in
            try again(try PullMessage(decoding: bytes), { try $0.encoded() }, { try PullMessage(decoding: $0) })
        }
        let request = PullRequest(
            image: image, platform: Platform(os: "linux", architecture: "arm64", variant: "v8"), store: "/store",
            credentials: PullCredentials(option: "user:secret"), verifiesTLS: true, certificateDirectory: "/certs")
        // A request has no kind: its first byte is part of it.
        spoil("pull requests", [[0] + (try request.encoded())], 3000) { bytes in
            try again(try PullRequest(decoding: Array(bytes.dropFirst())), { try $0.encoded() }, { try PullRequest(decoding: $0) })
        }
    }

    @Test func handover() throws {
        let settings = MonitorSettings(
            terminal: false, log: LogPolicy(path: "/log", maxBytes: 10_000_000, maxFiles: 3), groupPaths: ["/sys/fs/cgroup/pids/a"],
            exitCommand: ["/usr/bin/coffer", "cleanup"])
        spoil("handover settings", [[0] + settings.document], 4000) { bytes in
            try again(try MonitorSettings(document: Array(bytes.dropFirst())), { $0.document }, { try MonitorSettings(document: $0) })
        }
        let state = RuntimeState(
            status: .running, pid: 12, pidStartTicks: 34, monitorPid: 11, monitorStartTicks: 33, startedAt: 1, finishedAt: 0, exitCode: 0,
            oomKilled: false, cgroupPaths: ["/sys/fs/cgroup/pids/a"],
            outcomes: [StepOutcome(step: "mount", detail: "/proc", result: .unavailable("no"))], bootID: "b", ipAddress: "10.0.0.2")
        spoil("state.json", [[0] + (try StrictJSONEncoder().encode(state))], 4000) { bytes in
            let document = Array(bytes.dropFirst())
            let read = try StrictJSONDecoder().decode(RuntimeState.self, from: document)
            try again(read, { try StrictJSONEncoder().encode($0) }, { try StrictJSONDecoder().decode(RuntimeState.self, from: $0) })
            guard read.status == .running else { return }
            let ended = try RuntimeState.ended(document, exitCode: 9, oomKilled: true, finishedAt: 5)
            if try StrictJSONDecoder().decode(RuntimeState.self, from: ended).exitCode != 9 { throw FuzzFinding("the exit code is lost") }
        }
    }
}
