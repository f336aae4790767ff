import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// Annotations of our own entries in index.json.
enum StoreAnnotation {
    /// The digest under which the registry serves the name: of the index where there is one, else of the manifest.
    static let repositoryDigest = "dev.coffer.repository.digest"
}

extension ImageStore {
    var indexPath: String { "\(root)/index.json" }

    func readIndex() throws -> Index {
        do {
            return try Self.decode(Index.self, from: try readFile(indexPath, limit: 64 << 20), called: indexPath)
        } catch let error as KernelError {
            guard error.errno == ENOENT else { throw ImageStoreError.failed(error, "read \(indexPath)") }
            return Index(manifests: [])
        } catch ImageStoreError.badDocument(let name, let reason) {
            throw ImageStoreError.badDocument(
                name, reason: "\(reason); it lists all images: move it away, and pull or load them again (containers stay as they are)")
        }
    }

    /// Call it under `locked`.
    func writeIndex(_ index: Index) throws {
        try storing("write \(indexPath)") {
            try replaceFile(indexPath, with: try StrictJSONEncoder().encode(index), durably: true)
        }
    }

    /// The name that an entry gives to its manifest.
    static func reference(of entry: Descriptor) -> ImageReference? {
        guard let text = entry.annotations?[ImageAnnotation.referenceName] else { return nil }
        do { return try ImageReference(parsing: text) } catch { return nil }
    }
}
