import Confinement
import OCISpec
import Probe
import Testing

@testable import Probing

@Suite struct VerdictTests {
    private func row(_ id: String) throws -> ProbeRow { try #require(try ProbeTable.builtIn()[id]) }

    private func result(_ id: String, _ evidence: ProbeEvidence) throws -> ProbeResult { ProbeResult(try row(id), evidence, in: .coffer) }

    @Test func whatGotThroughIsReachableAndHasARemedy() throws {
        let found = try result("sys-keyctl", ProbeEvidence(base: ProbeAnswer("sys-keyctl", .reached, detail: "a serial number")))
        #expect(found.verdict == .reachable)
        #expect(found.control == .target)
        #expect(found.remedy.contains("seccomp"))
    }

    @Test func theLayerWhoseRemovalLetsItThroughHoldsIt() throws {
        var evidence = ProbeEvidence(base: ProbeAnswer("sys-keyctl", .held, errno: "EPERM", detail: "EPERM"))
        evidence.controls[.userNamespace] = ProbeAnswer("sys-keyctl", .reached, detail: "")
        evidence.without[.seccomp] = ProbeAnswer("sys-keyctl", .reached, detail: "")
        evidence.without[.landlock] = ProbeAnswer("sys-keyctl", .held, detail: "")
        let found = try result("sys-keyctl", evidence)
        #expect(found.verdict == .contained)
        #expect(found.layers == [.seccomp])
        #expect(found.depth == 1)
        #expect(found.control == .seen(.userNamespace))
    }

    @Test func layersThatEachHoldAloneAreCounted() throws {
        var evidence = ProbeEvidence(base: ProbeAnswer("mount-tmpfs", .held, errno: "EPERM", detail: "EPERM"))
        evidence.controls[.userNamespace] = ProbeAnswer("mount-tmpfs", .reached, detail: "")
        evidence.without[.seccomp] = ProbeAnswer("mount-tmpfs", .held, detail: "")
        evidence.without[.capabilities] = ProbeAnswer("mount-tmpfs", .held, detail: "")
        evidence.alone[.seccomp] = ProbeAnswer("mount-tmpfs", .held, detail: "")
        evidence.alone[.capabilities] = ProbeAnswer("mount-tmpfs", .held, detail: "")
        evidence.alone[.maskedPaths] = ProbeAnswer("mount-tmpfs", .reached, detail: "")
        let found = try result("mount-tmpfs", evidence)
        #expect(found.layers == [.seccomp, .capabilities])
        #expect(found.depth == 2)
        #expect(found.layer == "seccomp + capabilities")
    }

    @Test func aProbeThatSucceededNowhereIsMarked() throws {
        var evidence = ProbeEvidence(base: ProbeAnswer("sys-keyctl", .held, errno: "EPERM", detail: "EPERM"))
        evidence.controls[.userNamespace] = ProbeAnswer("sys-keyctl", .held, errno: "EACCES", detail: "EACCES")
        let found = try result("sys-keyctl", evidence)
        #expect(found.verdict == .contained)
        #expect(!found.control.isSeen)
        #expect(found.control.text == "none here")
    }

    @Test(arguments: ["ENOSYS", "EAFNOSUPPORT", "ENOENT"]) func whatTheKernelLacksIsNotApplicable(_ errno: String) throws {
        var evidence = ProbeEvidence(base: ProbeAnswer("sock-vsock", .held, errno: errno, detail: errno))
        evidence.controls[.userNamespace] = ProbeAnswer("sock-vsock", .held, errno: errno, detail: errno)
        #expect(try result("sock-vsock", evidence).verdict == .notApplicable)
        evidence.controls[.userNamespace] = ProbeAnswer("sock-vsock", .reached, detail: "")
        #expect(try result("sock-vsock", evidence).verdict == .contained)
    }

    @Test func anAbsentThingInTheControlIsNotApplicable() throws {
        var evidence = ProbeEvidence(base: ProbeAnswer("dev-kvm", .held, errno: "EPERM", detail: "EPERM"))
        evidence.controls[.privileged] = ProbeAnswer("dev-kvm", .absent, detail: "there is no /dev/kvm")
        let found = try result("dev-kvm", evidence)
        #expect(found.verdict == .notApplicable)
        #expect(found.detail == "there is no /dev/kvm")
    }

    @Test func noAnswerIsInconclusive() throws {
        #expect(try result("dev-kvm", ProbeEvidence(base: nil)).verdict == .inconclusive)
        #expect(try result("dev-kvm", ProbeEvidence(base: ProbeAnswer("dev-kvm", .inconclusive, detail: ""))).verdict == .inconclusive)
    }

    @Test func everyProbeHasARemedyInEveryLanguage() throws {
        for row in try ProbeTable.builtIn().rows {
            for language in Language.allCases { #expect(!language.mending(row).isEmpty, "\(row.id) in \(language)") }
        }
    }

    @Test func theWorstComesFirst() throws {
        let results = try ["sys-keyctl", "sys-bpf", "dev-kvm"].enumerated().map { position, id in
            ProbeResult(
                id: id, title: try row(id).title, verdict: [ProbeVerdict.contained, .notApplicable, .reachable][position],
                control: .target, detail: "")
        }
        let report = ProbeReport(target: "x", user: "root", weaknesses: [], results: results, shortfalls: [])
        #expect(report.results.map(\.verdict) == [.reachable, .contained, .notApplicable])
        #expect(report.isReachable)
        #expect(report.json["totals"]?["reachable"]?.int64 == 1)
    }
}
