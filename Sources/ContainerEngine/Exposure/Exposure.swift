import Exposure

/// `coffer exposure`: what a target is, by how it is named, and its report.
public enum ExposureTargets {
    /// The reports of what one word of the command line means.
    ///
    /// - Throws: `EngineError` when it means nothing, or cannot be read.
    public static func reports(_ target: String) throws(EngineError) -> [ExposureReport] {
        if target.hasSuffix(".service") { return [try unit(target)] }
        throw EngineError("\(target) is no target that can be scored", remedy: "name a systemd unit: x.service")
    }

    private static func unit(_ target: String) throws(EngineError) -> ExposureReport {
        let settings = try UnitSource.load(target)
        do {
            return ExposureReport(target: target, systemd: try SystemdAssessment(settings))
        } catch {
            throw EngineError("\(target) cannot be scored: \(error)", code: .failure)
        }
    }
}
