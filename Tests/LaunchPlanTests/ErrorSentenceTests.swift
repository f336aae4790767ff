import Testing

@testable import LaunchPlan

@Suite("What a user is told")
struct ErrorSentenceTests {
    @Test("Plain text stays as it is")
    func plain() { #expect(ErrorSentence.of("no such file: “ü 日本”") == "no such file: “ü 日本”") }

    @Test("Nothing that a terminal obeys, and no second line")
    func controls() {
        #expect(ErrorSentence.of("a\nb\u{1b}[2J\0\u{202e}x\u{7f}") == #"a\nb\u{1B}[2J\0\u{202E}x\u{7F}"#)
    }

    @Test("What is long keeps its beginning and its end")
    func long() {
        let text = ErrorSentence.of("begin " + String(repeating: "x", count: 70_000) + " end")
        #expect(text.hasPrefix("begin x") && text.hasSuffix("x end"))
        #expect(text.unicodeScalars.count < 1100)
    }
}
