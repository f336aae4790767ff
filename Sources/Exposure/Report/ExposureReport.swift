import StrictJSON

/// How exposed one target is, and why.
public struct ExposureReport: Sendable {
    /// One question, its answer and what it costs.
    public struct Factor: Sendable {
        public let id: String
        /// Of what is still closed, the hundredth parts that the worst answer opens; for systemd's own rows systemd's weight.
        public let weight: Double
        /// 0 to `range`.
        public let badness: Double
        public let range: Double
        /// What it costs now, in points of the figure.
        public let points: Double
        public let text: String
        /// What mends it, in the words of the source; "" where nothing is to be mended.
        public let remedy: String
        /// Why the answer is not known and was taken to be the worst; "" where it is known.
        public let unknown: String

        public init(
            id: String, weight: Double, badness: Double, range: Double, points: Double, text: String, remedy: String, unknown: String = ""
        ) {
            self.id = id
            self.weight = weight
            self.badness = badness
            self.range = range
            self.points = points
            self.text = text
            self.remedy = remedy
            self.unknown = unknown
        }
    }

    /// As the user named it.
    public let target: String
    public let source: Source
    /// 0…10, before it is rounded up to tenths.
    public let score: Double
    /// The costliest first.
    public let factors: [Factor]
    /// systemd's own view, for its units.
    public let systemd: SystemdAssessment?
    /// What the kernel says of it while it runs: the score of that, and what differs from what was asked.
    public var applied: Applied?
    /// What the last `coffer probe` of it showed.
    public var proof: Proof?

    public struct Applied: Sendable {
        public let tenths: Int
        public let differences: [Comparison.Difference]
        /// Fields that the kernel did not show; they were scored as asked.
        public let unseen: [Comparison.Unseen]

        public init(tenths: Int, differences: [Comparison.Difference], unseen: [Comparison.Unseen] = []) {
            self.tenths = tenths
            self.differences = differences
            self.unseen = unseen
        }

        public var figure: String { ExposureReport.figure(tenths) }
    }

    public init(target: String, source: Source, score: Double, factors: [Factor], systemd: SystemdAssessment? = nil) {
        self.target = target
        self.source = source
        self.score = score
        self.factors = factors.sorted { ($0.points, $1.id) > ($1.points, $0.id) }
        self.systemd = systemd
    }

    /// 0…100: rounded up, so that 0.0 is said only where nothing at all is open.
    public var tenths: Int { min(100, Int((score * 10 - 1e-9).rounded(.up))) }
    /// "7.8"
    public var figure: String { Self.figure(tenths) }
    static func figure(_ tenths: Int) -> String { "\(tenths / 10).\(tenths % 10)" }
    /// The worst of what was asked, is applied and was proven: what a bound is about.
    public var worstTenths: Int { max(tenths, applied?.tenths ?? 0, provenTenths ?? 0) }
    /// The score by what a probe found; nil where nobody tried.
    public var provenTenths: Int? { proof?.tenths(asked: tenths) }
    public var band: Band { Band(tenths: tenths) }
    public var worst: Factor? { factors.first { $0.points > 0 } }
    /// Factors whose answer could not be read.
    public var unknown: [Factor] { factors.filter { !$0.unknown.isEmpty } }
}

/// Where a target's confinement was read from; its raw value is the word for it in reports.
public enum Source: String, Sendable, CaseIterable {
    case coffer
    case image
    case oci = "oci-bundle"
    case docker
    case podman
    case compose
    case kubernetes
    case systemd
    case dockerfile
    case process
}

extension ExposureReport {
    /// systemd's model alone.
    public init(target: String, systemd assessment: SystemdAssessment) {
        let weights = assessment.findings.reduce(0) { $0 + ($1.badness == nil ? 0 : $1.row.weight) }
        let factors = assessment.findings.compactMap { finding -> Factor? in
            guard let badness = finding.badness else { return nil }
            let row = finding.row
            let points = weights == 0 ? 0 : Double((badness * row.weight + row.range - 1) / row.range) * 10 / Double(weights)
            return Factor(
                id: row.id, weight: Double(row.weight), badness: Double(badness), range: Double(row.range), points: points,
                text: badness == 0 ? "cannot \(row.power)" : badness == row.range ? "can \(row.power)" : "can partly \(row.power)",
                remedy: badness == 0 ? "" : row.remedy)
        }
        self.init(target: target, source: .systemd, score: Double(assessment.tenths) / 10, factors: factors, systemd: assessment)
    }
}

extension ExposureReport {
    /// The report as `--format json` prints it.
    public var json: JSONValue {
        var object: JSONObject = [
            "target": .string(target), "source": .string(source.rawValue), "exposure": Self.number(Double(tenths) / 10),
            "score": Self.number((score * 10_000).rounded() / 10_000), "band": .string(band.rawValue),
        ]
        if let systemd { object["systemd"] = .string(systemd.figure) }
        func figure(_ tenths: Int?) -> JSONValue { tenths.map { Self.number(Double($0) / 10) } ?? .null }
        object["asked"] = figure(source == .process ? nil : tenths)
        object["applied"] = figure(source == .process ? tenths : applied?.tenths)
        if let applied {
            object["differences"] = .array(applied.differences.map(\.json))
            object["unseen"] = .array(applied.unseen.map { ["field": .string($0.field), "reason": .string($0.reason)] })
        }
        object["proven"] = proof.map { .object($0.json(asked: tenths)) } ?? .null
        object["factors"] = .array(factors.map(\.json))
        return .object(object)
    }

    static func number(_ value: Double) -> JSONValue { JSONNumber(value).map { .number($0) } ?? .null }
}

extension ExposureReport.Factor {
    var json: JSONValue {
        var object: JSONObject = [
            "id": .string(id), "weight": ExposureReport.number(weight), "badness": ExposureReport.number(badness),
            "range": ExposureReport.number(range), "points": ExposureReport.number((points * 1000).rounded() / 1000),
            "text": .string(text), "remedy": .string(remedy),
        ]
        if !unknown.isEmpty { object["unknown"] = .string(unknown) }
        return .object(object)
    }
}
