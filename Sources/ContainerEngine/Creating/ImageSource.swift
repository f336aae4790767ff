import ImageStore
import OCISpec
import TextSearch

/// What the engine needs of an image.
public struct ResolvedImage: Sendable {
    /// "sha256:…" of the configuration.
    public let id: String
    /// "sha256:…" of the manifest.
    public let digest: String
    public let reference: String
    public let defaults: ExecutionDefaults
    /// Lower directories, top first; extracted.
    public let layers: [String]
    /// Named by its digest.
    public let isPinned: Bool
    /// Loaded, imported or made here: no registry's tag can make it another image.
    public let isLocal: Bool

    public init(
        id: String, digest: String, reference: String, defaults: ExecutionDefaults, layers: [String], isPinned: Bool, isLocal: Bool
    ) {
        self.id = id
        self.digest = digest
        self.reference = reference
        self.defaults = defaults
        self.layers = layers
        self.isPinned = isPinned
        self.isLocal = isLocal
    }
}

extension Engine {
    /// The image of a request from the local store, its layers extracted.
    ///
    /// - Returns: nil when the store has no such image, so that the caller may pull it.
    /// - Throws: `EngineError` when it cannot be read or is for another platform.
    public func resolveImage(_ request: RunRequest) throws(EngineError) -> (image: ResolvedImage, hold: StoreHold)? {
        do {
            let store = try root.imageStore(warn: warn)
            let hold = try store.hold()
            let stored: StoredImage
            do {
                stored = try store.resolve(request.image)
            } catch ImageStoreError.noSuchImage {
                return nil
            }
            if let text = request.platform {
                guard let wanted = Platform(text) else {
                    throw EngineError("invalid platform: '\(text)'", remedy: "write for example linux/arm64")
                }
                if wanted != stored.configuration.platform { return nil }
            }
            let image = ResolvedImage(
                id: stored.id.description, digest: stored.descriptor.digest.description,
                reference: stored.references.first?.description ?? request.image,
                defaults: stored.configuration.config ?? ExecutionDefaults(), layers: try store.layers(of: stored),
                isPinned: request.image.contains("@sha256:"), isLocal: stored.repositoryDigests.isEmpty)
            return (image, hold)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("image \(request.image): \(error)")
        }
    }
}
