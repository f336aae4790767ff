/// What became of one step of a launch. Stored with the container and shown by `inspect`; the exposure score reads it.
public struct StepOutcome: Codable, Sendable, Equatable {
    /// Whether the kernel really enforces what the step stands for.
    public enum Result: Codable, Sendable, Equatable {
        case applied
        /// Enforced, but less than asked; the text says what is missing.
        case partial(String)
        /// Not enforced at all; the text says why.
        case unavailable(String)
    }

    /// The step's kind (`LaunchStep.Kind.rawValue`).
    public var step: String
    /// What it stands for, in plain words ("memory limit 512 MiB").
    public var detail: String
    public var result: Result

    public init(step: String, detail: String, result: Result) {
        self.step = step
        self.detail = detail
        self.result = result
    }
}

extension StepOutcome.Result {
    private enum CodingKeys: String, CodingKey { case applied, partial, unavailable }
    private enum PartialCodingKeys: String, CodingKey { case text = "_0" }

    /// {"applied":{}}, {"partial":{"_0":TEXT}} or {"unavailable":{"_0":TEXT}}.
    ///
    /// By hand: what the compiler writes asks for all keys, which casts an array element by element, for every step of every container that is looked at.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func text(_ key: CodingKeys) throws -> String {
            try container.nestedContainer(keyedBy: PartialCodingKeys.self, forKey: key).decode(String.self, forKey: .text)
        }
        switch (container.contains(.applied), container.contains(.partial), container.contains(.unavailable)) {
        case (true, false, false): self = .applied
        case (false, true, false): self = .partial(try text(.partial))
        case (false, false, true): self = .unavailable(try text(.unavailable))
        default:
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "a result is one of applied, partial and unavailable"))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        func write(_ text: String, _ key: CodingKeys) throws {
            var nested = container.nestedContainer(keyedBy: PartialCodingKeys.self, forKey: key)
            try nested.encode(text, forKey: .text)
        }
        switch self {
        case .applied: try container.encode([String: String](), forKey: .applied)
        case .partial(let text): try write(text, .partial)
        case .unavailable(let text): try write(text, .unavailable)
        }
    }
}

/// A launch that failed: what failed, on what, why. It crosses the process boundary as data and becomes one sentence for
/// the user at the top.
public struct LaunchFailure: Error, Codable, Sendable, Equatable {
    /// Which part of the launch failed (`LaunchStep.Kind.rawValue`).
    public var step: String
    /// The system call, for example "mount_setattr", or "" when none failed.
    public var call: String
    /// The error number, 0 when no system call failed.
    public var errno: Int32
    /// What it was done to: a path, a name.
    public var subject: String
    /// One sentence for the user, complete with the remedy.
    public var message: String

    /// Characters of a subject and of a message: a failure must always fit into one packet, or nobody hears of it.
    private static let longest = (subject: 1000, message: 4000)

    public init(step: String, call: String, errno: Int32, subject: String, message: String) {
        self.step = step
        self.call = call
        self.errno = errno
        self.subject = ErrorSentence.shortened(subject, to: Self.longest.subject)
        self.message = ErrorSentence.shortened(message, to: Self.longest.message)
    }
}
