/// A request that cannot be granted, or a document that cannot be understood: one sentence that names the flag or the
/// place and the remedy.
public struct ConfinementError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}
