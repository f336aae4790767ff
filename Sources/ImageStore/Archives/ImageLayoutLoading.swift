import OCISpec
import StrictJSON

/// Loads an OCI image layout.
struct ImageLayoutLoading {
    let store: ImageStore
    let contents: any ArchiveContents
    let platform: Platform
    let progress: ProgressHandler?

    func load() throws -> [StoredImage] {
        guard let markerBytes = try contents.read(ImageLayoutMarker.fileName), let indexBytes = try contents.read("index.json") else {
            throw ImageStoreError.badArchive(contents.name, reason: "index.json is missing")
        }
        let marker = try ImageStore.decode(ImageLayoutMarker.self, from: markerBytes, called: "oci-layout")
        guard marker.imageLayoutVersion.hasPrefix("1.") else {
            throw ImageStoreError.badArchive(contents.name, reason: "its image layout version \"\(marker.imageLayoutVersion)\" is not supported")
        }
        let document = try ImageStore.decode(ImageDocument.self, from: indexBytes, called: "index.json")
        guard case .index(let index) = document else {
            throw ImageStoreError.badArchive(contents.name, reason: "index.json is a manifest")
        }
        let chosen = try choose(index)
        guard !chosen.isEmpty else { throw ImageStoreError.badArchive(contents.name, reason: "it contains no image") }
        var images: [StoredImage] = []
        for (entry, names) in chosen { images.append(try load(entry, names)) }
        return images
    }

    /// The entries to load: one per image; of several for one name, the one for the platform. The same manifest under several
    /// names is loaded once.
    private func choose(_ index: Index) throws -> [(Descriptor, [ImageReference])] {
        var groups: [(name: String?, entries: [Descriptor])] = []
        for entry in index.manifests {
            let name = Self.name(of: entry)
            if let position = groups.firstIndex(where: { $0.name == name && (name != nil || entry.platform != nil) }) {
                groups[position].entries.append(entry)
            } else {
                groups.append((name, [entry]))
            }
        }
        var chosen: [(Descriptor, [ImageReference])] = []
        for (name, entries) in groups {
            guard let entry = entries.count == 1 ? entries[0] : Index(manifests: entries).entry(for: platform) else {
                throw ImageStoreError.noSuchPlatform(name ?? contents.name, wanted: platform)
            }
            let reference = try name.map { try ImageReference(parsing: $0) }
            if let position = chosen.firstIndex(where: { $0.0.digest == entry.digest }) {
                chosen[position].1 += [reference].compactMap { $0 }
            } else {
                chosen.append((entry, [reference].compactMap { $0 }))
            }
        }
        return chosen
    }

    /// A full name. An annotation that holds only a tag names nothing by itself.
    private static func name(of entry: Descriptor) -> String? {
        if let full = entry.annotations?[ImageAnnotation.containerdName] { return full }
        guard let text = entry.annotations?[ImageAnnotation.referenceName] else { return nil }
        return text.contains("/") || text.contains(":") ? text : nil
    }

    private func load(_ entry: Descriptor, _ names: [ImageReference], depth: Int = 0) throws -> StoredImage {
        try ingest(entry)
        switch entry.mediaType.kind {
        case .index:
            let document = try store.readDocument(ImageDocument.self, entry.digest, called: "index")
            guard depth < 4, case .index(let index) = document else {
                throw ImageStoreError.badDocument("index \(entry.digest)", reason: "it is a manifest, or nested too deeply")
            }
            guard let inner = index.entry(for: platform) else { throw ImageStoreError.noSuchPlatform(contents.name, wanted: platform) }
            return try load(inner, names, depth: depth + 1)
        case .manifest:
            let manifest = try store.loadManifest(entry)
            try ingest(manifest.config)
            let configuration = try store.configuration(of: manifest)
            for (layer, diffID) in zip(manifest.layers, configuration.rootfs.diffIDs) {
                try ingest(layer)
                try store.extract(layer, diffID: diffID, progress: progress)
            }
            return try store.add(manifest: entry, references: names)
        default: throw ImageStoreError.unknownMediaType(entry.mediaType.rawValue, of: "\(entry.digest)")
        }
    }

    private func ingest(_ blob: Descriptor) throws {
        let path = "blobs/\(blob.digest.algorithm.rawValue)/\(blob.digest.hex)"
        guard let found = try contents.ingest(path, algorithm: blob.digest.algorithm, progress: progress) else {
            throw ImageStoreError.badArchive(contents.name, reason: "the blob \(blob.digest) is missing")
        }
        guard found.size == blob.size else {
            throw ImageStoreError.sizeMismatch(blob.digest, expected: blob.size, actual: found.size)
        }
        guard found.digest == blob.digest else {
            throw ImageStoreError.digestMismatch(expected: blob.digest, actual: found.digest)
        }
    }
}
