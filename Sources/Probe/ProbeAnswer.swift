import StrictJSON

/// What came of a probe, as the program inside saw it. The verdict is made outside, from this, the control and the peeled twins.
public enum ProbeOutcome: String, Codable, Sendable, CaseIterable {
    /// A denial, or the fact that shows that the wall is there.
    case held
    /// It got through.
    case reached
    /// It got through, and it is knowledge, not a way out.
    case information
    /// The kernel or the image has nothing to try it on; `detail` says what.
    case absent
    /// It was done, and what came of it can only be seen outside, at the canary.
    case tried
    /// It could not be tried to its end; `detail` says why.
    case inconclusive
}

/// One probe's answer: one line of JSON on the program's standard output.
///
/// ENOSYS, EAFNOSUPPORT and ENOENT are `held` with their name unless the program could see that the kernel itself lacks the thing: where the control
/// gives the same answer, the probe is not applicable.
public struct ProbeAnswer: Codable, Sendable, Equatable {
    public var id: String
    public var outcome: ProbeOutcome
    /// The errno that showed it, by its name.
    public var errno: String?
    /// The signal that ended the attempt: "SIGSYS", "SIGKILL". Held by a filter, unless the probe expects it.
    public var signal: String?
    /// What was seen, in one sentence.
    public var detail: String

    /// Characters of `detail` at the most.
    public static let longestDetail = 400
    /// Bytes of a line at the most.
    public static let limit = 4096

    public init(_ id: String, _ outcome: ProbeOutcome, errno: String? = nil, signal: String? = nil, detail: String) {
        self.id = id
        self.outcome = outcome
        self.errno = errno
        self.signal = signal
        self.detail = String(detail.prefix(Self.longestDetail))
    }
}

/// A line of the program's output.
public enum ProbeLine: Sendable, Equatable {
    case answer(ProbeAnswer)
    /// The last line: every probe that was asked for has answered, so many. Output that ends without it is of a program that was killed.
    case complete(answers: Int)

    private struct Completion: Codable {
        let complete: Int
    }

    /// The line with its line feed.
    public func encoded() throws -> [UInt8] {
        let encoder = StrictJSONEncoder()
        switch self {
        case .answer(let answer): return try encoder.encode(answer) + [0x0A]
        case .complete(let count): return try encoder.encode(Completion(complete: count)) + [0x0A]
        }
    }

    /// Reads one line, with or without its line feed. Throws what the decoder throws.
    public init(decoding bytes: [UInt8]) throws {
        guard bytes.count <= ProbeAnswer.limit else {
            throw ProbeError("a line of coffer-probe has \(bytes.count) bytes; it has at most \(ProbeAnswer.limit)")
        }
        let value = try JSONParser().parse(bytes)
        if value["complete"] != nil {
            self = .complete(answers: try StrictJSONDecoder.rejectUnknownKeys.decode(Completion.self, from: value).complete)
        } else {
            self = .answer(try StrictJSONDecoder.rejectUnknownKeys.decode(ProbeAnswer.self, from: value))
        }
    }
}
