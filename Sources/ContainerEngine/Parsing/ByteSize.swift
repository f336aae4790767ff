/// A number of bytes as users write it: "512", "100m", "1.5g", "64MiB". Units are powers of 1024, as Docker's.
public struct ByteSize: Sendable, Equatable, Codable {
    public let bytes: Int64

    public init(bytes: Int64) { self.bytes = bytes }

    /// - Throws: `EngineError` when the text is no size or does not fit into 63 bits.
    public init(parsing text: String) throws(EngineError) {
        let invalid = EngineError("invalid size: '\(text)'", remedy: "write a number and a unit, for example 100m or 1.5g")
        let lower = text.lowercased()
        let digits = lower.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        var unit = lower.dropFirst(digits.count)
        if unit.first == " " { unit = unit.dropFirst() }
        guard let exponent = Self.exponents[String(unit)], let value = Double(digits), digits.first != "." else { throw invalid }
        let scaled = value * Double(Int64(1) << (10 * exponent))
        guard scaled.isFinite, scaled >= 0, scaled < 9.2e18 else { throw invalid }
        bytes = Int64(scaled)
    }

    private static let exponents: [String: Int64] = [
        "": 0, "b": 0, "k": 1, "kb": 1, "kib": 1, "m": 2, "mb": 2, "mib": 2, "g": 3, "gb": 3, "gib": 3, "t": 4, "tb": 4,
        "tib": 4, "p": 5, "pb": 5, "pib": 5,
    ]
}

/// A number of processors ("1.5"), kept in billionths as Docker's NanoCpus.
public struct CPUCount: Sendable, Equatable, Codable {
    public let nanoCPUs: Int64

    public init(nanoCPUs: Int64) { self.nanoCPUs = nanoCPUs }

    /// - Throws: `EngineError` when the text is no positive decimal number with at most nine places.
    public init(parsing text: String) throws(EngineError) {
        let invalid = EngineError("invalid number of CPUs: '\(text)'", remedy: "write a decimal number, for example --cpus 1.5")
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let whole = Int64(parts[0].isEmpty ? "0" : parts[0]), (0...1_000_000).contains(whole),
            text.allSatisfy({ $0 == "." || ($0.isASCII && $0.isNumber) })
        else { throw invalid }
        let fraction = parts.count == 2 ? String(parts[1]) : ""
        guard fraction.count <= 9, let part = Int64(fraction.padding(to: 9)) else { throw invalid }
        nanoCPUs = whole * 1_000_000_000 + part
        if nanoCPUs == 0 { throw invalid }
    }
}

extension String {
    fileprivate func padding(to count: Int) -> String { self + String(repeating: "0", count: count - self.count) }
}
