import Confinement

/// One question of the score: a row of the table.
public struct FactorRow: Sendable {
    /// The words that mend it in each source's own language; "" where the source has none.
    public struct Remedy: Sendable {
        let flag: String
        let compose: String
        let kubernetes: String
        let systemd: String
        let oci: String

        init(_ flag: String, compose: String = "", kubernetes: String = "", systemd: String = "", oci: String = "") {
            self.flag = flag
            self.compose = compose
            self.kubernetes = kubernetes
            self.systemd = systemd
            self.oci = oci
        }

        func words(for source: Source) -> String {
            switch source {
            case .coffer, .docker, .podman, .image, .dockerfile, .process: flag
            case .compose: compose
            case .kubernetes: kubernetes
            case .systemd: systemd
            case .oci: oci
            }
        }
    }

    public let id: String
    public let aspect: Aspect
    public let question: String
    /// Of what is still closed, the percentage that the worst answer opens.
    public let weight: Double
    public let range: Double
    public let good: String
    public let bad: String
    /// Why the weight is what it is.
    public let reason: String
    public let remedy: Remedy
    let measure: @Sendable (Facts) -> Double

    init(
        _ id: String, _ aspect: Aspect, _ question: String, weight: Double, range: Double = 10, good: String, bad: String, why reason: String,
        mend remedy: Remedy, measure: @escaping @Sendable (Facts) -> Double
    ) {
        self.id = id
        self.aspect = aspect
        self.question = question
        self.weight = weight
        self.range = range
        self.good = good
        self.bad = bad
        self.reason = reason
        self.remedy = remedy
        self.measure = measure
    }

    /// The table, without what is asked of every mount, device and port.
    public static let all: [FactorRow] =
        isolationRows + identityRows + capabilityRows + syscallRows + kernelRows + namespaceRows + limitRows
}
