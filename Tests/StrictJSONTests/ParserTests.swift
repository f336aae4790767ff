import StrictJSON
import Testing

@Suite struct ParserTests {
    @Test(
        arguments: [
            ("null", JSONValue.null), (" true ", true), ("\t[\n]\r", []), ("{}", [:]), ("-9223372036854775808", .number(.signed(.min))),
            ("18446744073709551615", .number(.unsigned(.max))), ("0", 0), ("[1,[2,[]]]", [1, [2, []]]), ("1.50", .number(.text("1.50"))),
            ("-0", .number(.text("-0"))), ("1E+2", .number(.text("1E+2"))),
            ("18446744073709551616", .number(.text("18446744073709551616"))),
            (#""a\"\\\/\b\f\n\r\t\u0041\u00e9é""#, "a\"\\/\u{8}\u{c}\n\r\tAéé"), (#""\ud83d\ude00""#, "😀"), (#""\u0000""#, "\u{0}"),
            (#"{"b":1,"a":{"c":null}}"#, ["b": 1, "a": ["c": nil]]), ("\"\u{7f}😀\u{FFFF}\"", "\u{7f}😀\u{FFFF}"),
        ] as [(String, JSONValue)])
    func accepts(_ text: String, _ value: JSONValue) throws {
        #expect(try JSONParser().parse(text) == value)
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "tru", "01", "-", "-01", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "Infinity", "[1,]", "[,1]", "[1 2]",
        "[", "{",
        "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "\"a",
        "\"\\\"",
        "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"a\u{1}\"", "\"a\nb\"", "1 2", "{} x",
        "\u{FEFF}{}", "// a\n1", "\u{a0}1",
    ])
    func refuses(_ text: String) {
        #expect(throws: JSONSyntaxError.self) { try JSONParser().parse(text) }
    }

    @Test(
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82], [0xFF],
        ] as [[UInt8]])
    func refusesInvalidUTF8(_ sequence: [UInt8]) throws {
        for prefix in [Array("\"ab".utf8), Array("\"\\n".utf8)] {
            let error = #expect(throws: JSONSyntaxError.self) { try JSONParser().parse(prefix + sequence + Array("\"".utf8)) }
            #expect(error?.offset == 3)
            #expect(error?.reason == "the text is not valid UTF-8")
        }
    }

    @Test func namesTheKeyThatOccursTwice() throws {
        let error = #expect(throws: JSONSyntaxError.self) { try JSONParser().parse("{\n \"é\": 1, \"é\": 2}") }
        #expect(error?.description == "invalid JSON at line 2, column 10 (byte 12): the key “é” occurs twice in one object")
    }

    @Test func findsDuplicatesAmongManyKeys() throws {
        let members = (0..<200).map { "\"key\($0)\":\($0)" }
        #expect(try JSONParser().parse("{" + members.joined(separator: ",") + "}")["key150"] == 150)
        #expect(throws: JSONSyntaxError.self) { try JSONParser().parse("{" + (members + ["\"key7\":0"]).joined(separator: ",") + "}") }
    }

    @Test func limitsDepth() throws {
        let deep = { (count: Int) in String(repeating: "[", count: count) + String(repeating: "]", count: count) }
        #expect(throws: Never.self) { try JSONParser().parse(deep(128)) }
        let error = #expect(throws: JSONSyntaxError.self) { try JSONParser().parse(deep(129)) }
        #expect(error?.offset == 128)
        #expect(throws: JSONSyntaxError.self) { try JSONParser().parse(String(repeating: "[{\"a\":", count: 1_000_000)) }
        // Depth is of nesting, not of how many arrays there are.
        #expect(throws: Never.self) { try JSONParser(maximumDepth: 2).parse("[[],[],[],{}]") }
    }

    @Test func everyPrefixOfADocumentIsRefused() throws {
        let text = #"{"a":[1.5e3,true,"\ud83d\ude00é",null],"b":{"c":"d"}}"#
        let bytes = Array(text.utf8)
        #expect(throws: Never.self) { try JSONParser().parse(bytes) }
        for length in 0..<bytes.count {
            #expect(throws: JSONSyntaxError.self) { try JSONParser().parse(Array(bytes[..<length])) }
        }
    }

    @Test func errorsPointAtTheByte() {
        let error = #expect(throws: JSONSyntaxError.self) { try JSONParser().parse("{\"a\": [1,\n  x]}") }
        #expect(error?.offset == 12)
        #expect(error?.line == 2)
        #expect(error?.column == 3)
        #expect(error?.reason == "found “x” where a value should be")
    }
}

@Suite struct WriterTests {
    @Test func writesWhatItReads() throws {
        let text = #"{"b":[1,-2,18446744073709551615,1.50,"\"\\\n\u0001é/"],"a":{},"c":[],"d":null,"e":false}"#
        #expect(JSONWriter.compact.text(try JSONParser().parse(text)) == text)
    }

    @Test func sortsByBytes() throws {
        let value = try JSONParser().parse(#"{"b":1,"é":2,"B":3,"a":{"z":1,"y":2}}"#)
        #expect(JSONWriter(keyOrder: .sorted).text(value) == #"{"B":3,"a":{"y":2,"z":1},"b":1,"é":2}"#)
    }

    @Test func layoutOfDockerInspect() throws {
        let value = try JSONParser().parse(#"[{"Id":"x","A":[],"B":{},"C":[1,2]}]"#)
        #expect(
            JSONWriter.docker.text(value) == """
                [
                    {
                        "Id": "x",
                        "A": [],
                        "B": {},
                        "C": [
                            1,
                            2
                        ]
                    }
                ]
                """)
    }

    @Test func escapesAsGoDoes() {
        let writer = JSONWriter(escapesHTML: true)
        #expect(writer.text("<a>&\u{2028}\u{2029}é") == #""\u003ca\u003e\u0026\u2028\u2029é""#)
        #expect(JSONWriter.compact.text("<a>&\u{2028}") == "\"<a>&\u{2028}\"")
    }

    @Test func doublesReadBackExactly() throws {
        for double in [0.1, 1e300, Double.leastNonzeroMagnitude, -0.0, 3, 1e15, 123456789.125, Double.greatestFiniteMagnitude] {
            let number = try #require(JSONNumber(double))
            let back = try #require(JSONParser().parse(number.text).double)
            #expect(back.bitPattern == double.bitPattern)
        }
        #expect(JSONNumber(3.0)?.text == "3")
        #expect(JSONNumber(Double.infinity) == nil)
        #expect(JSONNumber(Double.nan) == nil)
    }
}

@Suite struct ObjectTests {
    @Test func keepsOrderAndReplacesInPlace() {
        var object: JSONObject = ["b": 1, "a": 2]
        object["b"] = 3
        object["c"] = 4
        object["a"] = nil
        #expect(object.keys == ["b", "c"])
        #expect(object["b"] == 3)
        #expect(object == ["c": 4, "b": 3])
    }

    @Test func growsAndShrinksAcrossTheIndex() {
        var object = JSONObject()
        for number in 0..<40 { object["k\(number)"] = .number(JSONNumber(number)) }
        for number in 0..<30 { object["k\(number)"] = nil }
        #expect(object.keys == (30..<40).map { "k\($0)" })
        #expect(object["k35"] == 35)
        #expect(object["k3"] == nil)
    }
}
