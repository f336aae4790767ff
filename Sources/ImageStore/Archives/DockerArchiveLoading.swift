import LinuxKernel
import OCISpec
import StrictJSON

/// One image of a docker-archive's manifest.json.
struct DockerArchiveEntry: Codable {
    var config: String
    var repoTags: [String]?
    var layers: [String]

    enum CodingKeys: String, CodingKey {
        case config = "Config"
        case repoTags = "RepoTags"
        case layers = "Layers"
    }
}

/// Loads the format of `docker save`: manifest.json, configurations, and layers that are plain or compressed.
struct DockerArchiveLoading {
    let store: ImageStore
    let contents: any ArchiveContents
    let progress: ProgressHandler?

    func load(_ bytes: [UInt8]) throws -> [StoredImage] {
        let entries = try ImageStore.decode([DockerArchiveEntry].self, from: bytes, called: "manifest.json")
        guard !entries.isEmpty else { throw ImageStoreError.badArchive(contents.name, reason: "it contains no image") }
        return try entries.map { try load($0) }
    }

    private func load(_ entry: DockerArchiveEntry) throws -> StoredImage {
        let references = try (entry.repoTags ?? []).map { try ImageReference(parsing: $0) }
        let config = Descriptor(mediaType: .ociConfiguration, ingested: try ingest(entry.config))
        // The file's name is the digest that the archive's maker saw.
        let stem = entry.config.split(separator: "/").last.map { $0.hasSuffix(".json") ? String($0.dropLast(5)) : String($0) } ?? ""
        if let named = Digest(.sha256, hex: stem), named != config.digest {
            throw ImageStoreError.digestMismatch(expected: named, actual: config.digest)
        }
        let configuration = try store.readDocument(ImageConfiguration.self, config.digest, called: "configuration")
        guard configuration.rootfs.diffIDs.count == entry.layers.count else {
            throw ImageStoreError.badDocument(
                "configuration \(config.digest)",
                reason: "it has \(configuration.rootfs.diffIDs.count) diff_ids for \(entry.layers.count) layers")
        }
        var layers: [Descriptor] = []
        for (path, diffID) in zip(entry.layers, configuration.rootfs.diffIDs) {
            let found = try ingest(path)
            let compression = try compression(of: found.digest, path)
            if compression == .none, found.digest != diffID, found.digest.algorithm == diffID.algorithm {
                throw ImageStoreError.diffIDMismatch(layer: found.digest, expected: diffID, actual: found.digest)
            }
            let layer = Descriptor(mediaType: .layer(compression), ingested: found)
            try store.extract(layer, diffID: diffID, progress: progress)
            layers.append(layer)
        }
        let manifest = try StrictJSONEncoder().encode(Manifest(config: config, layers: layers))
        return try store.add(manifest: try store.addBlob(manifest, mediaType: .ociManifest), references: references)
    }

    private func ingest(_ path: String) throws -> (digest: Digest, size: Int64) {
        guard let found = try contents.ingest(path, algorithm: .sha256, progress: progress) else {
            throw ImageStoreError.badArchive(contents.name, reason: "\(printable(path.utf8)), which manifest.json names, is missing")
        }
        return found
    }

    private func compression(of blob: Digest, _ path: String) throws -> MediaType.Compression {
        do {
            return try StreamFormat.compression(of: try ImageStore.magic(of: try store.openBlob(blob)) ?? [])
        } catch let failure as UnpackFailure {
            throw ImageStoreError.badArchive(contents.name, reason: "\(printable(path.utf8)): \(failure.reason)")
        }
    }
}

extension Descriptor {
    /// A descriptor of what `ArchiveContents.ingest` has brought.
    init(mediaType: MediaType, ingested: (digest: Digest, size: Int64)) {
        self.init(mediaType: mediaType, digest: ingested.digest, size: ingested.size)
    }
}
