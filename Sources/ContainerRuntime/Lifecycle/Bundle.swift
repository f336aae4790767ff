import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// An OCI bundle on disk: config.json, and Coffer's own extension where the engine wrote one.
public enum Bundle {
    /// Bytes. A configuration is never larger (rule R10).
    private static let limit = 16 << 20

    /// - Parameter configuration: file name relative to `directory`, or an absolute path.
    public static func read(
        directory: String, configuration: String = "config.json"
    ) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        let path = configuration.hasPrefix("/") ? configuration : "\(directory)/\(configuration)"
        let spec: RuntimeSpec
        do {
            spec = try StrictJSONDecoder().decode(RuntimeSpec.self, from: try readFile(path, limit: limit))
        } catch let error as KernelError {
            throw LaunchFailure(.namespaces, doing: "reading the configuration", error)
        } catch {
            throw PlanError("\(path): \(error)")
        }
        let extensionPath = "\(directory)/\(BundleExtension.fileName)"
        if access(extensionPath, F_OK) != 0 { return (spec, nil) }
        do {
            let ext = try StrictJSONDecoder(unknownKeys: .reject)
                .decode(BundleExtension.self, from: try readFile(extensionPath, limit: limit))
            return (spec, ext)
        } catch {
            throw PlanError("\(extensionPath): \(error)")
        }
    }
}
