import StrictJSON

/// Reports as SARIF 2.1.0 (OASIS): one run, a rule for each factor, a result for each that costs something.
enum SARIF {
    static func document(_ reports: [ExposureReport], version: String) -> JSONValue {
        var rules: [JSONValue] = []
        var positions: [String: Int] = [:]
        var results: [JSONValue] = []
        for report in reports {
            for factor in report.factors where factor.points >= 0.05 || !factor.unknown.isEmpty {
                // What is asked of each mount, device and port is one rule.
                let id = String(factor.id.prefix { $0 != ":" })
                let position = positions[id] ?? rules.count
                if positions[id] == nil {
                    positions[id] = position
                    rules.append(["id": .string(id), "shortDescription": ["text": .string(question(id) ?? factor.text)]])
                }
                results.append(result(report, factor, rule: id, position))
            }
        }
        let driver: JSONValue = ["name": "coffer", "version": .string(version), "rules": .array(rules)]
        return [
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
            "runs": [["tool": ["driver": driver], "results": .array(results)]],
        ]
    }

    private static func question(_ id: String) -> String? { FactorRow.all.first { $0.id == id }?.question }

    private static func result(_ report: ExposureReport, _ factor: ExposureReport.Factor, rule: String, _ position: Int) -> JSONValue {
        let why = factor.unknown.isEmpty ? factor.text : "unknown (\(factor.unknown)), counted as the worst"
        let mend = factor.remedy.isEmpty ? "" : "; mend: \(factor.remedy)"
        let level: JSONValue = factor.points >= 0.5 ? "error" : factor.points >= 0.1 ? "warning" : "note"
        return [
            "ruleId": .string(rule), "ruleIndex": .number(JSONNumber(position)), "level": level,
            "message": ["text": .string("\(report.target): \(why) (+\(ReportText.points(factor.points)))\(mend)")],
            "locations": [["logicalLocations": [["fullyQualifiedName": .string(report.target), "kind": "resource"]]]],
            "properties": ["points": ExposureReport.number(factor.points), "exposure": ExposureReport.number(Double(report.tenths) / 10)],
        ]
    }
}
