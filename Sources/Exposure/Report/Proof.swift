import StrictJSON

/// What trying to break out showed (`coffer probe`), beside what was asked and what the kernel says.
public struct Proof: Sendable, Equatable {
    /// When, RFC 3339.
    public let date: String
    /// Probes that got through.
    public let reachable: [String]
    /// How many were held.
    public let contained: Int

    public init(date: String, reachable: [String], contained: Int) {
        self.date = date
        self.reachable = reachable
        self.contained = contained
    }

    /// What the asked score comes to: what got through takes its share of what the configuration says is closed.
    public func tenths(asked: Int) -> Int {
        let tried = reachable.count + contained
        if tried == 0 || reachable.isEmpty { return asked }
        return min(100, asked + ((100 - asked) * reachable.count + tried - 1) / tried)
    }

    func json(asked: Int) -> JSONObject {
        [
            "date": .string(date), "exposure": ExposureReport.number(Double(tenths(asked: asked)) / 10),
            "reachable": .array(reachable.map { .string($0) }), "contained": .number(JSONNumber(contained)),
        ]
    }
}
