/// The members of an object by name and kind, for a type that reads its document itself: `Codable`'s keyed containers are generic over the keys, and
/// the Swift runtime searches every conformance of the program when it meets the first of each
/// (docs/decisions/0006-what-a-start-costs.md).
public struct JSONMembers {
    private let object: JSONObject
    private let path: [any CodingKey]

    /// - Parameter path: where `value` stands, for errors.
    /// - Throws: `JSONDecodingError` when it is no object.
    public init(of value: JSONValue, path: [any CodingKey] = []) throws(JSONDecodingError) {
        guard let object = value.object else { throw JSONDecodingError(path, "expected an object, found \(value.kind)") }
        self.object = object
        self.path = path
    }

    /// Whether the member is there and not null.
    public func isPresent(_ name: String) -> Bool { object[name].map { !$0.isNull } ?? false }

    public func value(_ name: String) throws(JSONDecodingError) -> JSONValue {
        guard let value = object[name] else { throw JSONDecodingError(path, "the key “\(name)” is missing") }
        return value
    }

    public func string(_ name: String) throws(JSONDecodingError) -> String {
        let value = try value(name)
        guard let string = value.string else { throw mismatch(name, "a string", value) }
        return string
    }

    public func bool(_ name: String) throws(JSONDecodingError) -> Bool {
        let value = try value(name)
        guard let bool = value.bool else { throw mismatch(name, "true or false", value) }
        return bool
    }

    public func integer<T: FixedWidthInteger>(_ name: String) throws(JSONDecodingError) -> T {
        let value = try value(name)
        guard let number = value.number else { throw mismatch(name, "a whole number", value) }
        guard let integer = number.integer(T.self) else {
            throw error(name, "the number \(number.text) is no whole number within \(T.min)…\(T.max)")
        }
        return integer
    }

    public func strings(_ name: String) throws(JSONDecodingError) -> [String] {
        let value = try value(name)
        guard let elements = value.array else { throw mismatch(name, "an array", value) }
        var strings: [String] = []
        for element in elements {
            guard let string = element.string else { throw mismatch(name, "an array of strings", element) }
            strings.append(string)
        }
        return strings
    }

    /// An error about a member.
    public func error(_ name: String, _ reason: String) -> JSONDecodingError {
        JSONDecodingError(path + [JSONCodingKey(stringValue: name)], reason)
    }

    private func mismatch(_ name: String, _ wanted: String, _ found: JSONValue) -> JSONDecodingError {
        error(name, "expected \(wanted), found \(found.kind)")
    }
}
