import StrictJSON
import Testing

@Suite struct MembersTests {
    private static func members(_ text: String) throws -> JSONMembers { try JSONMembers(of: try JSONParser().parse(text)) }

    @Test func membersAreReadByKind() throws {
        let members = try Self.members(#"{"n": -3, "big": 18446744073709551615, "s": "é", "b": true, "list": ["x", ""], "none": null}"#)
        #expect(try members.integer("n") == Int32(-3))
        #expect(try members.integer("big") == UInt64.max)
        #expect(try members.string("s") == "é")
        #expect(try members.bool("b"))
        #expect(try members.strings("list") == ["x", ""])
        #expect(members.isPresent("n"))
        #expect(!members.isPresent("none"))
        #expect(!members.isPresent("absent"))
    }

    @Test func whatIsMissingOrOfAnotherKindIsNamed() throws {
        let members = try Self.members(#"{"n": 70000, "s": 1, "half": 0.5, "list": ["x", 2], "b": "true"}"#)
        func reason(_ body: () throws -> Void) -> String {
            do {
                try body()
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        #expect(reason { let _: Int16 = try members.integer("n") } == "n: the number 70000 is no whole number within -32768…32767")
        #expect(reason { let _: Int = try members.integer("half") } == "half: the number 0.5 is no whole number within \(Int.min)…\(Int.max)")
        #expect(reason { _ = try members.string("s") } == "s: expected a string, found a number")
        #expect(reason { _ = try members.strings("list") } == "list: expected an array of strings, found a number")
        #expect(reason { _ = try members.bool("b") } == "b: expected true or false, found a string")
        #expect(reason { _ = try members.value("absent") } == "the key “absent” is missing")
        #expect(throws: JSONDecodingError.self) { _ = try JSONMembers(of: .array([])) }
    }
}
