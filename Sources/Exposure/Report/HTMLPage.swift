/// Reports as one page that needs nothing else: no script, no font, no picture from anywhere. Names come from strangers: everything is escaped, and
/// a Content-Security-Policy keeps a browser from running what should get past that.
enum HTMLPage {
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            // Controls and marks that turn the direction of a line would make a name look like another.
            case let other where other.value < 0x20 || (0x7F...0x9F).contains(other.value): result += "\u{FFFD}"
            case let other where (0x202A...0x202E).contains(other.value) || (0x2066...0x2069).contains(other.value): result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func page(_ reports: [ExposureReport]) -> String {
        let cards = reports.enumerated().map { card($1, position: $0) }.joined()
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Exposure</title>
            <style>\(style)</style></head><body>
            <h1>Exposure</h1>
            <p>0.0 is closed, 10.0 is open. The most exposed first; below each, what costs something and what mends it.</p>
            \(ranking(reports))
            \(cards)</body></html>

            """
    }

    private static let style = """
        body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:66rem;padding:0 1rem;color:#1b1f24;background:#fff}
        h1{font-size:1.7rem}h2{font-size:1.15rem;margin:0;overflow-wrap:anywhere}
        section{border:1px solid #d8dee4;border-radius:8px;padding:1rem;margin:1.2rem 0}
        .head{display:flex;gap:1.2rem;align-items:center}.head svg{flex:none}
        table{border-collapse:collapse;width:100%;margin-top:.6rem}th,td{text-align:left;padding:.25rem .6rem;border-top:1px solid #eaeef2;vertical-align:top;
        overflow-wrap:anywhere}.n{width:1%;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;overflow-wrap:normal}.w{font-size:.85em;opacity:.75}code{font-size:.9em}
        details summary{cursor:pointer;margin-top:.6rem}.u{color:#8250df}a{color:inherit}
        @media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}section{border-color:#30363d}th,td{border-color:#21262d}}
        """

    private static func colour(_ band: Band) -> String {
        switch band {
        case .perfect, .safe: "#1a7f37"
        case .ok: "#2da44e"
        case .medium: "#bf8700"
        case .exposed: "#d1570b"
        case .unsafe, .dangerous: "#cf222e"
        }
    }

    private static func ranking(_ reports: [ExposureReport]) -> String {
        if reports.count < 2 { return "" }
        let rows = reports.enumerated().map { position, report in
            "<tr><td class=n><b style=\"color:\(colour(report.band))\">\(report.figure)</b></td><td><a href=\"#t\(position)\">\(escaped(report.target))</a></td>"
                + "<td>\(report.band.rawValue)</td><td>\(escaped(report.worst?.text ?? ""))</td></tr>"
        }
        return "<table><tr><th class=n>exposure</th><th>target</th><th>band</th><th>worst</th></tr>\(rows.joined(separator: "\n"))</table>"
    }

    private static func card(_ report: ExposureReport, position: Int) -> String {
        let open = report.factors.filter { $0.points >= 0.005 || !$0.unknown.isEmpty }
        let rows = open.map(row).joined(separator: "\n")
        let closed = report.factors.filter { $0.points < 0.005 && $0.unknown.isEmpty }
        let systemd = report.systemd.map { "<br>systemd's own model: \($0.figure) \($0.band.rawValue)" } ?? ""
        return """
            <section id="t\(position)"><div class="head">\(picture(report))<div><h2>\(escaped(report.target))</h2>
            <b style="color:\(colour(report.band))">\(report.figure) \(report.band.rawValue)</b> · \(report.source.rawValue)\(others(report))\(systemd)
            <div class=w>open, from the outer ring inwards: \(legend(report))</div></div></div>
            <table><tr><th class=n>points</th><th>why</th><th>mend</th></tr>
            \(rows)</table>\(differences(report))
            <details><summary>\(closed.count) closed</summary>\(closed.map { escaped($0.text) }.joined(separator: " · "))</details></section>

            """
    }

    private static func legend(_ report: ExposureReport) -> String {
        Wall.allCases.map { "\($0.rawValue) \(Int(($0.openness(report) * 100).rounded())) %" }.joined(separator: ", ")
    }

    /// The second and the third figure, where there are any.
    private static func others(_ report: ExposureReport) -> String {
        func figure(_ word: String, _ tenths: Int?) -> String {
            guard let tenths else { return "" }
            return " · \(word) <b style=\"color:\(colour(Band(tenths: tenths)))\">\(ExposureReport.figure(tenths))</b>"
        }
        return figure("applied", report.applied?.tenths) + figure("proven", report.provenTenths)
    }

    private static func differences(_ report: ExposureReport) -> String {
        guard let applied = report.applied, !applied.differences.isEmpty else { return "" }
        return "<ul>" + applied.differences.map { "<li>\(escaped($0.words))</li>" }.joined() + "</ul>"
    }

    private static func row(_ factor: ExposureReport.Factor) -> String {
        let why = factor.unknown.isEmpty ? escaped(factor.text) : "<span class=u>unknown: \(escaped(factor.unknown)); counted as the worst</span>"
        return "<tr><td class=n>+\(escaped(ReportText.points(factor.points)))</td><td>\(why)</td><td><code>\(escaped(factor.remedy))</code></td></tr>"
    }

    /// Walls around a program, drawn as rings: each is as open as the factors of its kind are; a red gap is a way out.
    private static func picture(_ report: ExposureReport) -> String {
        var rings = ""
        for (position, wall) in Wall.allCases.enumerated() {
            let radius = 62.0 - Double(position) * 9
            let circumference = 2 * 3.14159265 * radius
            let open = wall.openness(report)
            let gap = max(0, min(1, open)) * circumference
            rings +=
                "<circle cx=\"70\" cy=\"70\" r=\"\(one(radius))\" fill=\"none\" stroke=\"#2da44e\" stroke-width=\"6\"><title>\(wall.rawValue)</title></circle>"
            if gap > 0.5 {
                rings +=
                    "<circle cx=\"70\" cy=\"70\" r=\"\(one(radius))\" fill=\"none\" stroke=\"#cf222e\" stroke-width=\"6\" stroke-dasharray=\"\(one(gap)) \(one(circumference))\""
                    + " transform=\"rotate(-90 70 70)\"><title>\(wall.rawValue): \(one(open * 100)) % open</title></circle>"
            }
        }
        return "<svg width=\"140\" height=\"140\" viewBox=\"0 0 140 140\" role=\"img\" aria-label=\"exposure \(report.figure)\">\(rings)"
            + "<text x=\"70\" y=\"75\" text-anchor=\"middle\" font-size=\"15\" font-weight=\"700\" fill=\"\(colour(report.band))\">\(report.figure)</text></svg>"
    }

    private static func one(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}

/// The rings of the picture, from outside to inside.
private enum Wall: String, CaseIterable {
    case files = "host files and devices"
    case network = "network"
    case namespaces = "namespaces and users"
    case capabilities = "capabilities"
    case kernel = "system calls and kernel"

    private func has(_ id: String) -> Bool {
        switch self {
        case .files:
            ["mount", "volume", "propagation", "device", "root-file", "locked", "shared-memory"].contains {
                id.hasPrefix($0) && id != "mount-namespace"
            }
        case .network: id.hasPrefix("network") || id.hasPrefix("port")
        case .namespaces: id.hasSuffix("-namespace") || ["root", "groups", "umask"].contains(id)
        case .capabilities: id.hasPrefix("capability") || ["no-new-privileges", "ambient-capabilities"].contains(id)
        case .kernel:
            id.hasPrefix("syscalls") || id.hasPrefix("kernel-")
                || ["architectures", "lsm", "landlock", "sysfs", "control-groups", "isolation"].contains(id)
        }
    }

    func openness(_ report: ExposureReport) -> Double {
        1 - report.factors.filter { has($0.id) }.reduce(1.0) { $0 * (1 - $1.weight / 100 * $1.badness / max($1.range, 1e-9)) }
    }
}
