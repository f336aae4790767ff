import Rendering

extension Timestamp {
    /// A moment as users write it for `--since` and `--until`: RFC 3339 (also without time or zone), seconds since the epoch,
    /// or a duration back from now ("10m", "1h30m").
    ///
    /// - Throws: `EngineError` that names the text.
    public init(parsingMoment text: String, now: Timestamp = .now) throws(EngineError) {
        if let exact = Timestamp(rfc3339: text) {
            self = exact
        } else if let date = Timestamp(rfc3339: text + "Z") ?? Timestamp(rfc3339: text + "T00:00:00Z") {
            self = date
        } else if let seconds = Double(text), seconds >= 0, seconds < 1e11 {
            self.init(seconds: Int64(seconds), nanoseconds: Int32((seconds - seconds.rounded(.down)) * 1e9))
        } else if let duration = Self.duration(text) {
            self.init(seconds: now.seconds - Int64(duration), nanoseconds: now.nanoseconds)
        } else {
            throw EngineError("invalid time: '\(text)'", remedy: "write 2026-01-02T15:04:05Z, 10m or seconds since 1970")
        }
    }

    /// Go's durations in whole and broken numbers: "1h30m", "1.5s", "300ms". Seconds.
    private static func duration(_ text: String) -> Double? {
        var rest = text[...]
        var total = 0.0
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isNumber || $0 == "." }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let value = Double(digits), let factor = units[String(unit)] else { return nil }
            total += value * factor
        }
        return text.isEmpty ? nil : total
    }

    private static let units: [String: Double] = ["h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9]
}
