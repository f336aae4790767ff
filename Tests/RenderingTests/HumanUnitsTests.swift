import Glibc
import Testing

@testable import Rendering

@Suite struct HumanUnitsTests {
    @Test(
        arguments: [
            (0, "Less than a second"), (0.9, "Less than a second"), (-5, "Less than a second"), (1, "1 second"),
            (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"), (3540, "59 minutes"),
            (3600, "About an hour"), (5399, "About an hour"), (5400, "2 hours"), (169_200, "47 hours"), (172_800, "2 days"),
            (1_123_200, "13 days"), (1_209_600, "2 weeks"), (5_097_600, "8 weeks"), (5_184_000, "2 months"),
            (62_985_600, "24 months"), (63_072_000, "2 years"),
        ] as [(Double, String)])
    func durations(seconds: Double, expected: String) {
        #expect(HumanUnits.duration(seconds: seconds) == expected)
    }

    @Test(
        arguments: [
            (0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.23MB"), (124_000_000, "124MB"), (1_860_000_000, "1.86GB"),
            (18_446_744_073_709_551_615, "18.4EB"),
        ] as [(UInt64, String)])
    func sizes(bytes: UInt64, expected: String) {
        #expect(HumanUnits.size(bytes) == expected)
    }

    @Test func whatATerminalWouldObeyIsShown() {
        #expect(HumanUnits.printable("a\u{1b}[2J\n") == "a\\u{1B}[2J\\n")
        #expect(HumanUnits.printable("\u{202e}\u{2066}\u{2028}") == "\\u{202E}\\u{2066}\\u{2028}")
        #expect(HumanUnits.printable("ü 日本 👩‍🚀") == "ü 日本 👩‍🚀")
    }

    @Test func otherUnits() {
        #expect(HumanUnits.size(1_234_567, precision: 4) == "1.235MB")
        #expect(HumanUnits.binarySize(104_857_600) == "100MiB")
        #expect(HumanUnits.binarySize(1_234_567) == "1.177MiB")
        #expect(HumanUnits.shortID("sha256:0123456789abcdef") == "0123456789ab")
        #expect(HumanUnits.shortID("0123456789abcdef") == "0123456789ab")
        #expect(HumanUnits.ellipsis("abcdef", width: 4) == "abc…")
        #expect(HumanUnits.ellipsis("abcd", width: 4) == "abcd")
        #expect(HumanUnits.since(Timestamp(seconds: 100), now: Timestamp(seconds: 230)) == "2 minutes ago")
    }

    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0, 0), ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2024-05-01T12:00:00+02:00", 1_714_557_600, 0), ("1969-12-31T23:59:59.000000001Z", -1, 1),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0), ("2024-05-01T10:00:00.1234567899Z", 1_714_557_600, 123_456_789),
        ] as [(String, Int64, Int32)])
    func readsTimestamps(text: String, seconds: Int64, nanoseconds: Int32) {
        #expect(Timestamp(rfc3339: text) == Timestamp(seconds: seconds, nanoseconds: nanoseconds))
    }

    @Test(arguments: [
        "", "2024", "2024-05-01", "2024-13-01T00:00:00Z", "2024-05-01T24:00:00Z", "2024-05-01T00:00:00", "2024-05-01T00:00:00.Z",
        "2024-05-01T00:00:00+2:00", "2024-05-01T00:00:00Zx", "2024-05-01 00:00:00Z", "2024-05-0١T00:00:00Z",
    ])
    func refusesOtherTimestamps(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test func writesTimestamps() throws {
        let moment = try #require(Timestamp(rfc3339: "2024-05-01T12:00:00.120+02:00"))
        #expect(moment.rfc3339 == "2024-05-01T10:00:00.12Z")
        #expect(moment.goText == "2024-05-01 10:00:00 +0000 UTC")
        #expect(Timestamp.zero.rfc3339 == "0001-01-01T00:00:00Z")
        for day in stride(from: Int64(-800_000), to: 800_000, by: 997) {
            let moment = Timestamp(seconds: day * 86400 + 86399)
            if moment >= .zero { #expect(Timestamp(rfc3339: moment.rfc3339) == moment) }
        }
    }
}

@Suite struct ProgressBarsTests {
    /// What is drawn into a pipe by `body`.
    private func drawn(inPlace: Bool, quiet: Bool = false, _ body: (ProgressBars) -> Void) throws -> String {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        body(ProgressBars(descriptor: ends[1], isQuiet: quiet, isInPlace: inPlace))
        close(ends[1])
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = read(ends[0], &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func logsGetTheEndOnly() throws {
        let text = try drawn(inPlace: false) { bars in
            bars.set("abc", "Waiting", isPassing: true)
            for done in 0..<100 { bars.advance("abc", "Downloading", done: UInt64(done), total: 100) }
            bars.set("def\u{1b}[2J", "Already exists")
            bars.set("abc", "Pull complete")
            bars.set("abc", "Pull complete")
            bars.finish()
        }
        #expect(text == "def\\u{1B}[2J: Already exists\nabc: Pull complete\n")
    }

    @Test func inPlaceMovesUpByWhatWasDrawn() throws {
        let text = try drawn(inPlace: true) { bars in
            bars.set("a", "Waiting")
            bars.set("b", "Waiting")
            bars.set("a", "Done")
        }
        #expect(
            text
                == "\ra: Waiting\u{1b}[K\n\u{1b}[1A\ra: Waiting\u{1b}[K\n\rb: Waiting\u{1b}[K\n\u{1b}[2A\ra: Done\u{1b}[K\n\rb: Waiting\u{1b}[K\n"
        )
    }

    @Test func quietDrawsNothing() throws {
        #expect(try drawn(inPlace: true, quiet: true) { $0.set("a", "b") } == "")
    }

    @Test func barsFitTheTerminal() {
        let line = ProgressBars.Line(label: "0123456789ab", state: "Downloading", done: 50_000_000, total: 100_000_000)
        #expect(ProgressBars.text(of: line, width: 70) == "0123456789ab: Downloading [===============>              ] 50MB/100MB")
        for width in 1...200 { #expect(ProgressBars.text(of: line, width: width).count <= width) }
        let over = ProgressBars.Line(label: "a", state: "b", done: 9, total: 3)
        #expect(ProgressBars.text(of: over, width: 80).contains("[" + String(repeating: "=", count: 50) + "]"))
    }
}
