import Probe
import Rendering
import StrictJSON

/// What all probes show about one target.
public struct ProbeReport: Sendable {
    public var target: String
    /// Who ran the twins: "root" or "an ordinary user".
    public var user: String
    /// The worst first.
    public let results: [ProbeResult]
    /// What the twin could not reproduce, and what could not be peeled: one sentence each.
    public var shortfalls: [String]

    public init(target: String, user: String, weaknesses: [CarriedWeakness], results: [ProbeResult], shortfalls: [String]) {
        self.target = target
        self.user = user
        self.shortfalls = shortfalls
        let carried = weaknesses.map {
            ProbeResult(
                id: $0.id, title: "is open by its own configuration", verdict: .reachable, control: .target, remedy: $0.remedy, detail: $0.detail)
        }
        let sorted = results.enumerated().sorted { ($0.element.verdict.rank, $0.offset) < ($1.element.verdict.rank, $1.offset) }.map(\.element)
        self.results = carried + sorted
    }

    public func count(_ verdict: ProbeVerdict) -> Int { results.count { $0.verdict == verdict } }
    /// Whether anything got through.
    public var isReachable: Bool { count(.reachable) > 0 }
    /// Contained by all that was seen, and never seen to succeed anywhere.
    public var uncontrolled: Int { results.count { $0.verdict == .contained && !$0.control.isSeen } }

    public subscript(id: String) -> ProbeResult? { results.first { $0.id == id } }

    public var json: JSONValue {
        var totals: JSONObject = [:]
        for verdict in ProbeVerdict.allCases { totals[verdict.rawValue] = .number(JSONNumber(count(verdict))) }
        totals["uncontrolled"] = .number(JSONNumber(uncontrolled))
        totals["probes"] = .number(JSONNumber(results.count))
        return [
            "target": .string(target), "user": .string(user), "reachable": .bool(isReachable), "totals": .object(totals),
            "probes": .array(results.map(\.json)), "notes": .array(shortfalls.map { .string($0) }),
        ]
    }
}

extension ProbeResult {
    /// It is said by the configuration, and needed no trying.
    public var isCarried: Bool { id.hasPrefix("carried-") }

    var json: JSONValue {
        var object: JSONObject = [
            "id": .string(id), "title": .string(title), "verdict": .string(verdict.rawValue), "layer": layers.isEmpty ? .null : .string(layer),
            "layers": .array(layers.map { .string($0.rawValue) }), "depth": depth.map { .number(JSONNumber($0)) } ?? .null,
            "control": .string(control.text), "remedy": .string(remedy), "detail": .string(detail),
        ]
        if case .noneHere(let why) = control { object["controlDetail"] = .string(why) }
        return .object(object)
    }
}

extension ProbeReport {
    /// For people at a terminal: what is open and what mends it, then what holds the rest.
    ///
    /// - Parameter all: every probe, and not only what was found.
    public func text(all: Bool) -> String {
        let shown = results.filter { all || $0.verdict != .contained && $0.verdict != .notApplicable }
        var text = "\(HumanUnits.printable(target)): \(summary)\n"
        if !shown.isEmpty {
            var rows = [["VERDICT", "PROBE", "HELD BY", "CONTROL", "WHAT WAS SEEN", "MEND"]]
            if !all { rows[0].remove(at: 2) }
            for result in shown {
                var row = [result.verdict.rawValue, result.id, result.layer, result.control.text, result.detail, result.remedy]
                if !all { row.remove(at: 2) }
                rows.append(row.map { HumanUnits.printable($0) })
            }
            text += "\n" + Table.layOut(rows)
        }
        if !all { text += held }
        for shortfall in shortfalls { text += "note: \(HumanUnits.printable(shortfall))\n" }
        return text
    }

    private var summary: String {
        let reachable = count(.reachable)
        let words = [
            reachable == 0 ? "nothing reachable" : "\(reachable) reachable", "\(count(.contained)) contained", "\(count(.information)) information",
            "\(count(.notApplicable)) not applicable",
        ]
        return (words + (count(.inconclusive) == 0 ? [] : ["\(count(.inconclusive)) inconclusive"])).joined(separator: ", ")
    }

    /// What holds that which was held: by how many layers each, and by which alone.
    private var held: String {
        let contained = results.filter { $0.verdict == .contained }
        if contained.isEmpty { return "" }
        var text = "\n"
        let single = contained.filter { $0.depth == 1 }
        let several = contained.filter { ($0.depth ?? 0) > 1 }
        for layer in ProbeLayer.allCases {
            let count = single.count { $0.layers.first == layer }
            if count > 0 { text += "\(count) held by the \(layer.title) alone\n" }
        }
        if !several.isEmpty { text += "\(several.count) held by more than one layer\n" }
        let unexplained = contained.count - single.count - several.count
        if unexplained > 0 { text += "\(unexplained) held, by which layer could not be shown here\n" }
        if uncontrolled > 0 { text += "\(uncontrolled) of them were seen to succeed nowhere on this machine (control: none here)\n" }
        return text
    }
}
