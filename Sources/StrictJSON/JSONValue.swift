/// A JSON document or a part of one (RFC 8259).
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// A JSON number. Integers keep their exact value; everything else keeps its text, so that nothing is rounded on the way through.
public enum JSONNumber: Sendable, Hashable {
    /// A whole number without fraction or exponent that fits into 64 bits with a sign.
    case signed(Int64)
    /// A whole number from 2⁶³ to 2⁶⁴-1.
    case unsigned(UInt64)
    /// Any other number, in the text of the document.
    case text(String)

    /// The nearest Double; infinite when the number is beyond its range.
    public var double: Double {
        switch self {
        case .signed(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .text(let text): Double(text) ?? .nan
        }
    }

    /// The number as an integer type, or nil when it has a fraction, an exponent, or does not fit.
    public func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T? {
        switch self {
        case .signed(let value): T(exactly: value)
        case .unsigned(let value): T(exactly: value)
        case .text: nil
        }
    }

    /// The shortest form that reads back as the same value.
    public init<T: FixedWidthInteger>(_ value: T) {
        if let signed = Int64(exactly: value) {
            self = .signed(signed)
        } else if let unsigned = UInt64(exactly: value) {
            self = .unsigned(unsigned)
        } else {
            self = .text(String(value))
        }
    }

    /// Nil for a value that JSON cannot say (infinite or not a number).
    public init?(_ value: Double) {
        guard value.isFinite else { return nil }
        if let whole = Int64(exactly: value), abs(value) < 9_007_199_254_740_992, !(value == 0 && value.sign == .minus) {
            self = .signed(whole)
        } else {
            self = .text(value.description)
        }
    }

    /// As it is written in a document.
    public var text: String {
        switch self {
        case .signed(let value): String(value)
        case .unsigned(let value): String(value)
        case .text(let text): text
        }
    }
}

/// A JSON object: keys in the order of the document, each once.
///
/// Keys are equal as Swift strings are, that is, also when they differ only in Unicode normalisation: two such keys would
/// be one key in a dictionary, and are refused by the parser for the same reason as identical ones.
public struct JSONObject: Sendable {
    public struct Entry: Sendable, Hashable {
        public let key: String
        public fileprivate(set) var value: JSONValue
    }

    public private(set) var entries: [Entry]
    /// Positions by key, kept only where a linear search would be slower.
    private var index: [String: Int]?
    private static let linearLimit = 12

    public init() {
        entries = []
        index = nil
    }

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }
    public var keys: [String] { entries.map(\.key) }

    func position(of key: String) -> Int? {
        if let index { return index[key] }
        var position = 0
        while position < entries.count {
            if entries[position].key == key { return position }
            position += 1
        }
        return nil
    }

    /// The value of `key`. Setting a new key appends it; setting nil removes it.
    public subscript(key: String) -> JSONValue? {
        get {
            guard let position = position(of: key) else { return nil }
            return entries[position].value
        }
        set {
            switch (position(of: key), newValue) {
            case (let position?, let value?): entries[position].value = value
            case (nil, let value?): append(key, value)
            case (let position?, nil):
                entries.remove(at: position)
                rebuildIndex()
            case (nil, nil): break
            }
        }
    }

    /// Appends a key; false, and nothing changed, when it exists already.
    mutating func appendIfNew(_ key: String, _ value: JSONValue) -> Bool {
        if position(of: key) != nil { return false }
        append(key, value)
        return true
    }

    /// Appends a key of which the caller knows that it is new.
    mutating func appendUnchecked(_ key: String, _ value: JSONValue) { append(key, value) }

    private mutating func append(_ key: String, _ value: JSONValue) {
        entries.append(Entry(key: key, value: value))
        if index != nil {
            index?[key] = entries.count - 1
        } else if entries.count > Self.linearLimit {
            rebuildIndex()
        }
    }

    private mutating func rebuildIndex() {
        guard entries.count > Self.linearLimit else {
            index = nil
            return
        }
        var positions = [String: Int](minimumCapacity: entries.count * 2)
        for (position, entry) in entries.enumerated() { positions[entry.key] = position }
        index = positions
    }
}

extension JSONObject: Hashable {
    /// Objects are equal when they hold the same members, in whatever order (RFC 8259 section 1).
    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.entries.allSatisfy { right[$0.key] == $0.value }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        for key in keys.sorted() { hasher.combine(key) }
    }
}

extension JSONObject: Sequence {
    public func makeIterator() -> IndexingIterator<[Entry]> { entries.makeIterator() }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    /// Of a key that is written twice the last value counts.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init()
        for (key, value) in elements { self[key] = value }
    }
}

extension JSONValue {
    /// The member `key`, or nil when this is no object or has no such member.
    public subscript(key: String) -> JSONValue? { object?[key] }
    /// Element `position`, or nil when this is no array or is shorter.
    public subscript(position: Int) -> JSONValue? {
        guard let array, array.indices.contains(position) else { return nil }
        return array[position]
    }

    public var isNull: Bool { self == .null }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
    public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
    public var number: JSONNumber? { if case .number(let value) = self { value } else { nil } }
    public var int64: Int64? { number?.integer() }
    public var uint64: UInt64? { number?.integer() }
    public var double: Double? { number?.double }

    /// What kind of value this is, for messages.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a Boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .number(.signed(value)) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(nilLiteral: ()) { self = .null }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}
