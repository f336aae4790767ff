import Testing
import TextSearch

@Suite("a text in a text")
struct TextSearchTests {
    @Test(
        "is found wherever it stands",
        arguments: [
            ("memory.memsw.limit", "memsw", true), ("abc", "abc", true), ("abc", "", true), ("", "", true), ("", "a", false), ("ab", "abc", false),
            ("aab", "ab", true), ("abab", "bb", false), ("größe", "ße", true), ("line\r\nline", "\n", true),
        ])
    func found(_ text: String, _ part: String, _ expected: Bool) {
        #expect(TextSearchTests.holds(text, part) == expected)
        #expect(TextSearchTests.holds(text[...], part) == expected)
    }

    /// Generic, so that no search of the standard library is meant instead.
    private static func holds<Text: StringProtocol>(_ text: Text, _ part: some StringProtocol) -> Bool { text.contains(part) }
}
