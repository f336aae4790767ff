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

    public init(step: String, call: String, errno: Int32, subject: String, message: String) {
        self.step = step
        self.call = call
        self.errno = errno
        self.subject = subject
        self.message = message
    }
}
