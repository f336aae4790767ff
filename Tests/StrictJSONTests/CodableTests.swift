import StrictJSON
import Testing

private struct Inner: Codable, Equatable {
    var major: Int64
    var name: String?
}

private enum Shape: Codable, Equatable {
    case point
    case circle(radius: Double)
    case boxed(Inner)
}

private enum Colour: String, Codable { case red, green }

private struct Everything: Codable, Equatable {
    var bool = true
    var int: Int = -1
    var int8: Int8 = .min
    var int16: Int16 = .max
    var int32: Int32 = .min
    var int64: Int64 = .max
    var uint: UInt = 1
    var uint8: UInt8 = .max
    var uint16: UInt16 = .max
    var uint32: UInt32 = .max
    var uint64: UInt64 = .max
    var double = 0.1
    var float: Float = 1.5
    var text = "é\n"
    var absent: String?
    var present: Int? = 3
    var list = [Inner(major: 1, name: nil), Inner(major: 2, name: "x")]
    var nested = [[1, 2], []]
    var optionals: [Int?] = [1, nil]
    var table = ["b": Inner(major: 3, name: nil), "a": Inner(major: 4, name: nil)]
    var byNumber = [7: "x"]
    var shapes: [Shape] = [.point, .circle(radius: 2), .boxed(Inner(major: 5, name: "y"))]
    var colour = Colour.green
    var raw: JSONValue = ["z": [1, nil, .number(.text("18.5"))], "y": true]
    var bools = [true, false]
    var numbers: [UInt64] = [.max, 0]
    var doubles = [1.25, 2]
}

private class Base: Codable {
    var a: Int
    init(a: Int) { self.a = a }
}

private final class Derived: Base {
    var b: Int
    enum CodingKeys: CodingKey { case b }
    init(a: Int, b: Int) {
        self.b = b
        super.init(a: a)
    }
    required init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        b = try container.decode(Int.self, forKey: .b)
        try super.init(from: container.superDecoder())
    }
    override func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(b, forKey: .b)
        try super.encode(to: container.superEncoder())
    }
}

/// Walks containers by hand: nested ones of both kinds.
private struct ByHand: Codable, Equatable {
    var x: Int
    var y: [Int]
    enum CodingKeys: CodingKey { case outer, list }
    enum Deep: CodingKey { case x }
    init(x: Int, y: [Int]) {
        self.x = x
        self.y = y
    }
    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        x = try container.nestedContainer(keyedBy: Deep.self, forKey: .outer).decode(Int.self, forKey: .x)
        var list = try container.nestedUnkeyedContainer(forKey: .list)
        var inner = try list.nestedUnkeyedContainer()
        y = []
        while !inner.isAtEnd { y.append(try inner.decode(Int.self)) }
        let keyed = try list.nestedContainer(keyedBy: Deep.self)
        y.append(try keyed.decode(Int.self, forKey: .x))
    }
    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        var outer = container.nestedContainer(keyedBy: Deep.self, forKey: .outer)
        try outer.encode(x, forKey: .x)
        var list = container.nestedUnkeyedContainer(forKey: .list)
        var inner = list.nestedUnkeyedContainer()
        for value in y.dropLast() { try inner.encode(value) }
        var keyed = list.nestedContainer(keyedBy: Deep.self)
        try keyed.encode(y.last, forKey: .x)
    }
}

private func decode<T: Decodable>(_ type: T.Type, _ text: String, _ decoder: StrictJSONDecoder = .init()) throws -> T {
    try decoder.decode(type, from: Array(text.utf8))
}

@Suite struct CodableTests {
    @Test func everythingComesBack() throws {
        let value = Everything()
        for writer in [JSONWriter.compact, .pretty, .docker, JSONWriter(keyOrder: .sorted, escapesHTML: true)] {
            let bytes = try StrictJSONEncoder(writer).encode(value)
            #expect(try StrictJSONDecoder.rejectUnknownKeys.decode(Everything.self, from: bytes) == value)
        }
    }

    @Test func membersKeepTheOrderOfTheTypeAndDictionariesAreSorted() throws {
        let bytes = try StrictJSONEncoder().encode(["b": Inner(major: 1, name: "n"), "a": Inner(major: 2, name: nil)])
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"a":{"major":2},"b":{"major":1,"name":"n"}}"#)
    }

    @Test func enumsAreWrittenAsTheStandardLibrarySynthesisesThem() throws {
        let bytes = try StrictJSONEncoder().encode([Shape.point, .circle(radius: 1), .boxed(Inner(major: 1, name: nil))])
        #expect(String(decoding: bytes, as: UTF8.self) == #"[{"point":{}},{"circle":{"radius":1}},{"boxed":{"_0":{"major":1}}}]"#)
        #expect(throws: JSONDecodingError.self) { try decode(Shape.self, #"{"point":{},"circle":{"radius":1}}"#) }
        #expect(throws: JSONDecodingError.self) { try decode(Shape.self, #"{"square":{}}"#) }
    }

    @Test func inheritanceAndNestedContainers() throws {
        let bytes = try StrictJSONEncoder().encode(Derived(a: 1, b: 2))
        #expect(String(decoding: bytes, as: UTF8.self) == #"{"b":2,"super":{"a":1}}"#)
        let back = try StrictJSONDecoder().decode(Derived.self, from: bytes)
        #expect(back.a == 1 && back.b == 2)
        let hand = ByHand(x: 1, y: [2, 3, 4])
        let text = try StrictJSONEncoder().encode(hand)
        #expect(String(decoding: text, as: UTF8.self) == #"{"outer":{"x":1},"list":[[2,3],{"x":4}]}"#)
        #expect(try StrictJSONDecoder().decode(ByHand.self, from: text) == hand)
    }

    @Test func scalarsAtTheTop() throws {
        #expect(try decode(Int.self, "3") == 3)
        #expect(try decode([String].self, #"["a"]"#) == ["a"])
        #expect(try decode(Int?.self, "null") == nil)
        #expect(try decode(Colour.self, "\"red\"") == .red)
        #expect(try StrictJSONEncoder().encode("x") == Array("\"x\"".utf8))
        #expect(try StrictJSONEncoder().encode([Int]()) == Array("[]".utf8))
        #expect(try StrictJSONEncoder().encode([String: Int]()) == Array("{}".utf8))
    }

    @Test func nullIsAbsent() throws {
        #expect(try decode(Inner.self, #"{"major":1,"name":null}"#) == Inner(major: 1, name: nil))
        let error = #expect(throws: JSONDecodingError.self) { try decode(Inner.self, #"{"major":null}"#) }
        #expect(error?.description == "major: expected a whole number, found null")
    }

    @Test(arguments: [
        (#"{"list":[{"value":4294967296}]}"#, "list[0].value: the number 4294967296 is not within 0…4294967295"),
        (#"{"list":[{"value":0},{"value":-1}]}"#, "list[1].value: the number -1 is not within 0…4294967295"),
        (#"{"list":[{"value":1.5}]}"#, "list[0].value: expected a whole number, found 1.5"),
        (#"{"list":[{"value":99999999999999999999999}]}"#, "list[0].value: the number 99999999999999999999999 is not within 0…4294967295"),
        (#"{"list":[{"value":"1"}]}"#, "list[0].value: expected a whole number, found a string"),
        (#"{"list":[{}]}"#, "list[0]: the key “value” is missing"), (#"{"list":{}}"#, "list: expected an array, found an object"),
        (#"{"list":[3]}"#, "list[0]: expected an object, found a number"), (#"[]"#, "expected an object, found an array"),
        (#"{"list":[],"colour":"blue"}"#, "colour: Cannot initialize Colour from invalid String value blue"),
    ])
    func errorsNameTheKeyPath(_ text: String, _ message: String) {
        struct Entry: Decodable { var value: UInt32 }
        struct Document: Decodable {
            var list: [Entry]
            var colour: Colour?
        }
        let error = #expect(throws: JSONDecodingError.self) { try decode(Document.self, text) }
        #expect(error?.description == message)
    }

    @Test func rangesOfEveryInteger() throws {
        #expect(try decode(UInt64.self, "18446744073709551615") == .max)
        #expect(throws: JSONDecodingError.self) { try decode(Int64.self, "9223372036854775808") }
        #expect(throws: JSONDecodingError.self) { try decode(UInt64.self, "-1") }
        #expect(throws: JSONDecodingError.self) { try decode(Int32.self, "2147483648") }
        #expect(try decode(Int32.self, "-2147483648") == .min)
        #expect(throws: JSONDecodingError.self) { try decode(UInt8.self, "256") }
        #expect(throws: JSONDecodingError.self) { try decode(Double.self, "1e999") }
        #expect(throws: JSONDecodingError.self) { try decode(Int.self, "1e2") }
    }

    @Test func unknownKeys() throws {
        let text = #"{"major":1,"extra":{"a":1}}"#
        #expect(try decode(Inner.self, text).major == 1)
        let error = #expect(throws: JSONDecodingError.self) { try decode(Inner.self, text, .rejectUnknownKeys) }
        #expect(error?.description == "the key “extra” is not known")
        let nested = #"{"a":{"major":1,"b":2}}"#
        let deep = #expect(throws: JSONDecodingError.self) { try decode([String: Inner].self, nested, .rejectUnknownKeys) }
        #expect(deep?.description == "a: the key “b” is not known")
    }

    @Test func infinityCannotBeWritten() {
        let error = #expect(throws: JSONEncodingError.self) { try StrictJSONEncoder().encode(["a": [1.0, Double.infinity]]) }
        #expect(error?.path == "a[1]")
    }

    @Test func rawValuesKeepNumbersAndOrder() throws {
        struct Holder: Codable { var raw: JSONValue }
        let text = #"{"raw":{"z":1.50,"a":[18446744073709551616,-0]}}"#
        let holder = try decode(Holder.self, text)
        #expect(String(decoding: try StrictJSONEncoder().encode(holder), as: UTF8.self) == text)
    }
}
