import Testing

@testable import Exposure

@Suite struct SystemdModelTests {
    private func unit(_ text: String, dropIns: [String] = [], name: String = "u.service") throws -> UnitSettings {
        try UnitSettings(name: name, files: try ([text] + dropIns).map { try UnitFile(Array($0.utf8), name: name) })
    }

    private func sums(_ assessment: SystemdAssessment) -> (badness: Int, weights: Int) {
        assessment.findings.reduce((0, 0)) { sum, finding in
            guard let badness = finding.badness else { return sum }
            let row = finding.row
            return (sum.0 + (badness * row.weight + row.range - 1) / row.range, sum.1 + row.weight)
        }
    }

    @Test(arguments: ReferenceUnit.all) func equalsSystemd(_ reference: ReferenceUnit) throws {
        let text = "[Service]\nExecStart=/bin/true\n" + reference.settings.joined(separator: "\n") + "\n"
        let assessment = try SystemdAssessment(try unit(text), architecture: .x86_64)
        #expect(assessment.figure == reference.figure)
        let (badness, weights) = sums(assessment)
        #expect(badness == reference.badness)
        #expect(weights == reference.weights)
    }

    @Test func theTableIsWhole() {
        #expect(SystemdRow.all.count == 81)
        #expect(SystemdRow.all.reduce(0) { $0 + $1.weight } == 56460)
        #expect(Set(SystemdRow.all.map(\.id)).count == 81)
    }

    /// Each row is bad in one of the reference units and good in another, or it would not be held by them.
    @Test func referencesCoverEveryRow() throws {
        var seen: [String: Set<Int>] = [:]
        for reference in ReferenceUnit.all {
            let text = "[Service]\n" + reference.settings.joined(separator: "\n")
            for finding in try SystemdAssessment(try unit(text), architecture: .x86_64).findings {
                if let badness = finding.badness { seen[finding.row.id, default: []].insert(badness) }
            }
        }
        for row in SystemdRow.all { #expect((seen[row.id]?.count ?? 0) > 1, "\(row.id): only \(seen[row.id] ?? [])") }
    }

    @Test func dropInsApplyAfterTheUnit() throws {
        let base = "[Service]\nPrivateNetwork=no\nCapabilityBoundingSet=CAP_KILL\n"
        let changed = try unit(base, dropIns: ["[Service]\nPrivateNetwork=yes\n", "[Service]\nCapabilityBoundingSet=\n"])
        #expect(changed.flag("PrivateNetwork"))
        #expect(changed.boundingSet == 0)
    }

    @Test func earlyBootLeavesFourRowsOut() throws {
        let assessment = try SystemdAssessment(try unit("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/true\n"))
        #expect(Set(assessment.findings.filter { $0.badness == nil }.map(\.row.id)).isSuperset(of: ["PrivateTmp", "ProtectHome"]))
        #expect(sums(assessment).weights == 56160 - 3200)
    }

    @Test func instancesAreNamed() throws {
        let named = try unit("[Service]\nUser=%i\nRootDirectory=%S/%p\n", name: "web@alice.service")
        #expect(named.user == "alice")
        #expect(named.rootDirectory == "/var/lib/web")
    }

    @Test func badFilesAreRefused() throws {
        #expect(throws: ExposureError.self) { try UnitFile([0x41, 0], name: "a.service") }
        #expect(throws: ExposureError.self) { try UnitFile([UInt8](repeating: 0x41, count: (1 << 20) + 1), name: "a.service") }
        #expect(throws: ExposureError.self) { try unit("[Service]\nUser=a:b\n") }
    }

    @Test(arguments: [
        (0, Band.perfect), (1, .safe), (9, .safe), (10, .ok), (49, .ok), (50, .medium), (75, .exposed), (96, .unsafe), (100, .dangerous),
    ])
    func bandsAreSystemds(_ tenths: Int, _ band: Band) { #expect(Band(tenths: tenths) == band) }
}
