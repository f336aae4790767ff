import Confinement
import OCISpec
import StrictJSON
import TextSearch

/// Reads an OCI configuration of any engine, and Coffer's own words beside it where there are some.
public struct BundleReader: Sendable {
    public init() {}

    /// - Parameters:
    ///   - engineUser: Whom the runtime ran as; a user's own if the maps say so.
    ///   - ownDirectory: Where the engine keeps the files that it writes for its containers; what is mounted from there is not the host's.
    public func subject(
        _ spec: RuntimeSpec, extension notes: BundleExtension?, name: String, source: Source, engineUser: Subject.EngineUser,
        provenance: Subject.Provenance = .none, ownDirectory: String = ""
    ) throws(ExposureError) -> Subject {
        do {
            var confinement = try Confinement(spec: spec, extension: notes)
            if !ownDirectory.isEmpty {
                confinement.mounts = confinement.mounts.map { mount in
                    guard mount.isBind, mount.source.hasPrefix(ownDirectory + "/") else { return mount }
                    var own = mount
                    own.type = mount.source.contains("/volumes/") ? "volume" : "generated"
                    own.options.removeAll { $0 == "bind" || $0 == "rbind" }
                    return own
                }
            }
            return Subject(name: name, source: source, confinement: confinement, engineUser: engineUser, provenance: provenance)
        } catch {
            throw ExposureError("\(name): \(error)")
        }
    }
}
