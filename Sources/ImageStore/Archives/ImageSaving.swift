import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// The formats that `coffer save` writes.
public enum ArchiveFormat: String, Sendable, CaseIterable {
    /// An OCI image layout that also has Docker's manifest.json, as Docker 25 and later write it: `docker load` and
    /// `podman load` of any age read it.
    case dockerArchive = "docker-archive"
    /// An OCI image layout in a tar file.
    case ociArchive = "oci-archive"
}

extension ImageStore {
    /// Writes images to an archive. Blobs are copied as they are, so that every digest stays the same.
    ///
    /// - Parameters:
    ///   - names: names or IDs. An image that is named by ID is saved without a name.
    ///   - output: a descriptor that stays the caller's.
    public func save(_ names: [String], as format: ArchiveFormat, to output: borrowing FileDescriptor, progress: ProgressHandler? = nil) throws {
        let hold = try hold()
        defer { withExtendedLifetime(hold) {} }
        var images: [(image: StoredImage, references: [ImageReference])] = []
        for name in names {
            let image = try resolve(name)
            let reference = image.references.first { $0.taggedName == Self.taggedName(name) }
            if let position = images.firstIndex(where: { $0.image.descriptor.digest == image.descriptor.digest }) {
                images[position].references += [reference].compactMap { $0 }
            } else {
                images.append((image, [reference].compactMap { $0 }))
            }
        }
        let tar = TarWriter(output.rawValue)
        try tar.directory("blobs")
        var written = Set<Digest>()
        for (image, _) in images {
            for blob in [image.descriptor, image.manifest.config] + image.manifest.layers where written.insert(blob.digest).inserted {
                let file = try openBlob(blob.digest)
                do {
                    try tar.file(Self.archivePath(blob.digest), size: blob.size, from: ByteSource(file.rawValue, hashing: nil))
                } catch is UnpackFailure {
                    throw ImageStoreError.sizeMismatch(blob.digest, expected: blob.size, actual: 0)
                }
                progress?(TransferProgress(digest: blob.digest, phase: .done, completed: blob.size, total: blob.size))
            }
        }
        try tar.file("index.json", try StrictJSONEncoder().encode(Self.index(of: images)))
        if format == .dockerArchive { try tar.file("manifest.json", try StrictJSONEncoder().encode(images.map(Self.dockerEntry))) }
        try tar.file(ImageLayoutMarker.fileName, try StrictJSONEncoder().encode(ImageLayoutMarker()))
        try tar.finish()
    }

    private static func taggedName(_ text: String) -> String? {
        do { return try ImageReference(parsing: text).taggedName } catch { return nil }
    }

    private static func archivePath(_ digest: Digest) -> String { "blobs/\(digest.algorithm.rawValue)/\(digest.hex)" }

    private static func index(of images: [(image: StoredImage, references: [ImageReference])]) -> Index {
        var index = Index(manifests: [])
        for (image, references) in images {
            var entry = image.descriptor
            entry.platform = image.configuration.platform
            if references.isEmpty { index.manifests.append(entry) }
            for reference in references {
                // Both annotations: containerd reads its own for the name, others the standard one.
                entry.annotations = [
                    ImageAnnotation.referenceName: reference.taggedName, ImageAnnotation.containerdName: reference.taggedName,
                ]
                index.manifests.append(entry)
            }
        }
        return index
    }

    private static func dockerEntry(_ saved: (image: StoredImage, references: [ImageReference])) -> DockerArchiveEntry {
        DockerArchiveEntry(
            config: archivePath(saved.image.id), repoTags: saved.references.map { "\($0.familiarName):\($0.tag ?? "latest")" },
            layers: saved.image.manifest.layers.map { archivePath($0.digest) })
    }
}
