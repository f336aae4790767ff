/// A document that is JSON, but not what the type wants.
public struct JSONDecodingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Where, as "linux.resources.devices[2].major"; empty for the whole document.
    public let path: String
    /// What is wrong there, without a full stop.
    public let reason: String

    public init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    public var description: String { path.isEmpty ? reason : "\(path): \(reason)" }

    init(_ codingPath: [any CodingKey], _ reason: String) {
        self.init(path: Self.text(of: codingPath), reason: reason)
    }

    /// The standard library's own errors (an unknown raw value, for instance) in the same form.
    init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(_, let context), .dataCorrupted(let context), .valueNotFound(_, let context):
            self.init(context.codingPath, context.debugDescription)
        case .keyNotFound(let key, let context): self.init(context.codingPath, "the key “\(key.stringValue)” is missing")
        @unknown default: self.init(path: "", reason: "\(error)")
        }
    }

    static func text(of path: [any CodingKey]) -> String {
        var text = ""
        for key in path {
            if let position = key.intValue {
                text += "[\(position)]"
            } else {
                text += text.isEmpty ? key.stringValue : "." + key.stringValue
            }
        }
        return text
    }
}

/// A key for what has no key of its own: positions in arrays.
struct JSONCodingKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        intValue = nil
    }

    init(intValue: Int) {
        stringValue = String(intValue)
        self.intValue = intValue
    }
}

/// A coding path as a list that shares its tail, so that stepping into a value allocates one small object and no array.
final class CodingPathNode: Sendable {
    let parent: CodingPathNode?
    let key: any CodingKey

    init(_ key: any CodingKey, in parent: CodingPathNode?) {
        self.key = key
        self.parent = parent
    }
}

func codingPath(to node: CodingPathNode?) -> [any CodingKey] {
    var path: [any CodingKey] = []
    var next = node
    while let node = next {
        path.append(node.key)
        next = node.parent
    }
    path.reverse()
    return path
}
