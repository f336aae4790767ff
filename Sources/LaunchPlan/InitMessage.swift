import StrictJSON

/// What the container's first process tells the runtime: one message per packet, at most `InitMessage.limit` bytes.
/// `LaunchStep` has the sequence.
public enum InitMessage: Sendable, Equatable {
    /// The terminal's master side travels with this packet.
    case console
    /// The socket that can keep the egress rules current travels with this packet.
    case egressRules
    /// Mounts are made, the root is not switched yet: the runtime's hooks run now.
    case mounted
    /// The filter is loaded; its listener (seccomp_unotify(2)) travels with this packet.
    case filterListener
    /// Everything but the filter and execve is done; these steps were not fully applied.
    case ready([ReportedResult])
    case failed(LaunchFailure)
    /// The tree that travels with this packet, of this step of the plan, is to be ID-mapped.
    case shift(step: Int)
    /// The trees of this bind mount and of those right after it are wanted: one packet each comes back, with the tree.
    case binds(from: Int)
    /// One thing that was done, for whoever asked for a log of that (`--debug`).
    case log(String)

    /// Bytes. A longer packet is an error, not a reason to allocate (CVE-2021-43784 was a length that wrapped).
    public static let limit = 65536

    /// A step by its position in the plan, and what became of it.
    public struct ReportedResult: Codable, Sendable, Equatable {
        public var step: Int
        public var result: StepOutcome.Result
        public init(step: Int, result: StepOutcome.Result) {
            self.step = step
            self.result = result
        }
    }

    /// The packet: one byte for the kind, then JSON.
    public func encoded() throws -> [UInt8] {
        let bytes: [UInt8]
        switch self {
        case .console: bytes = [1]
        case .egressRules: bytes = [4]
        case .mounted: bytes = [5]
        case .filterListener: bytes = [6]
        case .ready(let results): bytes = [2] + (results.isEmpty ? [] : try StrictJSONEncoder().encode(results))
        case .failed(let failure): bytes = [3] + (try StrictJSONEncoder().encode(failure))
        case .shift(let step): bytes = [8] + Array("\(step)".utf8)
        case .binds(let step): bytes = [9] + Array("\(step)".utf8)
        case .log(let sentence): bytes = [7] + Array(sentence.utf8)
        }
        if bytes.count > Self.limit { throw InitMessageError.tooLong }
        return bytes
    }

    /// - Throws: for an unknown kind or a body that is no valid JSON: a protocol error stops the launch.
    public init(decoding bytes: [UInt8]) throws {
        let body = Array(bytes.dropFirst())
        switch bytes.first {
        case 1: self = .console
        case 4: self = .egressRules
        case 5: self = .mounted
        case 6: self = .filterListener
        case 2: self = .ready(body.isEmpty ? [] : try StrictJSONDecoder().decode([ReportedResult].self, from: body))
        case 3: self = .failed(try StrictJSONDecoder().decode(LaunchFailure.self, from: body))
        case 8: self = .shift(step: try Self.step(body))
        case 9: self = .binds(from: try Self.step(body))
        case 7: self = .log(String(decoding: body, as: UTF8.self))
        default: throw InitMessageError.unknownKind
        }
    }
}

extension InitMessage {
    private static func step(_ body: [UInt8]) throws -> Int {
        guard let step = Int(String(decoding: body, as: UTF8.self)), step >= 0 else { throw InitMessageError.unexpected }
        return step
    }
}

/// A packet between the runtime and the container's first process that cannot be.
public enum InitMessageError: Error, Sendable, Equatable {
    case tooLong, unknownKind, unexpected
}

/// What the runtime tells the container's first process: one byte per packet.
public enum LaunchCommand: UInt8, Sendable {
    /// ID maps are written, layers are in place: walk the plan.
    case proceed = 1
    /// The network is up and the state is stored: load the filter and execute.
    case execute = 2
    /// Wait for `start`: it connects to the socket that this process listens on, and takes the parent's part.
    case hold = 3
}
