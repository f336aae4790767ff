import Exposure
import Glibc
import LinuxKernel
import Probing
import Rendering
import StrictJSON

/// The last probe of a container, as it is kept with it.
struct ProvenResult: Codable, Sendable, Equatable {
    static let fileName = "probe.json"

    /// Nanoseconds since the epoch.
    var moment: Int64
    /// Ids of the probes that got through, without what the configuration itself says.
    var reachable: [String]
    var contained: Int
    var information: Int
}

extension Engine {
    func store(_ report: ProbeReport, of container: Container) throws(EngineError) {
        let result = ProvenResult(
            moment: nanosecondsNow(), reachable: report.results.filter { $0.verdict == .reachable && !$0.isCarried }.map(\.id),
            contained: report.count(.contained), information: report.count(.information))
        let bytes = try JSONBytes.encode(result)
        do {
            try replaceFile(container.directory.path + "/" + ProvenResult.fileName, with: bytes)
        } catch {
            // A container that was removed meanwhile needs no result.
            if error.errno != ENOENT { throw EngineError("the result cannot be kept: \(error)", remedy: Self.remedy(error)) }
        }
    }

    /// What the last probe of a container showed; nil while there was none.
    func proven(_ container: Container) throws(EngineError) -> Proof? {
        guard let kept = try BundleFiles.load(ProvenResult.self, container.directory.path + "/" + ProvenResult.fileName) else { return nil }
        return Proof(date: Timestamp(nanoseconds: kept.moment).rfc3339, reachable: kept.reachable, contained: kept.contained)
    }
}
