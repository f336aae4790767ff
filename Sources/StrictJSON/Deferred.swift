/// A part of a document that is decoded when somebody asks for it: what is large, and what most readers pass over.
///
/// Only for the decoder and encoder of this module. What is written again without having been asked for is written as it was read.
public struct Deferred<Value: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    private enum Content: Sendable, Equatable {
        case value(Value)
        case document(JSONValue)
    }
    private let content: Content

    public init(_ value: Value) { content = .value(value) }

    /// A part that has not been decoded; whether it can be, is said by `decoded`.
    public init(document: JSONValue) { content = .document(document) }

    public init(from decoder: any Decoder) throws { content = .document(try JSONValue(from: decoder)) }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch content {
        case .value(let value): try container.encode(value)
        case .document(let document): try container.encode(document)
        }
    }

    /// - Throws: `JSONDecodingError`, or what the type's own `init(from:)` throws, when the part is no such value.
    public func decoded() throws -> Value {
        switch content {
        case .value(let value): return value
        case .document(let document): return try StrictJSONDecoder().decode(Value.self, from: document)
        }
    }

    /// Whether both say the same, however they are kept. What cannot be decoded equals nothing but itself.
    public static func == (left: Self, right: Self) -> Bool {
        if left.content == right.content { return true }
        do { return try left.decoded() == right.decoded() } catch { return false }
    }
}
