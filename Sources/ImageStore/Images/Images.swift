import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

extension ImageStore {
    /// Records an image whose blobs are all in the store, under a name.
    ///
    /// The name leaves the image that had it before; an image that so lost its last name stays, dangling.
    /// - Parameters:
    ///   - manifest: the manifest's descriptor; the blob must be there, as must the configuration's and the layers'.
    ///   - references: names to give; none makes a dangling image.
    ///   - repositoryDigest: the digest that the registry knows the name by.
    @discardableResult
    public func add(
        manifest: Descriptor, references: [ImageReference], repositoryDigest: Digest? = nil
    ) throws -> StoredImage {
        let document = try loadManifest(manifest)
        for blob in [document.config] + document.layers where !contains(blob) {
            throw ImageStoreError.missingBlob(blob.digest)
        }
        let configuration = try configuration(of: document)
        try makeDurable([manifest.digest, document.config.digest], configuration.rootfs.diffIDs)
        try locked {
            var index = try readIndex()
            let names = Set(references.filter { $0.tag != nil }.map(\.taggedName))
            // A name that moves away leaves its old image behind, without a name.
            let losers = index.manifests.filter { entry in Self.reference(of: entry).map { names.contains($0.taggedName) } ?? false }
            index.manifests.removeAll { entry in losers.contains(entry) }
            for loser in losers where !index.manifests.contains(where: { $0.digest == loser.digest }) {
                index.manifests.append(Descriptor(mediaType: loser.mediaType, digest: loser.digest, size: loser.size))
            }
            if !references.isEmpty {
                index.manifests.removeAll { $0.digest == manifest.digest && $0.annotations == nil }
            }
            for reference in references {
                var entry = Descriptor(
                    mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size,
                    annotations: [:], platform: configuration.platform)
                // Pulled by digest alone, an image gets no name, only its origin.
                if reference.tag != nil { entry.annotations?[ImageAnnotation.referenceName] = reference.taggedName }
                if let repositoryDigest {
                    entry.annotations?[StoreAnnotation.repositoryDigest] = "\(reference.name)@\(repositoryDigest)"
                }
                index.manifests.removeAll { $0.digest == entry.digest && $0.annotations == entry.annotations }
                index.manifests.append(entry)
            }
            if references.isEmpty, !index.manifests.contains(where: { $0.digest == manifest.digest }) {
                index.manifests.append(Descriptor(mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.size))
            }
            try writeIndex(index)
        }
        return try image(of: manifest, entries: try readIndex().manifests)
    }

    /// All images, each once, newest first. Those that are damaged are left out, with a warning.
    public func images() throws -> [StoredImage] {
        let entries = try readIndex().manifests
        var seen = Set<Digest>()
        return entries.filter { seen.insert($0.digest).inserted }.compactMap { intact($0, entries) }
            .sorted { ($0.configuration.created ?? "") > ($1.configuration.created ?? "") }
    }

    /// The image of an entry; nil and a warning where it is damaged, so that it does not hide all others.
    private func intact(_ entry: Descriptor, _ entries: [Descriptor]) -> StoredImage? {
        do {
            return try image(of: entry, entries: entries)
        } catch {
            surroundings.warn("\(error)")
            return nil
        }
    }

    /// The image that a user means: a name, a name with digest, a full ID or a prefix of it.
    ///
    /// - Throws: `ImageStoreError.noSuchImage` or `.ambiguousID`.
    public func resolve(_ text: String) throws -> StoredImage {
        let entries = try readIndex().manifests
        if let entry = try entry(named: text, entries) { return try image(of: entry, entries: entries) }
        let prefix = text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text
        guard prefix.count >= 2, prefix.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }) else {
            throw ImageStoreError.noSuchImage(text)
        }
        var matches: [Digest: StoredImage] = [:]
        for image in try images() where image.id.hex.hasPrefix(prefix) || image.descriptor.digest.hex == prefix {
            matches[image.id] = image
        }
        guard let match = matches.first?.value else { throw ImageStoreError.noSuchImage(text) }
        if matches.count > 1 { throw ImageStoreError.ambiguousID(prefix) }
        return match
    }

    /// The entry of the index that a name, or a name with a digest, points to.
    func entry(named text: String, _ entries: [Descriptor]) throws -> Descriptor? {
        let reference: ImageReference
        do { reference = try ImageReference(parsing: text) } catch { return nil }
        if let digest = reference.digest {
            return entries.first { entry in
                entry.digest == digest && Self.reference(of: entry)?.name == reference.name
                    || entry.annotations?[StoreAnnotation.repositoryDigest] == "\(reference.name)@\(digest)"
            }
        }
        return entries.first { Self.reference(of: $0)?.taggedName == reference.taggedName }
    }

    /// Gives an image one more name.
    public func tag(_ source: String, as target: ImageReference) throws {
        guard target.digest == nil else { throw ImageReferenceError(text: "\(target)", reason: "a digest cannot be given as a name") }
        let hold = try hold()
        let image = try withExtendedLifetime(hold) { try resolve(source) }
        try add(manifest: image.descriptor, references: [target])
    }

    /// The lines of `coffer image history`, newest first.
    public func history(of image: StoredImage) throws -> [HistoryLine] {
        var layers = image.layers[...]
        var lines: [HistoryLine] = []
        for entry in image.configuration.history ?? [] {
            let layer = entry.emptyLayer == true ? nil : layers.popFirst()
            lines.append(
                HistoryLine(
                    created: entry.created, createdBy: entry.createdBy ?? "", comment: entry.comment ?? "",
                    size: layer.map { layerSize($0.blob, $0.diffID) } ?? 0, diffID: layer?.diffID))
        }
        for layer in layers {
            lines.append(
                HistoryLine(
                    created: nil, createdBy: "", comment: "", size: layerSize(layer.blob, layer.diffID), diffID: layer.diffID))
        }
        return lines.reversed()
    }

    // MARK: Documents

    func loadManifest(_ descriptor: Descriptor) throws -> Manifest {
        guard descriptor.mediaType.kind == .manifest else {
            throw ImageStoreError.unknownMediaType(descriptor.mediaType.rawValue, of: "manifest \(descriptor.digest)")
        }
        let document = try readDocument(ImageDocument.self, descriptor.digest, called: "manifest")
        guard case .manifest(let manifest) = document else {
            throw ImageStoreError.badDocument("manifest \(descriptor.digest)", reason: "it is an index")
        }
        return manifest
    }

    /// The configuration of a manifest; checks media types, and that there is one diffID per layer.
    func configuration(of manifest: Manifest) throws -> ImageConfiguration {
        guard manifest.config.mediaType.kind == .configuration else {
            throw ImageStoreError.unknownMediaType(manifest.config.mediaType.rawValue, of: "configuration \(manifest.config.digest)")
        }
        for layer in manifest.layers {
            guard case .layer = layer.mediaType.kind else {
                throw ImageStoreError.unknownMediaType(layer.mediaType.rawValue, of: "layer \(layer.digest)")
            }
        }
        let digest = manifest.config.digest
        let configuration = try readDocument(ImageConfiguration.self, digest, called: "configuration")
        guard configuration.rootfs.type == "layers", configuration.rootfs.diffIDs.count == manifest.layers.count else {
            throw ImageStoreError.badDocument(
                "configuration \(digest)",
                reason: "it has \(configuration.rootfs.diffIDs.count) diff_ids for \(manifest.layers.count) layers")
        }
        return configuration
    }

    /// Everything about the image of one manifest.
    ///
    /// - Throws: `ImageStoreError.damagedImage` when a document of it cannot be read.
    func image(of descriptor: Descriptor, entries: [Descriptor]) throws -> StoredImage {
        let own = entries.filter { $0.digest == descriptor.digest }
        let manifest: Manifest
        let configuration: ImageConfiguration
        do {
            manifest = try loadManifest(descriptor)
            configuration = try self.configuration(of: manifest)
        } catch {
            throw ImageStoreError.damagedImage(Self.name(of: descriptor.digest, own), reason: "\(error)")
        }
        let size = zip(manifest.layers, configuration.rootfs.diffIDs).reduce(0) { $0 + layerSize($1.0, $1.1) }
        return StoredImage(
            id: manifest.config.digest,
            descriptor: Descriptor(mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size),
            manifest: manifest, configuration: configuration, references: own.compactMap(Self.reference).sorted(),
            repositoryDigests: Set(own.compactMap { $0.annotations?[StoreAnnotation.repositoryDigest] }).sorted(), size: size)
    }
}

extension ImageStore {
    /// What to call an image of which only its entries are known.
    static func name(of digest: Digest, _ entries: [Descriptor]) -> String {
        entries.filter { $0.digest == digest }.compactMap(reference).min()?.familiar ?? digest.description
    }
}

extension ImageReference {
    /// Name and tag without the digest: what an entry of the index is called.
    var taggedName: String { "\(name):\(tag ?? "latest")" }
}
