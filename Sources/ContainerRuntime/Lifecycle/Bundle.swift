import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// An OCI bundle on disk: config.json, and Coffer's own extension where the engine wrote one.
public enum Bundle {
    /// Bytes. A configuration is never larger (rule R10).
    private static let limit = 16 << 20

    /// The bytes of a configuration.
    public static func bytes(directory: String, configuration: String) throws -> [UInt8] {
        let path = configuration.hasPrefix("/") ? configuration : "\(directory)/\(configuration)"
        return try performing(.namespaces, "reading the configuration") { try readFile(path, limit: limit) }
    }

    /// - Parameter configuration: file name relative to `directory`, or an absolute path.
    public static func read(
        directory: String, configuration: String = "config.json"
    ) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        try parse(try bytes(directory: directory, configuration: configuration), directory: directory, configuration: configuration)
    }

    /// - Parameter configuration: what to call the bytes in an error.
    public static func parse(
        _ bytes: [UInt8], directory: String, configuration: String
    ) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        let spec: RuntimeSpec
        do {
            spec = try StrictJSONDecoder().decode(RuntimeSpec.self, from: bytes)
        } catch {
            throw PlanError("\(configuration): \(error)")
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
