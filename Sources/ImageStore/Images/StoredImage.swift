import OCISpec

/// An image of the store.
public struct StoredImage: Sendable {
    /// The image's ID: the digest of its configuration.
    public let id: Digest
    /// The manifest, as the index names it.
    public let descriptor: Descriptor
    public let manifest: Manifest
    public let configuration: ImageConfiguration
    /// Every name, sorted. Empty for a dangling image.
    public let references: [ImageReference]
    /// Where it was pulled from, by digest: "docker.io/library/nginx@sha256:…".
    public let repositoryDigests: [String]
    /// Bytes of the layers, uncompressed where they have been extracted, else as stored.
    public let size: Int64

    /// Layers, lowest first: the blob and the digest of its uncompressed content.
    public var layers: [(blob: Descriptor, diffID: Digest)] {
        Array(zip(manifest.layers, configuration.rootfs.diffIDs))
    }
}

/// One line of `coffer image history`.
public struct HistoryLine: Sendable, Equatable {
    /// RFC 3339, or nil.
    public let created: String?
    public let createdBy: String
    public let comment: String
    /// Bytes, uncompressed where known.
    public let size: Int64
    /// The layer's diffID, or nil for a step without one.
    public let diffID: Digest?
}

/// What `remove` did, in the order in which Docker prints it.
public enum RemovalStep: Sendable, Equatable, CustomStringConvertible {
    case untagged(ImageReference)
    case deleted(Digest)

    public var description: String {
        switch self {
        case .untagged(let reference): "Untagged: \(reference)"
        case .deleted(let digest): "Deleted: \(digest)"
        }
    }
}
