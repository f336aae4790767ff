import ImageStore
import NIOPosix
import OCISpec
import PullMessages
import StrictJSON

/// What a pull tells while it runs, from several threads, in order for each layer.
public struct PullObserver: Sendable {
    let layer: @Sendable (Digest, LayerEvent) -> Void
    let warning: @Sendable (String) -> Void

    public init(
        layer: @escaping @Sendable (Digest, LayerEvent) -> Void = { _, _ in },
        warning: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.layer = layer
        self.warning = warning
    }
}

/// An image that was pulled.
public struct PulledImage: Sendable {
    /// The full name that was pulled.
    public let reference: ImageReference
    public let image: StoredImage
    /// What the registry knows the name by: the digest of the index, where there is one.
    public let digest: Digest
    /// Whether the store had this image under this name already.
    public let wasUpToDate: Bool
}

/// Brings an image from a registry into the store, its layers extracted.
public struct ImagePull: Sendable {
    let reference: ImageReference
    /// nil: what this machine is; a single image for another platform is then taken with a warning.
    let platform: Platform?
    let options: RegistryOptions
    let store: ImageStore
    let observer: PullObserver
    let extractsLayers: Bool
    /// Layers are extracted one after the other, beside the downloads, on a thread of their own: it blocks.
    private let extraction = NIOThreadPool(numberOfThreads: 1)

    /// Bytes of an image's configuration.
    static let largestConfiguration = 8 << 20
    /// Indexes inside of indexes.
    private static let deepestIndex = 3

    /// - Parameters:
    ///   - platform: nil for this machine's; a single image for another one is then taken with a warning.
    ///   - extractsLayers: False leaves them for the first container.
    public init(
        _ reference: ImageReference, platform: Platform?, options: RegistryOptions, into store: ImageStore,
        observer: PullObserver = PullObserver(), extractsLayers: Bool = true
    ) {
        self.reference = reference
        self.platform = platform
        self.options = options
        self.store = store
        self.observer = observer
        self.extractsLayers = extractsLayers
    }

    /// Pulls the image. Blocks until it is there; SIGINT, SIGTERM and SIGHUP end it early and leave nothing half-done.
    ///
    /// - Throws: `RegistryError`, or `ImageStoreError` when the store cannot take it.
    public func run() throws -> PulledImage {
        do {
            return try SynchronousBridge.run { try await pull() }
        } catch {
            store.collectGarbageAfterFailure()
            throw told(error)
        }
    }

    private func told(_ error: any Error) -> any Error {
        let kind: RegistryError.Kind
        switch error {
        case let interruption as SynchronousBridge.Interruption: kind = .interrupted(signal: interruption.signal)
        case let failure as CredentialFailure: kind = failure.kind
        default: return error
        }
        return RegistryError(kind, registry: reference.registry, image: reference.familiar)
    }

    private func pull() async throws -> PulledImage {
        let (client, transport) = try await RegistryClient.connect(to: reference, options: options)
        extraction.start()
        let result: Result<PulledImage, any Error>
        do { result = .success(try await pull(client)) } catch { result = .failure(error) }
        await transport.shutDown()
        try await extraction.shutdownGracefully()
        return try result.get()
    }

    private func pull(_ client: RegistryClient) async throws -> PulledImage {
        let top = try await client.manifest(reference.digest?.description ?? reference.tag ?? "latest")
        let chosen = try await choose(top, client)
        guard case .manifest(let manifest) = chosen.document else {
            throw CredentialFailure(.badManifest(reason: "indexes are nested too deeply"))
        }
        try check(manifest)
        let before = existing()
        // Until the name is recorded, the blobs belong to no image and would be garbage.
        let hold = try store.hold()
        defer { withExtendedLifetime(hold) {} }
        let configuration = try await configuration(manifest.config, client)
        let layers = try pairs(manifest, configuration.document)
        for layer in layers { observer.layer(layer.blob.digest, .waiting) }
        try await fetch(layers, client)
        try store.addBlob(configuration.bytes, mediaType: manifest.config.mediaType)
        let descriptor = try store.addBlob(chosen.bytes, mediaType: chosen.descriptor.mediaType)
        try Task.checkCancellation()
        let image = try store.add(
            manifest: descriptor, references: [reference], repositoryDigest: top.descriptor.digest)
        return PulledImage(
            reference: reference, image: image, digest: top.descriptor.digest, wasUpToDate: before?.descriptor.digest == image.descriptor.digest)
    }

    /// The image that has the name now, if one does.
    private func existing() -> StoredImage? {
        do { return try store.resolve(reference.description) } catch { return nil }
    }

    // MARK: Manifests

    private func choose(
        _ top: RegistryClient.FetchedDocument, _ client: RegistryClient
    ) async throws -> RegistryClient.FetchedDocument {
        var current = top
        for _ in 0..<Self.deepestIndex {
            guard case .index(let index) = current.document else { break }
            let wanted = platform ?? .current
            guard let entry = index.entry(for: wanted) else {
                throw CredentialFailure(
                    .noSuchPlatform(wanted: wanted, available: index.manifests.compactMap(\.platform).filter { $0.os != "unknown" }))
            }
            current = try await client.manifest(entry.digest.description, expecting: entry)
        }
        return current
    }

    private func check(_ manifest: Manifest) throws(CredentialFailure) {
        guard manifest.config.mediaType.kind == .configuration else {
            throw CredentialFailure(
                .badManifest(reason: "its configuration is a \"\(manifest.config.mediaType)\": it is not a container image"))
        }
        for layer in manifest.layers {
            switch layer.mediaType.kind {
            case .layer: continue
            case .foreignLayer: throw CredentialFailure(.foreignLayer(layer.digest))
            default: throw CredentialFailure(.badManifest(reason: "its layer \(layer.digest) is a \"\(layer.mediaType)\""))
            }
        }
    }

    private func configuration(_ blob: Descriptor, _ client: RegistryClient) async throws
        -> (bytes: [UInt8], document: ImageConfiguration)
    {
        let bytes = try await client.document(blob, what: "the configuration", limit: Self.largestConfiguration)
        let configuration: ImageConfiguration
        do {
            configuration = try StrictJSONDecoder().decode(ImageConfiguration.self, from: bytes)
        } catch {
            throw CredentialFailure(.badContent(reason: "the configuration \(blob.digest) is not valid (\(error))"))
        }
        let wanted = platform ?? .current
        if !configuration.platform.satisfies(wanted) {
            guard platform == nil else {
                throw CredentialFailure(.noSuchPlatform(wanted: wanted, available: [configuration.platform]))
            }
            observer.warning("the image's platform (\(configuration.platform)) does not match this machine's (\(wanted))")
        }
        return (bytes, configuration)
    }

    // MARK: Layers

    private struct Layer: Sendable {
        let blob: Descriptor
        let diffID: Digest
    }

    /// Every layer once, with the digest of its content.
    private func pairs(_ manifest: Manifest, _ configuration: ImageConfiguration) throws(CredentialFailure) -> [Layer] {
        let diffIDs = configuration.rootfs.diffIDs
        guard configuration.rootfs.type == "layers", diffIDs.count == manifest.layers.count else {
            let reason = "the configuration has \(diffIDs.count) diff_ids for \(manifest.layers.count) layers"
            throw CredentialFailure(.badContent(reason: reason))
        }
        var seen = Set<Digest>()
        return zip(manifest.layers, diffIDs).map { Layer(blob: $0, diffID: $1) }.filter { seen.insert($0.blob.digest).inserted }
    }

    private enum Step: Sendable {
        /// `isNew`: by this pull.
        case downloaded(Layer, isNew: Bool)
        case extracted
    }

    /// Downloads what the store does not have, a few at a time, and extracts what is there; the first failure ends all.
    private func fetch(_ layers: [Layer], _ client: RegistryClient) async throws {
        var missing = layers[...]
        try await withThrowingTaskGroup(of: Step.self) { group in
            func startDownload() {
                guard let layer = missing.popFirst() else { return }
                group.addTask {
                    .downloaded(layer, isNew: try await download(layer, client))
                }
            }
            for _ in 0..<max(1, options.parallelDownloads) { startDownload() }
            while let step = try await group.next() {
                guard case .downloaded(let layer, let isNew) = step else { continue }
                startDownload()
                group.addTask {
                    try await extract(layer, isNew: isNew)
                    return .extracted
                }
            }
        }
    }

    /// - Returns: false when the store has it already.
    private func download(_ layer: Layer, _ client: RegistryClient) async throws -> Bool {
        let blob = layer.blob
        guard !store.contains(blob) else {
            observer.layer(blob.digest, .exists)
            return false
        }
        let writer = try store.blobWriter(expecting: blob)
        observer.layer(blob.digest, .downloading(done: 0, total: blob.size))
        try await client.download(
            blob,
            noticing: { observer.layer(blob.digest, .downloading(done: $0, total: blob.size)) },
            waiting: { observer.layer(blob.digest, .retrying(reason: $0)) },
            consume: { try writer.write($0) })
        do {
            try writer.finish()
        } catch let error as ImageStoreError {
            // Only what the registry is to blame for is put on its account.
            guard case .digestMismatch = error else { throw error }
            throw CredentialFailure(.badContent(reason: error.description))
        }
        observer.layer(blob.digest, .downloaded)
        return true
    }

    /// Extracts a layer on the queue, unless that was done before or the pull was cancelled meanwhile.
    private func extract(_ layer: Layer, isNew: Bool) async throws {
        guard extractsLayers else { return }
        try Task.checkCancellation()
        let wasThere = try await extraction.runIfActive { [store, observer] in
            var wasThere = false
            try store.extract(layer.blob, diffID: layer.diffID) { progress in
                if progress.phase == .exists { wasThere = true }
                guard progress.phase == .extracting else { return }
                observer.layer(layer.blob.digest, .extracting(done: progress.completed, total: progress.total))
            }
            return wasThere
        }
        if isNew || !wasThere { observer.layer(layer.blob.digest, .complete) }
    }
}
