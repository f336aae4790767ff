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

    /// What of a configuration is wanted.
    public enum Part: Sendable {
        case whole
        /// What a further process of a running container needs. The rest has been read when the container was made: decoding it again
        /// would be a fifth of what an exec takes.
        case furtherProcess
    }

    /// - Parameter configuration: file name relative to `directory`, or an absolute path.
    public static func read(
        directory: String, configuration: String = "config.json", part: Part = .whole
    ) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        try parse(try bytes(directory: directory, configuration: configuration), directory: directory, configuration: configuration, part: part)
    }

    /// - Parameter configuration: what to call the bytes in an error.
    public static func parse(
        _ bytes: [UInt8], directory: String, configuration: String, part: Part = .whole
    ) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        let spec = try decode(RuntimeSpec.self, from: bytes, called: configuration) { document in
            if part == .furtherProcess { document = withoutSurroundings(document) }
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

    /// Without what only the making of a container wants to know.
    private static func withoutSurroundings(_ document: JSONValue) -> JSONValue {
        guard var members = document.object else { return document }
        for name in ["mounts", "hooks"] { members[name] = nil }
        if var linux = members["linux"]?.object {
            for name in ["resources", "devices", "maskedPaths", "readonlyPaths", "sysctl"] { linux[name] = nil }
            members["linux"] = .object(linux)
        }
        return .object(members)
    }

    /// A document that a caller hands in. To the kernel a string ends at its first NUL, to a reader of the document it does not: there is none.
    ///
    /// - Parameters:
    ///   - name: what to call the document in an error.
    ///   - change: what is done to the document before it is decoded.
    public static func decode<Document: Decodable>(
        _ type: Document.Type, from bytes: [UInt8], called name: String, after change: (inout JSONValue) -> Void = { _ in }
    ) throws -> Document {
        if let offset = firstNUL(in: bytes) { throw PlanError("\(name): a string contains a NUL (byte \(offset))") }
        do {
            var document = try JSONParser().parse(bytes)
            change(&document)
            return try StrictJSONDecoder().decode(type, from: document)
        } catch {
            throw PlanError("\(name): \(error)")
        }
    }

    /// JSON can say NUL in one way only, as an escape; the parser refuses it as a byte.
    private static func firstNUL(in bytes: [UInt8]) -> Int? {
        let escape = Array("u0000".utf8)
        var position = 0
        while position < bytes.count {
            guard bytes[position] == UInt8(ascii: "\\") else {
                position += 1
                continue
            }
            if bytes[(position + 1)...].starts(with: escape) { return position }
            position += 2  // A backslash may be escaped itself.
        }
        return nil
    }
}
