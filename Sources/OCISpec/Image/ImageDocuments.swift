/// A reference to a blob: what it is, how long it is, and its digest (OCI image specification, "Descriptor").
public struct Descriptor: Codable, Sendable, Hashable {
    public var mediaType: MediaType
    public var digest: Digest
    /// Bytes.
    public var size: Int64
    public var urls: [String]?
    public var annotations: [String: String]?
    public var platform: Platform?
    public var artifactType: String?

    public init(
        mediaType: MediaType, digest: Digest, size: Int64, annotations: [String: String]? = nil, platform: Platform? = nil
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.annotations = annotations
        self.platform = platform
    }

    enum CodingKeys: String, CodingKey { case mediaType, digest, size, urls, annotations, platform, artifactType }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        mediaType = try values.decode(MediaType.self, forKey: .mediaType)
        digest = try values.decode(Digest.self, forKey: .digest)
        size = try values.decode(Int64.self, forKey: .size)
        guard size >= 0 else {
            throw DecodingError.dataCorruptedError(forKey: .size, in: values, debugDescription: "a size is not negative")
        }
        urls = try values.decodeIfPresent([String].self, forKey: .urls)
        annotations = try values.decodeIfPresent([String: String].self, forKey: .annotations)
        platform = try values.decodeIfPresent(Platform.self, forKey: .platform)
        artifactType = try values.decodeIfPresent(String.self, forKey: .artifactType)
    }
}

/// Why a document that is valid JSON is no image document.
public enum ImageDocumentError: Error, Sendable, Equatable, CustomStringConvertible {
    /// It has the members of an index and of a manifest: two readers could see two images (GHSA-5j5w-g665-5m35).
    case ambiguous
    case notAManifest
    case wrongSchemaVersion(Int)
    /// `mediaType` inside contradicts what the document is.
    case contradictingMediaType(found: MediaType)
    /// Docker's first manifest format, which nothing verifies by content.
    case schemaOne

    public var description: String {
        switch self {
        case .ambiguous: "the document is both an image index and a manifest, and is refused"
        case .notAManifest: "the document is neither an image index nor a manifest"
        case .wrongSchemaVersion(let version): "the document has schemaVersion \(version), only 2 is supported"
        case .contradictingMediaType(let found): "the document calls itself \(found), which contradicts its content"
        case .schemaOne: "the image is in Docker's schema 1 format, which is not supported: push it again with a current Docker"
        }
    }
}

/// A manifest or an index, told apart by content and checked against its own media type.
public enum ImageDocument: Sendable, Equatable {
    case manifest(Manifest)
    case index(Index)
}

extension ImageDocument: Decodable {
    private enum CodingKeys: String, CodingKey { case schemaVersion, mediaType, manifests, config, layers, fsLayers }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let version = try values.decodeIfPresent(Int.self, forKey: .schemaVersion)
        if version == 1 || values.contains(.fsLayers) { throw ImageDocumentError.schemaOne }
        guard version == 2 else { throw ImageDocumentError.wrongSchemaVersion(version ?? 0) }
        let isIndex = values.contains(.manifests)
        let isManifest = values.contains(.config) || values.contains(.layers)
        if isIndex && isManifest { throw ImageDocumentError.ambiguous }
        guard isIndex || isManifest else { throw ImageDocumentError.notAManifest }
        if let type = try values.decodeIfPresent(MediaType.self, forKey: .mediaType),
            type.kind != (isIndex ? .index : .manifest)
        {
            throw ImageDocumentError.contradictingMediaType(found: type)
        }
        self = isIndex ? .index(try Index(from: decoder)) : .manifest(try Manifest(from: decoder))
    }
}

/// An image manifest: one configuration and its layers, lowest first.
public struct Manifest: Codable, Sendable, Equatable {
    public var schemaVersion: Int
    public var mediaType: MediaType?
    public var artifactType: String?
    public var config: Descriptor
    public var layers: [Descriptor]
    public var subject: Descriptor?
    public var annotations: [String: String]?

    public init(config: Descriptor, layers: [Descriptor], mediaType: MediaType = .ociManifest) {
        schemaVersion = 2
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
    }
}

/// An image index: manifests for several platforms, or the entries of an image layout.
public struct Index: Codable, Sendable, Equatable {
    public var schemaVersion: Int
    public var mediaType: MediaType?
    public var manifests: [Descriptor]
    public var annotations: [String: String]?

    public init(manifests: [Descriptor]) {
        schemaVersion = 2
        mediaType = .ociIndex
        self.manifests = manifests
    }

    /// The entry to use on `platform`: an exact match, else one whose variant fits, else an entry without a platform when
    /// it is the only one. Entries that are no image (attestations: "unknown/unknown") never match.
    public func entry(for platform: Platform) -> Descriptor? {
        let images = manifests.filter { [.manifest, .index].contains($0.mediaType.kind) }
        if let exact = images.first(where: { $0.platform == platform }) { return exact }
        if let fitting = images.first(where: { $0.platform?.satisfies(platform) ?? false }) { return fitting }
        return images.count == 1 && images[0].platform == nil ? images[0] : nil
    }
}

/// The file `oci-layout` that marks a directory as an image layout.
public struct ImageLayoutMarker: Codable, Sendable, Equatable {
    public static let fileName = "oci-layout"
    public var imageLayoutVersion: String
    public init() { imageLayoutVersion = "1.0.0" }
}

/// Annotation keys that the image specification defines or that tools agree on.
public enum ImageAnnotation {
    /// The tag or full name of an entry of an image layout's index.
    public static let referenceName = "org.opencontainers.image.ref.name"
    /// The full name where `referenceName` holds only the tag (containerd, nerdctl, buildx).
    public static let containerdName = "io.containerd.image.name"
}
