import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

extension ImageStore {
    /// Makes an image of one layer from a tarball of a root file system, plain or compressed.
    ///
    /// - Parameters:
    ///   - changes: instructions of a Dockerfile that set the image's configuration (`--change`).
    ///   - message: the history entry's comment.
    ///   - created: RFC 3339.
    public func importRootFileSystem(
        from location: ArchiveLocation, as reference: ImageReference?, changes: [String], message: String?, created: String,
        platform: Platform = .current, progress: ProgressHandler? = nil
    ) throws -> StoredImage {
        var defaults = ExecutionDefaults()
        for change in changes { try ConfigurationChange.apply(change, to: &defaults) }
        return try leavingNothing {
            let (layer, diffID) = try importLayer(from: location, progress: progress)
            let history = ImageConfiguration.HistoryEntry(
                created: created, createdBy: nil, comment: message ?? "Imported from \(location.name)")
            var configuration = ImageConfiguration(
                architecture: platform.architecture, os: platform.os, config: defaults,
                rootfs: ImageConfiguration.RootFileSystem(diffIDs: [diffID]), history: [history], created: created)
            configuration.variant = platform.variant
            let config = try addBlob(try StrictJSONEncoder().encode(configuration), mediaType: .ociConfiguration)
            let manifest = try StrictJSONEncoder().encode(Manifest(config: config, layers: [layer]))
            return try add(
                manifest: try addBlob(manifest, mediaType: .ociManifest), references: [reference].compactMap { $0 })
        }
    }

    /// Stores the tarball as it is, and extracts it.
    private func importLayer(from location: ArchiveLocation, progress: ProgressHandler?) throws -> (Descriptor, Digest) {
        let (file, size) = try openArchive(location)
        let source = FileDescriptor(owning: file)
        let writer = try blobWriter()
        try storing("read \(location.name)") {
            try ByteSource(source.rawValue, hashing: nil).forEachPiece { part in
                try writer.write(part)
                progress?(TransferProgress(digest: DirectoryContents.unknown, phase: .copying, completed: writer.size, total: size))
            }
        }
        let (digest, length) = try writer.finish()
        guard length > 0 else { throw ImageStoreError.badArchive(location.name, reason: "it is empty") }
        let compression: MediaType.Compression
        do {
            compression = try StreamFormat.compression(of: try Self.magic(of: try openBlob(digest)) ?? [])
        } catch let failure as UnpackFailure {
            throw ImageStoreError.badArchive(location.name, reason: failure.reason)
        }
        let layer = Descriptor(mediaType: .layer(compression), digest: digest, size: length)
        return (layer, try extractUnknown(layer, compression, progress: progress))
    }
}
