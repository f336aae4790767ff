import Rendering
import StrictJSON

/// The forms in which reports are printed.
public enum ReportFormat: String, Sendable, CaseIterable {
    case table, json, sarif, html
}

extension ReportFormat {
    /// The reports as text that ends with a newline, the most exposed first. `version` is the program's, for SARIF.
    public func render(_ reports: [ExposureReport], version: String) -> String {
        let ranked = reports.sorted { ($0.worstTenths, $0.score) > ($1.worstTenths, $1.score) }
        return switch self {
        case .table: ranked.count == 1 ? ReportText.page(ranked[0]) : ReportText.ranking(ranked)
        case .json:
            JSONWriter.pretty.text(ranked.count == 1 ? ranked[0].json : .array(ranked.map(\.json))) + "\n"
        case .sarif: JSONWriter.pretty.text(SARIF.document(ranked, version: version)) + "\n"
        case .html: HTMLPage.page(ranked)
        }
    }
}

/// Reports for people at a terminal. Names come from images and strangers: what a terminal would obey is made visible.
enum ReportText {
    /// As text that a terminal shows and does not obey. Marks that turn the direction of a line would make a name look like another.
    private static func printable(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in HumanUnits.printable(text).unicodeScalars {
            let turns = (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
            result.append(turns ? "\u{FFFD}" : scalar)
        }
        return String(result)
    }

    /// One line for a target.
    static func line(_ report: ExposureReport) -> String {
        var text = "\(printable(report.target))  \(report.figure) \(report.band.rawValue)"
        if let systemd = report.systemd { text += "  (systemd's own model: \(systemd.figure) \(systemd.band.rawValue))" }
        if let applied = report.applied { text += "  (as the kernel has it: \(applied.figure))" }
        if let proof = report.proof {
            let tenths = proof.tenths(asked: report.tenths)
            text += "  (proven on \(proof.date): \(tenths / 10).\(tenths % 10))"
        }
        if let worst = report.worst {
            text += "   worst: \(printable(worst.text)) (+\(points(worst.points)))"
            if !worst.remedy.isEmpty { text += "   mend: \(printable(worst.remedy))" }
        }
        return text
    }

    static func points(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths == 0 && value > 0 ? "<0.1" : "\(tenths / 10).\(tenths % 10)"
    }

    /// One target: the line, then everything that costs something.
    static func page(_ report: ExposureReport) -> String {
        let open = report.factors.filter { $0.points > 0 || !$0.unknown.isEmpty }
        var rows = [["POINTS", "FACTOR", "WHY", "MEND"]]
        for factor in open {
            let why = factor.unknown.isEmpty ? factor.text : "unknown (\(factor.unknown)), counted as the worst"
            rows.append(["+" + points(factor.points), factor.id, why, factor.remedy].map(printable))
        }
        let closed = report.factors.count - open.count
        let table = open.isEmpty ? "" : "\n" + Table.layOut(rows)
        let differences =
            (report.applied?.differences ?? []).map(\.words)
            + (report.proof?.reachable ?? []).map { "asked to be closed, proven to be reachable: \($0)" }
        let told = differences.isEmpty ? "" : "\n" + differences.map { printable($0) + "\n" }.joined()
        return line(report) + "\n" + table + told + "\n\(open.count) of \(report.factors.count) factors are open, \(closed) are closed\n"
    }

    /// Several targets, the most exposed first.
    static func ranking(_ reports: [ExposureReport]) -> String {
        if reports.isEmpty { return "" }
        let hasMore = reports.contains { $0.applied != nil || $0.proof != nil }
        var rows = [["TARGET"] + (hasMore ? ["ASKED", "APPLIED", "PROVEN"] : ["EXPOSURE"]) + ["BAND", "WORST", "MEND"]]
        for report in reports {
            let worst = report.worst.map { "\($0.text) (+\(points($0.points)))" } ?? ""
            // Of a process only what the kernel has is known, not what anybody asked for.
            let isProcess = report.source == .process
            let figures =
                hasMore
                ? [
                    isProcess ? "-" : report.figure, isProcess ? report.figure : report.applied?.figure ?? "-",
                    report.provenTenths.map(ExposureReport.figure) ?? "-",
                ]
                : [report.figure]
            let row = [report.target] + figures + [Band(tenths: report.worstTenths).rawValue, worst, report.worst?.remedy ?? ""]
            rows.append(row.map(printable))
        }
        return Table.layOut(rows)
    }
}
