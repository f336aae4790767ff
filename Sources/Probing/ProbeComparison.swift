import Probe
import Rendering
import StrictJSON

/// Several configurations side by side.
public struct ProbeComparison: Sendable {
    public let reports: [ProbeReport]

    public init(_ reports: [ProbeReport]) { self.reports = reports }

    public var json: JSONValue { .array(reports.map(\.json)) }

    /// Ids in the order of the first report that has them by the table, without what is carried by a configuration.
    private func ids(_ table: ProbeTable) -> [String] {
        table.rows.map(\.id).filter { id in reports.contains { $0[id] != nil } }
    }

    /// The probes in which the configurations differ, or that got through anywhere; totals last.
    public func text(_ table: ProbeTable) -> String {
        var rows = [["PROBE"] + reports.map { $0.target.uppercased() }]
        for id in ids(table) {
            let verdicts = reports.map { $0[id]?.verdict }
            guard verdicts.contains(.reachable) || Set(verdicts.filter { $0 != .notApplicable }).count > 1 else { continue }
            rows.append([id] + verdicts.map { $0?.rawValue ?? "-" })
        }
        for verdict in ProbeVerdict.allCases { rows.append([verdict.rawValue + ", in all"] + reports.map { String(proven($0, verdict)) }) }
        return Table.layOut(rows.map { $0.map { HumanUnits.printable($0) } })
    }

    private func proven(_ report: ProbeReport, _ verdict: ProbeVerdict) -> Int {
        report.results.count { $0.verdict == verdict && !$0.isCarried }
    }

    /// One page that needs nothing else: no script, no font, no picture from anywhere.
    public func html(_ table: ProbeTable) -> String {
        let head = reports.map { "<th>\(Self.escaped($0.target))</th>" }.joined()
        let totals = ProbeVerdict.allCases.map { verdict in
            "<tr class=sum><td>\(verdict.rawValue)</td>" + reports.map { "<td class=\(Self.name(verdict))>\(proven($0, verdict))</td>" }.joined()
                + "</tr>"
        }.joined(separator: "\n")
        let body = ids(table).map { id in
            let row = table[id]
            let cells = reports.map { cell($0[id]) }.joined()
            return "<tr><td><code>\(Self.escaped(id))</code><br><small>\(Self.escaped(row?.title ?? ""))</small></td>\(cells)</tr>"
        }.joined(separator: "\n")
        let notes = reports.flatMap { report in report.shortfalls.map { "<li>\(Self.escaped(report.target)): \(Self.escaped($0))</li>" } }.joined()
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Containment, tried</title>
            <style>\(Self.style)</style></head><body>
            <h1>Containment, tried</h1>
            <p>Each column is a disposable twin of a configuration, attacked by the same probes on this machine as \(Self.escaped(reports.first?.user ?? "")). Contained: by which layer.</p>
            <table><thead><tr><th>probe</th>\(head)</tr></thead><tbody>
            \(totals)
            \(body)
            </tbody></table><ul>\(notes)</ul></body></html>

            """
    }

    private func cell(_ result: ProbeResult?) -> String {
        guard let result else { return "<td>-</td>" }
        let layer = result.layers.isEmpty ? "" : "<br><small>\(Self.escaped(result.layer))</small>"
        return "<td class=\(Self.name(result.verdict)) title=\"\(Self.escaped(result.detail))\">\(result.verdict.rawValue)\(layer)</td>"
    }

    private static func name(_ verdict: ProbeVerdict) -> String { String(verdict.rawValue.prefix { $0 != " " }) }

    private static let style = """
        body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#1b1f24;background:#fff}
        h1{font-size:1.7rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem;border-top:1px solid #eaeef2;
        vertical-align:top;overflow-wrap:anywhere}thead th{position:sticky;top:0;background:#fff}small{color:#57606a}.sum td{font-weight:600}
        .reachable{background:#ffd8d3}.information{background:#fff3c4}.inconclusive{background:#eee2ff}.contained{background:#dafbe1}.not{color:#8c959f}
        @media(prefers-color-scheme:dark){body,thead th{background:#0d1117;color:#e6edf3}th,td{border-color:#21262d}
        .reachable{background:#67060c}.information{background:#4b2900}.inconclusive{background:#3c1e70}.contained{background:#033a16}}
        """

    /// Names come from strangers: everything is escaped.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in HumanUnits.printable(text).unicodeScalars {
            switch scalar {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
