/// Encodes `Encodable` values as JSON. Members keep the order in which the type encodes them; dictionaries, which have
/// none, are written in the order of their keys' bytes, so that the same value always gives the same bytes.
public struct StrictJSONEncoder: Sendable {
    public var writer: JSONWriter

    public init(_ writer: JSONWriter = .compact) { self.writer = writer }

    /// The document without a final newline. Throws `JSONEncodingError`, and what a type's own `encode(to:)` throws.
    public func encode<T: Encodable>(_ value: T) throws -> [UInt8] { writer.write(try encodeToValue(value)) }

    public func encodeToValue<T: Encodable>(_ value: T) throws -> JSONValue {
        try ValueEncoder(path: nil).encoded(value)
    }
}

/// A value that JSON cannot say.
public struct JSONEncodingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Where, as "linux.resources.memory"; empty for the whole value.
    public let path: String
    public let reason: String
    public var description: String { path.isEmpty ? reason : "\(path): \(reason)" }
}

/// What an encoder was told so far.
private final class Slot {
    enum Content {
        case nothing
        case value(JSONValue)
        case object([(key: String, slot: Slot)], sorted: Bool)
        case array([Slot])
    }

    var content: Content

    init(_ content: Content = .nothing) { self.content = content }

    func becomeObject(sorted: Bool) {
        if case .object = content { return }
        content = .object([], sorted: sorted)
    }

    func becomeArray() {
        if case .array = content { return }
        content = .array([])
    }

    /// A key that is encoded twice keeps its place and its last value.
    func add(_ key: String, _ slot: Slot) {
        guard case .object(var members, let sorted) = content else { return }
        content = .nothing
        if let position = members.firstIndex(where: { $0.key == key }) {
            members[position].slot = slot
        } else {
            members.append((key, slot))
        }
        content = .object(members, sorted: sorted)
    }

    func add(_ slot: Slot) {
        guard case .array(var elements) = content else { return }
        content = .nothing
        elements.append(slot)
        content = .array(elements)
    }

    var count: Int { if case .array(let elements) = content { elements.count } else { 0 } }

    /// A value that encoded nothing is an empty object, as an empty struct is.
    var json: JSONValue {
        switch content {
        case .nothing: return .object(JSONObject())
        case .value(let value): return value
        case .array(let elements): return .array(elements.map(\.json))
        case .object(let members, let sorted):
            var object = JSONObject()
            let ordered = sorted ? members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) } : members
            for member in ordered { object.appendUnchecked(member.key, member.slot.json) }
            return .object(object)
        }
    }
}

/// The key type with which the standard library encodes a dictionary whose keys are strings. It has no public name, so a
/// dictionary is asked once. Asking each value whether it is one (`is`, a conformance) would cost 50 µs for every type that
/// is none: the runtime searches all conformances of the program.
private enum DictionaryKeys {
    static let type: ObjectIdentifier? = {
        let probe = KeyTypeProbe()
        do {
            try [String: Bool]().encode(to: probe)
        } catch {
            return nil  // an empty dictionary has nothing that could fail
        }
        return probe.found
    }()
}

/// Notes the key type of the one keyed container that it is asked for.
private final class KeyTypeProbe: Encoder {
    var found: ObjectIdentifier?
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        found = ObjectIdentifier(type)
        return ValueEncoder(path: nil).container(keyedBy: type, sorted: true)
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer { ValueEncoder(path: nil).unkeyedContainer() }
    func singleValueContainer() -> any SingleValueEncodingContainer { ValueEncoder(path: nil).singleValueContainer() }
}

private struct ValueEncoder: Encoder {
    let path: CodingPathNode?
    let slot = Slot()

    init(path: CodingPathNode?) { self.path = path }

    var codingPath: [any CodingKey] { StrictJSON.codingPath(to: path) }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func encoded<T: Encodable>(_ value: T) throws -> JSONValue { try fill(value).json }

    /// The slot with `value` in it.
    func fill<T: Encodable>(_ value: T) throws -> Slot {
        if T.self == JSONValue.self, let raw = value as? JSONValue { return Slot(.value(raw)) }
        // The names of a filter's calls are most of a config.json: they go without a slot each.
        if T.self == [String].self, let strings = value as? [String] { return Slot(.value(.array(strings.map(JSONValue.string)))) }
        try value.encode(to: self)
        return slot
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        container(keyedBy: type, sorted: ObjectIdentifier(type) == DictionaryKeys.type)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type, sorted: Bool) -> KeyedEncodingContainer<Key> {
        slot.becomeObject(sorted: sorted)
        return KeyedEncodingContainer(KeyedSlots<Key>(slot: slot, path: path))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        slot.becomeArray()
        return UnkeyedSlots(slot: slot, path: path)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { SingleSlot(slot: slot, path: path) }

    static func number(_ value: Double, at path: CodingPathNode?) throws -> JSONValue {
        guard let number = JSONNumber(value) else {
            throw JSONEncodingError(
                path: JSONDecodingError.text(of: StrictJSON.codingPath(to: path)), reason: "JSON has no number for \(value)")
        }
        return .number(number)
    }
}

private struct KeyedSlots<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let slot: Slot
    let path: CodingPathNode?

    var codingPath: [any CodingKey] { StrictJSON.codingPath(to: path) }

    private func set(_ value: JSONValue, _ key: Key) { slot.add(key.stringValue, Slot(.value(value))) }
    private func step(_ key: any CodingKey) -> ValueEncoder { ValueEncoder(path: CodingPathNode(key, in: path)) }

    func encodeNil(forKey key: Key) throws { set(.null, key) }
    func encode(_ value: Bool, forKey key: Key) throws { set(.bool(value), key) }
    func encode(_ value: String, forKey key: Key) throws { set(.string(value), key) }
    func encode(_ value: Double, forKey key: Key) throws {
        set(try ValueEncoder.number(value, at: CodingPathNode(key, in: path)), key)
    }
    func encode(_ value: Float, forKey key: Key) throws { try encode(Double(value), forKey: key) }
    func encode(_ value: Int, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: Int8, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: Int16, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: Int32, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: Int64, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: UInt, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: UInt8, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: UInt16, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: UInt32, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode(_ value: UInt64, forKey key: Key) throws { set(.number(JSONNumber(value)), key) }
    func encode<T: Encodable>(_ value: T, forKey key: Key) throws { slot.add(key.stringValue, try step(key).fill(value)) }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        let encoder = step(key)
        slot.add(key.stringValue, encoder.slot)
        return encoder.container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        let encoder = step(key)
        slot.add(key.stringValue, encoder.slot)
        return encoder.unkeyedContainer()
    }

    func superEncoder() -> any Encoder { superEncoder(JSONCodingKey(stringValue: "super")) }
    func superEncoder(forKey key: Key) -> any Encoder { superEncoder(key) }

    private func superEncoder(_ key: any CodingKey) -> any Encoder {
        let encoder = step(key)
        slot.add(key.stringValue, encoder.slot)
        return encoder
    }
}

private struct UnkeyedSlots: UnkeyedEncodingContainer {
    let slot: Slot
    let path: CodingPathNode?

    var codingPath: [any CodingKey] { StrictJSON.codingPath(to: path) }
    var count: Int { slot.count }

    private func add(_ value: JSONValue) { slot.add(Slot(.value(value))) }
    private func step() -> ValueEncoder { ValueEncoder(path: CodingPathNode(JSONCodingKey(intValue: count), in: path)) }

    func encodeNil() throws { add(.null) }
    func encode(_ value: Bool) throws { add(.bool(value)) }
    func encode(_ value: String) throws { add(.string(value)) }
    func encode(_ value: Double) throws {
        add(try ValueEncoder.number(value, at: CodingPathNode(JSONCodingKey(intValue: count), in: path)))
    }
    func encode(_ value: Float) throws { try encode(Double(value)) }
    func encode(_ value: Int) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: Int8) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: Int16) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: Int32) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: Int64) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: UInt) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: UInt8) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: UInt16) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: UInt32) throws { add(.number(JSONNumber(value))) }
    func encode(_ value: UInt64) throws { add(.number(JSONNumber(value))) }
    func encode<T: Encodable>(_ value: T) throws {
        if T.self == String.self, let string = value as? String { add(.string(string)) } else { slot.add(try step().fill(value)) }
    }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        let encoder = step()
        slot.add(encoder.slot)
        return encoder.container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        let encoder = step()
        slot.add(encoder.slot)
        return encoder.unkeyedContainer()
    }

    func superEncoder() -> any Encoder {
        let encoder = step()
        slot.add(encoder.slot)
        return encoder
    }
}

private struct SingleSlot: SingleValueEncodingContainer {
    let slot: Slot
    let path: CodingPathNode?

    var codingPath: [any CodingKey] { StrictJSON.codingPath(to: path) }

    private func set(_ value: JSONValue) { slot.content = .value(value) }

    func encodeNil() throws { set(.null) }
    func encode(_ value: Bool) throws { set(.bool(value)) }
    func encode(_ value: String) throws { set(.string(value)) }
    func encode(_ value: Double) throws { set(try ValueEncoder.number(value, at: path)) }
    func encode(_ value: Float) throws { try encode(Double(value)) }
    func encode(_ value: Int) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: Int8) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: Int16) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: Int32) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: Int64) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: UInt) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: UInt8) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: UInt16) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: UInt32) throws { set(.number(JSONNumber(value))) }
    func encode(_ value: UInt64) throws { set(.number(JSONNumber(value))) }
    func encode<T: Encodable>(_ value: T) throws { slot.content = try ValueEncoder(path: path).fill(value).content }
}
