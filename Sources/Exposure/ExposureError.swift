/// What cannot be scored, in one sentence that names the thing and the remedy.
public struct ExposureError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String
    public init(_ message: String) { self.message = message }
    public var description: String { message }
}
