import Probe

/// What a probe shows about a target.
public enum ProbeVerdict: String, Codable, Sendable, CaseIterable {
    /// It got through.
    case reachable
    /// It could not be tried to its end.
    case inconclusive
    /// It learnt something about the host, and nothing broke.
    case information
    case contained
    /// There is nothing here to try it on.
    case notApplicable = "not applicable"

    /// The worst first.
    var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// Where a probe was seen to succeed.
public enum ControlResult: Sendable, Equatable {
    /// In this loose setting.
    case seen(ProbeControl)
    /// The target itself: what got through needs no other proof that it can.
    case target
    /// Nowhere on this machine: that it was held proves nothing here.
    case noneHere(String)

    /// As reports show it.
    public var text: String {
        switch self {
        case .seen(let control): control.rawValue
        case .target: "the target"
        case .noneHere: "none here"
        }
    }

    public var isSeen: Bool { if case .noneHere = self { false } else { true } }
}

/// The answers of all twins to one probe.
public struct ProbeEvidence: Sendable {
    /// Of the target's twin; nil when it gave none.
    public var base: ProbeAnswer?
    /// Of the loose twins that ran.
    public var controls: [ProbeControl: ProbeAnswer] = [:]
    /// Of the twins that lacked one layer.
    public var without: [ProbeLayer: ProbeAnswer] = [:]
    /// Of the loose twins that had one layer alone.
    public var alone: [ProbeLayer: ProbeAnswer] = [:]

    public init(base: ProbeAnswer?) { self.base = base }
}

/// One probe's result for one target.
public struct ProbeResult: Sendable, Equatable {
    public var id: String
    public var title: String
    public var verdict: ProbeVerdict
    /// The layers that hold it: one whose removal let it through, or several each of which held it alone.
    public var layers: [ProbeLayer]
    /// How many layers would have to fail before it gets through; nil where that was not found out.
    public var depth: Int?
    public var control: ControlResult
    /// What mends it; "" where there is nothing to mend.
    public var remedy: String
    public var detail: String

    public init(
        id: String, title: String, verdict: ProbeVerdict, layers: [ProbeLayer] = [], depth: Int? = nil, control: ControlResult, remedy: String = "",
        detail: String
    ) {
        self.id = id
        self.title = title
        self.verdict = verdict
        self.layers = layers
        self.depth = depth
        self.control = control
        self.remedy = remedy
        self.detail = detail
    }

    /// "seccomp", or "seccomp + capabilities" where either would do; "" where no layer was found.
    public var layer: String { layers.map(\.rawValue).joined(separator: " + ") }
}

extension ProbeAnswer {
    /// It got through, as a way out or as knowledge.
    var gotThrough: Bool { outcome == .reached || outcome == .information }

    /// The kernel says that it has no such thing.
    var saysUnknown: Bool {
        outcome == .held && ["ENOSYS", "EAFNOSUPPORT", "ENOENT", "EPROTONOSUPPORT", "ENODEV", "ENOPROTOOPT", "ESOCKTNOSUPPORT"].contains(errno ?? "")
    }
}

extension ProbeResult {
    /// The verdict over one probe.
    ///
    /// - Parameter language: in whose words it is mended.
    public init(_ row: ProbeRow, _ evidence: ProbeEvidence, in language: Language) {
        self.init(id: row.id, title: row.title, verdict: .inconclusive, control: Self.control(row, evidence), detail: "the twin gave no answer")
        guard let base = evidence.base else { return }
        detail = base.detail
        switch base.outcome {
        case .reached:
            (verdict, control, remedy) = (.reachable, .target, language.mending(row))
        case .information:
            // At Coffer's levels these are known, with the reasons: docs/THREAT-MODEL.md.
            (verdict, control, remedy) = (.information, .target, language == .coffer || row.remedy == .engine ? "" : language.mending(row))
        case .absent: verdict = .notApplicable
        case .tried, .inconclusive: verdict = .inconclusive
        case .held:
            if let why = Self.reasonNotApplicable(base, evidence) {
                (verdict, detail) = (.notApplicable, why)
            } else {
                verdict = .contained
                (layers, depth) = Self.layers(row, evidence)
            }
        }
    }

    private static func control(_ row: ProbeRow, _ evidence: ProbeEvidence) -> ControlResult {
        let order = [row.control] + ProbeControl.allCases.filter { $0 != row.control }
        for control in order where evidence.controls[control]?.gotThrough ?? false { return .seen(control) }
        if row.control == .virtualMachine { return .noneHere("other kernels have it: it is tried in a virtual machine") }
        guard let answer = evidence.controls[row.control] else {
            return .noneHere("its control (\(row.control.rawValue)) cannot run as this user")
        }
        return .noneHere("the control was held too: \(answer.detail)")
    }

    /// The target's answer is the kernel's, and no merit of the target.
    private static func reasonNotApplicable(_ base: ProbeAnswer, _ evidence: ProbeEvidence) -> String? {
        let answers = evidence.controls.values
        if answers.isEmpty || answers.contains(where: \.gotThrough) { return nil }
        if let absent = answers.first(where: { $0.outcome == .absent }) { return absent.detail }
        guard base.saysUnknown, answers.allSatisfy({ $0.saysUnknown && $0.errno == base.errno }) else { return nil }
        return "this kernel has no such thing: \(base.errno ?? "") in the control too"
    }

    private static func layers(_ row: ProbeRow, _ evidence: ProbeEvidence) -> ([ProbeLayer], Int?) {
        let flips = ProbeLayer.peelable.filter { evidence.without[$0]?.gotThrough ?? false }
        // Whichever is gone, it gets through: the narrowest is named first, and one failure is enough.
        if !flips.isEmpty { return (flips, 1) }
        let holders = ProbeLayer.peelable.filter { evidence.alone[$0]?.outcome == .held }
        if !holders.isEmpty { return (holders, holders.count) }
        // What no layer explains that can be taken away is what the runtime does by itself.
        let fixed = row.layers.filter { !ProbeLayer.peelable.contains($0) }
        return (fixed, fixed.isEmpty ? nil : 1)
    }
}
