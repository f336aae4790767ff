/// What the engine could not do, in one sentence for the user, with the exit code that Docker gives the same failure.
public struct EngineError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Exit codes as Docker's (docker-run(1), EXIT STATUS).
    public enum Code: Int32, Sendable {
        /// A command about containers failed (`rm`, `stop`, …).
        case failure = 1
        /// The engine itself failed, or a flag was wrong.
        case engine = 125
        /// The contained command was found but cannot be invoked.
        case notExecutable = 126
        /// The contained command was not found.
        case notFound = 127
    }

    /// One sentence that names the thing; no final full stop, no program name.
    public let summary: String
    /// What to do about it, or nil where the summary says enough.
    public let remedy: String?
    public let code: Code

    public init(_ summary: String, remedy: String? = nil, code: Code = .engine) {
        self.summary = summary
        self.remedy = remedy
        self.code = code
    }

    public var description: String { remedy.map { "\(summary); \($0)" } ?? summary }
}

extension EngineError {
    /// No container has this name or ID; Docker's text, which scripts match.
    public static func noSuchContainer(_ reference: String) -> EngineError {
        EngineError("No such container: \(reference)", code: .failure)
    }
}
