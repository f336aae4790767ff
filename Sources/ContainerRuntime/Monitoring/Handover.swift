import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// What the starting process tells the monitor: one packet each, the kind in its first byte. Both are forks of one program.
///
///     monitor                                        starting process
///     listens on attach.sock
///     fork ────────────────────────────────────────▶ reads the bundle, plans, launches; stores state.json
///            ◀────────── settings, one descriptor a packet ──
///            ◀────────── process (its pidfd), started ───────
///     serves whoever is attached                     waits until the network is all up
///            ◀────────── complete ───────────────────────────  and ends: the payload becomes the monitor's child
///
/// `failed` may come instead of anything. An end without a word is the death of the starting process.
enum Handover: UInt8 {
    case settings = 1
    // These come with a descriptor.
    case process, input, output, errorOutput, console, egressRules, addresses, log, state
    /// The body is the packet for who started the container (`AttachFrame.FromMonitor.started`).
    case started
    /// The body is a packet as well (`AttachFrame.FromMonitor.failed`).
    case failed
    case complete

    /// Bytes of a packet.
    static let limit = 65536

    func send(_ body: [UInt8] = [], to channel: borrowing FileDescriptor) throws(KernelError) {
        if body.count >= Self.limit { throw KernelError(call: "send", errno: EMSGSIZE, subject: "the monitor") }
        try channel.sendMessage([rawValue] + body)
    }

    /// Sends a descriptor; `.none` is not sent.
    func send(_ descriptor: borrowing FileDescriptor, _ body: [UInt8] = [], to channel: borrowing FileDescriptor) throws(KernelError) {
        if descriptor.rawValue < 0 { return }
        try channel.sendMessage([rawValue] + body, with: descriptor)
    }

    /// A packet that was received: its body and the descriptor that came with it.
    struct Packet: ~Copyable {
        let kind: Handover
        let body: [UInt8]
        var descriptor: FileDescriptor
    }

    /// - Returns: nil when the starting process is gone.
    static func receive(from channel: borrowing FileDescriptor) throws -> Packet? {
        guard let (bytes, raw) = try channel.receiveMessage(limit: limit) else { return nil }
        let descriptor = FileDescriptor(owning: raw)
        guard let first = bytes.first, let kind = Handover(rawValue: first) else { throw InitMessageError.unknownKind }
        return Packet(kind: kind, body: Array(bytes.dropFirst()), descriptor: descriptor)
    }
}

/// What the monitor must know of a container beyond its descriptors.
struct MonitorSettings: Equatable {
    var terminal: Bool
    var log: LogPolicy?
    /// Cgroup directories that are the container's own.
    var groupPaths: [String]
    /// What to run when it has ended, or nothing.
    var exitCommand: [String]
    /// Nobody who is attached ends the payload's stdin.
    var stdinStays = false

    /// As a JSON document, put together by hand: decoding by type would cost the monitor more memory than all the rest of it.
    var document: [UInt8] {
        var object: JSONObject = [
            "terminal": .bool(terminal), "groups": .array(groupPaths.map(JSONValue.string)),
            "exitCommand": .array(exitCommand.map(JSONValue.string)), "stdinStays": .bool(stdinStays),
        ]
        if let log {
            object["log"] = ["path": .string(log.path), "bytes": .number(JSONNumber(log.maxBytes)), "files": .number(JSONNumber(log.maxFiles))]
        }
        return JSONWriter.compact.write(.object(object))
    }

    init(terminal: Bool, log: LogPolicy?, groupPaths: [String], exitCommand: [String]) {
        self.terminal = terminal
        self.log = log
        self.groupPaths = groupPaths
        self.exitCommand = exitCommand
    }

    init(document: [UInt8]) throws {
        let object = try JSONParser().parse(document)
        guard let terminal = object["terminal"]?.bool, let groups = object["groups"]?.array, let command = object["exitCommand"]?.array,
            let stays = object["stdinStays"]?.bool
        else {
            throw InitMessageError.unexpected
        }
        self.terminal = terminal
        stdinStays = stays
        groupPaths = groups.compactMap(\.string)
        exitCommand = command.compactMap(\.string)
        if let policy = object["log"] {
            guard let path = policy["path"]?.string, let bytes = policy["bytes"]?.int64, let files = policy["files"]?.int64 else {
                throw InitMessageError.unexpected
            }
            log = LogPolicy(path: path, maxBytes: Int(bytes), maxFiles: Int(files))
        }
        guard groupPaths.count == groups.count, exitCommand.count == command.count else { throw InitMessageError.unexpected }
    }
}

/// A payload that runs, as the starting process has handed it over.
struct MonitoredPayload: ~Copyable {
    var settings = MonitorSettings(terminal: false, log: nil, groupPaths: [], exitCommand: [])
    /// The payload's first process in the monitor's pid namespace.
    var pid: Int32 = -1
    var pidfd = FileDescriptor.none
    /// The monitor's ends of the payload's streams; `.none` where there is none.
    var input = FileDescriptor.none
    var output = FileDescriptor.none
    var errorOutput = FileDescriptor.none
    /// Master side of its terminal.
    var console = FileDescriptor.none
    /// Socket that keeps the egress rules current.
    var egressRules = FileDescriptor.none
    /// Subscription to the host's addresses.
    var addresses = FileDescriptor.none
    /// The log, opened for appending.
    var log = FileDescriptor.none
    /// state.json as it was when the payload was started.
    var state = FileDescriptor.none
    /// What whoever started the container is told.
    var started: [UInt8] = []

    /// What the wait for a payload comes to.
    enum Arrival: ~Copyable {
        case started(MonitoredPayload)
        /// The packet that says why there will be none.
        case failed([UInt8])
        /// The starting process died.
        case lost
    }

    /// Waits for the payload.
    static func receive(from channel: borrowing FileDescriptor) throws -> Arrival {
        var payload = MonitoredPayload()
        while let packet = try Handover.receive(from: channel) {
            switch packet.kind {
            case .failed: return .failed(packet.body)
            case .started:
                guard payload.pidfd.rawValue >= 0, payload.state.rawValue >= 0 else { throw InitMessageError.unexpected }
                payload.started = packet.body
                return .started(payload)
            case .complete: throw InitMessageError.unexpected
            default: try payload.take(packet)
            }
        }
        return .lost
    }

    private mutating func take(_ packet: consuming Handover.Packet) throws {
        let body = packet.body
        let kind = packet.kind
        let descriptor = FileDescriptor(owning: packet.takeDescriptor())
        guard kind == .settings || descriptor.rawValue >= 0 else { throw InitMessageError.unexpected }
        switch kind {
        case .settings: settings = try MonitorSettings(document: body)
        case .process:
            guard let number = Int32(String(decoding: body, as: UTF8.self)), number > 0 else { throw InitMessageError.unexpected }
            pid = number
            pidfd = descriptor
        case .input: input = descriptor
        case .output: output = descriptor
        case .errorOutput: errorOutput = descriptor
        case .console: console = descriptor
        case .egressRules: egressRules = descriptor
        case .addresses: addresses = descriptor
        case .log: log = descriptor
        case .state: state = descriptor
        case .started, .failed, .complete: throw InitMessageError.unexpected
        }
    }
}

extension MonitoredPayload {
    /// Every descriptor by its number, for a new owner.
    typealias Numbers = (
        pid: Int32, pidfd: Int32, input: Int32, output: Int32, errorOutput: Int32, console: Int32, egressRules: Int32, addresses: Int32,
        log: Int32, state: Int32
    )

    consuming func released() -> Numbers {
        (
            pid, pidfd.release(), input.release(), output.release(), errorOutput.release(), console.release(), egressRules.release(),
            addresses.release(), log.release(), state.release()
        )
    }
}

extension Handover.Packet {
    /// Gives the descriptor to the caller; -1 when none came.
    consuming func takeDescriptor() -> Int32 { descriptor.release() }
}
