/// Decodes `Decodable` values from JSON. Throws `JSONSyntaxError` or `JSONDecodingError`; what a type's own `init(from:)`
/// throws passes unchanged.
public struct StrictJSONDecoder: Sendable {
    /// What happens to a key that the type does not know.
    public enum UnknownKeys: Sendable {
        /// As the OCI specifications demand of readers.
        case ignore
        /// An error that names the key: for files that only Coffer writes. A key is unknown when the type's coding keys
        /// cannot be made from it, so a type that reads one object through two sets of keys cannot be used with this.
        case reject
    }

    public var unknownKeys: UnknownKeys
    public var parser: JSONParser

    public init(unknownKeys: UnknownKeys = .ignore, parser: JSONParser = JSONParser()) {
        self.unknownKeys = unknownKeys
        self.parser = parser
    }

    public static let rejectUnknownKeys = StrictJSONDecoder(unknownKeys: .reject)

    public func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
        try decode(type, from: parser.parse(bytes))
    }

    public func decode<T: Decodable>(_ type: T.Type, from value: JSONValue) throws -> T {
        do {
            return try ValueDecoder(value: value, path: nil, unknownKeys: unknownKeys).decode(type)
        } catch let error as DecodingError {
            throw JSONDecodingError(error)
        }
    }
}

/// Decodes one value; `path` says where it stands.
struct ValueDecoder: Decoder {
    let value: JSONValue
    let path: CodingPathNode?
    let unknownKeys: StrictJSONDecoder.UnknownKeys

    var codingPath: [any CodingKey] { StrictJSON.codingPath(to: path) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if type == JSONValue.self, let value = value as? T { return value }
        if type == [String].self, let strings = strings as? T { return strings }
        return try T(from: self)
    }

    /// An array that holds nothing but strings, without a decoder for each; nil when this is none.
    private var strings: [String]? {
        guard case .array(let elements) = value else { return nil }
        var result: [String] = []
        result.reserveCapacity(elements.count)
        for element in elements {
            guard case .string(let text) = element else { return nil }
            result.append(text)
        }
        return result
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let object) = value else { throw mismatch("an object") }
        if unknownKeys == .reject {
            for entry in object where Key(stringValue: entry.key) == nil {
                throw JSONDecodingError(codingPath, "the key “\(entry.key)” is not known")
            }
        }
        return KeyedDecodingContainer(KeyedValues<Key>(object: object, decoder: self))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else { throw mismatch("an array") }
        return UnkeyedValues(elements: elements, decoder: self)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

    func mismatch(_ wanted: String) -> JSONDecodingError {
        JSONDecodingError(codingPath, "expected \(wanted), found \(value.kind)")
    }

    func bool() throws -> Bool {
        guard case .bool(let value) = value else { throw mismatch("true or false") }
        return value
    }

    func string() throws -> String {
        guard case .string(let value) = value else { throw mismatch("a string") }
        return value
    }

    func double() throws -> Double {
        guard case .number(let number) = value else { throw mismatch("a number") }
        let double = number.double
        guard double.isFinite else { throw JSONDecodingError(codingPath, "the number \(number.text) is too large") }
        return double
    }

    func integer<T: FixedWidthInteger>(_ type: T.Type) throws -> T {
        guard case .number(let number) = value else { throw mismatch("a whole number") }
        if let integer = number.integer(type) { return integer }
        if case .text(let text) = number, text.contains(where: { ".eE".contains($0) }) {
            throw JSONDecodingError(codingPath, "expected a whole number, found \(text)")
        }
        throw JSONDecodingError(codingPath, "the number \(number.text) is not within \(type.min)…\(type.max)")
    }
}

extension ValueDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { if case .null = value { true } else { false } }
    func decode(_ type: Bool.Type) throws -> Bool { try bool() }
    func decode(_ type: String.Type) throws -> String { try string() }
    func decode(_ type: Double.Type) throws -> Double { try double() }
    func decode(_ type: Float.Type) throws -> Float { Float(try double()) }
    func decode(_ type: Int.Type) throws -> Int { try integer(type) }
    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: Int16.Type) throws -> Int16 { try integer(type) }
    func decode(_ type: Int32.Type) throws -> Int32 { try integer(type) }
    func decode(_ type: Int64.Type) throws -> Int64 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt32.Type) throws -> UInt32 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }
}

private struct KeyedValues<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let object: JSONObject
    let decoder: ValueDecoder

    var codingPath: [any CodingKey] { decoder.codingPath }
    var allKeys: [Key] { object.compactMap { Key(stringValue: $0.key) } }

    func contains(_ key: Key) -> Bool { object.position(of: key.stringValue) != nil }

    /// The value of a key that must be there. Making a decoder for it allocates its place in the coding path.
    private func member(_ key: Key) throws -> ValueDecoder {
        guard let value = object[key.stringValue] else {
            throw JSONDecodingError(codingPath, "the key “\(key.stringValue)” is missing")
        }
        return ValueDecoder(
            value: value, path: CodingPathNode(key, in: decoder.path), unknownKeys: decoder.unknownKeys)
    }

    func decodeNil(forKey key: Key) throws -> Bool { try member(key).decodeNil() }

    func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool {
        if case .bool(let value)? = object[key.stringValue] { return value }
        return try member(key).bool()
    }

    func decode(_ type: String.Type, forKey key: Key) throws -> String {
        if case .string(let value)? = object[key.stringValue] { return value }
        return try member(key).string()
    }

    func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try member(key).double() }
    func decode(_ type: Float.Type, forKey key: Key) throws -> Float { Float(try member(key).double()) }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try member(key).integer(type) }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try member(key).integer(type) }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try member(key).integer(type) }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try member(key).integer(type) }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try member(key).integer(type) }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try member(key).integer(type) }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try member(key).integer(type) }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try member(key).integer(type) }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try member(key).integer(type) }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try member(key).integer(type) }
    func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try member(key).decode(type) }

    func decodeIfPresent<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T? {
        switch object[key.stringValue] {
        case nil, .null: nil
        case .some: try member(key).decode(type)
        }
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Nested> {
        try member(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try member(key).unkeyedContainer()
    }

    func superDecoder() throws -> any Decoder { try superDecoder(named: "super") }
    func superDecoder(forKey key: Key) throws -> any Decoder { try superDecoder(named: key.stringValue) }

    /// A missing parent is null, as the protocol asks.
    private func superDecoder(named name: String) throws -> any Decoder {
        ValueDecoder(
            value: object[name] ?? .null, path: CodingPathNode(JSONCodingKey(stringValue: name), in: decoder.path),
            unknownKeys: decoder.unknownKeys)
    }
}

private struct UnkeyedValues: UnkeyedDecodingContainer {
    let elements: [JSONValue]
    let decoder: ValueDecoder
    var currentIndex = 0

    init(elements: [JSONValue], decoder: ValueDecoder) {
        self.elements = elements
        self.decoder = decoder
    }

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    private func current() throws -> ValueDecoder {
        guard !isAtEnd else { throw JSONDecodingError(codingPath, "the array has only \(elements.count) elements") }
        return ValueDecoder(
            value: elements[currentIndex], path: CodingPathNode(JSONCodingKey(intValue: currentIndex), in: decoder.path),
            unknownKeys: decoder.unknownKeys)
    }

    /// The position moves on only when the element could be read.
    private mutating func next<T>(_ read: (ValueDecoder) throws -> T) throws -> T {
        let result = try read(current())
        currentIndex += 1
        return result
    }

    mutating func decodeNil() throws -> Bool {
        let isNull = try current().decodeNil()
        if isNull { currentIndex += 1 }
        return isNull
    }

    mutating func decode(_ type: Bool.Type) throws -> Bool { try next { try $0.bool() } }

    mutating func decode(_ type: String.Type) throws -> String {
        if !isAtEnd, case .string(let value) = elements[currentIndex] {
            currentIndex += 1
            return value
        }
        return try next { try $0.string() }
    }

    mutating func decode(_ type: Double.Type) throws -> Double { try next { try $0.double() } }
    mutating func decode(_ type: Float.Type) throws -> Float { try next { Float(try $0.double()) } }
    mutating func decode(_ type: Int.Type) throws -> Int { try next { try $0.integer(type) } }
    mutating func decode(_ type: Int8.Type) throws -> Int8 { try next { try $0.integer(type) } }
    mutating func decode(_ type: Int16.Type) throws -> Int16 { try next { try $0.integer(type) } }
    mutating func decode(_ type: Int32.Type) throws -> Int32 { try next { try $0.integer(type) } }
    mutating func decode(_ type: Int64.Type) throws -> Int64 { try next { try $0.integer(type) } }
    mutating func decode(_ type: UInt.Type) throws -> UInt { try next { try $0.integer(type) } }
    mutating func decode(_ type: UInt8.Type) throws -> UInt8 { try next { try $0.integer(type) } }
    mutating func decode(_ type: UInt16.Type) throws -> UInt16 { try next { try $0.integer(type) } }
    mutating func decode(_ type: UInt32.Type) throws -> UInt32 { try next { try $0.integer(type) } }
    mutating func decode(_ type: UInt64.Type) throws -> UInt64 { try next { try $0.integer(type) } }

    /// An array of strings asks for `String` through this generic entry; it must not pay for a decoder per element.
    mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
        if type == String.self, let string = try decode(String.self) as? T { return string }
        return try next { try $0.decode(type) }
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        try next { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next { try $0.unkeyedContainer() } }
    mutating func superDecoder() throws -> any Decoder { try next { $0 } }
}

extension JSONValue: Codable {
    /// As a raw part of a document; only this module's decoder and encoder keep numbers and order exactly.
    public init(from decoder: any Decoder) throws {
        if let decoder = decoder as? ValueDecoder {
            self = decoder.value
            return
        }
        throw DecodingError.dataCorrupted(
            .init(codingPath: decoder.codingPath, debugDescription: "raw JSON can only be read by StrictJSONDecoder"))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .number(.signed(let value)): try container.encode(value)
        case .number(.unsigned(let value)): try container.encode(value)
        case .number(.text): try container.encode(double ?? .nan)
        case .array(let elements): try container.encode(elements)
        case .object(let object):
            try container.encode(Dictionary(uniqueKeysWithValues: object.map { ($0.key, $0.value) }))
        }
    }
}
