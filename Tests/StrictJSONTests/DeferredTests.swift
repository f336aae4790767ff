import StrictJSON
import Testing

@Suite("a deferred part")
struct DeferredTests {
    struct Document: Codable, Equatable {
        var name: String
        var rules: Deferred<[Rule]>?
    }
    struct Rule: Codable, Equatable, Sendable { var names: [String] }

    private func read(_ text: String) throws -> Document { try StrictJSONDecoder().decode(Document.self, from: Array(text.utf8)) }

    @Test func isDecodedWhenAskedFor() throws {
        let document = try read(#"{"name":"a","rules":[{"names":["read","write"]}]}"#)
        #expect(try document.rules?.decoded() == [Rule(names: ["read", "write"])])
        #expect(document == Document(name: "a", rules: Deferred([Rule(names: ["read", "write"])])))
        #expect(document != Document(name: "a", rules: Deferred([Rule(names: ["read"])])))
    }

    @Test func isWrittenAsItWasRead() throws {
        let text = #"{"name":"a","rules":[{"names":["read"],"more":1}]}"#
        #expect(String(decoding: try StrictJSONEncoder().encode(try read(text)), as: UTF8.self) == text)
        let made = Document(name: "a", rules: Deferred([Rule(names: ["read"])]))
        #expect(String(decoding: try StrictJSONEncoder().encode(made), as: UTF8.self) == #"{"name":"a","rules":[{"names":["read"]}]}"#)
    }

    @Test(arguments: [#""text""#, "5", "[5]", #"[{"names":"read"}]"#, "[{}]"])
    func ofAWrongTypeIsRefusedWhenAskedFor(_ rules: String) throws {
        let document = try read(#"{"name":"a","rules":\#(rules)}"#)
        #expect(throws: JSONDecodingError.self) { try document.rules?.decoded() }
    }

    @Test func missingAndNullAreNone() throws {
        #expect(try read(#"{"name":"a"}"#).rules == nil)
        #expect(try read(#"{"name":"a","rules":null}"#).rules == nil)
    }

    @Test func arraysOfStringsAreStrict() throws {
        #expect(try StrictJSONDecoder().decode([String].self, from: Array(#"["a",""]"#.utf8)) == ["a", ""])
        #expect(throws: JSONDecodingError.self) { try StrictJSONDecoder().decode([String].self, from: Array(#"["a",1]"#.utf8)) }
        #expect(String(decoding: try StrictJSONEncoder().encode(["a", "b\n"]), as: UTF8.self) == #"["a","b\n"]"#)
    }
}
