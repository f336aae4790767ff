import Testing

@testable import Rendering

@Suite struct ListingTests {
    private let listing = Listing(
        columns: [
            .init("ID", "CONTAINER ID"), .init("Names", "NAMES"), .init("Labels", "LABELS"), .init("Size", "SIZE"),
        ],
        defaultColumns: ["ID", "Names"], rowType: "*formatter.ContainerContext")

    private let rows: [TemplateValue] = [
        .object([
            ("Names", "web"), ("ID", "0123456789ab"), ("Labels", "a=1,b=2"), ("Size", "0B"),
            ("Label", .map(["a": "1", "b": "2"])),
        ]),
        .object([
            ("Names", "a-rather-long-name"), ("ID", "ba9876543210"), ("Labels", ""), ("Size", "1.2kB"), ("Label", .map([:])),
        ]),
    ]

    @Test(arguments: [nil, "table", " table "])
    func defaultTable(format: String?) throws {
        #expect(
            try listing.render(rows, format: format) == """
                CONTAINER ID   NAMES
                0123456789ab   web
                ba9876543210   a-rather-long-name

                """)
        #expect(try listing.render([], format: format) == "CONTAINER ID   NAMES\n")
    }

    @Test func chosenColumns() throws {
        #expect(
            try listing.render(rows, format: #"table {{.ID}}\t{{upper .Names}}\t{{.Size}}"#) == """
                CONTAINER ID   NAMES                SIZE
                0123456789ab   WEB                  0B
                ba9876543210   A-RATHER-LONG-NAME   1.2kB

                """)
        #expect(
            try listing.render(rows, format: #"table {{.Size}}\t{{.Label "a"}}"#) == """
                SIZE      a
                0B        1
                1.2kB     \("")

                """)
    }

    @Test func templatesAndJSON() throws {
        #expect(try listing.render(rows, format: #"{{.ID}}\t{{.Names}}"#) == "0123456789ab\tweb\nba9876543210\ta-rather-long-name\n")
        #expect(
            try listing.render(rows, format: "json") == """
                {"ID":"0123456789ab","Labels":"a=1,b=2","Names":"web","Size":"0B"}
                {"ID":"ba9876543210","Labels":"","Names":"a-rather-long-name","Size":"1.2kB"}

                """)
        #expect(try listing.render([], format: "json") == "")
    }

    @Test func unknownFieldsNameTheType() {
        let error = #expect(throws: TemplateError.self) { try listing.render(rows, format: "{{.Nope}}") }
        #expect(
            error?.message
                == "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext")
    }

    @Test func hostileNamesDoNotReachTheTerminal() throws {
        let hostile: [TemplateValue] = [.object([("ID", "x"), ("Names", "a\u{1b}]0;owned\u{07}\u{9b}2J\nb")])]
        let text = try listing.render(hostile, format: nil)
        #expect(!text.unicodeScalars.contains { ($0.value < 0x20 && $0 != "\n") || (0x7f...0x9f).contains($0.value) })
        #expect(text.split(separator: "\n").count == 2)
    }

    @Test func inspectPrintsAllOrEach() throws {
        let documents: [TemplateValue] = [.object([("Id", "a"), ("List", []), ("Map", .map([:]))]), .object([("Id", "b")])]
        #expect(
            try InspectOutput.render(documents, format: nil) == """
                [
                    {
                        "Id": "a",
                        "List": [],
                        "Map": {}
                    },
                    {
                        "Id": "b"
                    }
                ]

                """)
        #expect(try InspectOutput.render([], format: nil) == "[]\n")
        #expect(try InspectOutput.render(documents, format: "json") == #"[{"Id":"a","List":[],"Map":{}},{"Id":"b"}]"# + "\n")
        #expect(try InspectOutput.render(documents, format: "{{.Id}}") == "a\nb\n")
    }

    @Test func wideCharactersTakeTwoColumns() {
        #expect(Table.layOut([["日本日本日本", "x"], ["abc", "y"]]) == "日本日本日本   x\nabc            y\n")
    }
}
