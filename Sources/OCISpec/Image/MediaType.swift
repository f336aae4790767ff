/// The media type of a blob, OCI's or Docker's.
public struct MediaType: RawRepresentable, Sendable, Hashable, Codable, CustomStringConvertible {
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
    public var description: String { rawValue }

    /// How a layer's tar stream is compressed.
    public enum Compression: String, Sendable, CaseIterable { case none, gzip, zstd }

    /// What a media type says about a blob.
    public enum Kind: Sendable, Equatable {
        /// A list of manifests for several platforms.
        case index
        case manifest
        case configuration
        case layer(Compression)
        /// A layer that may not be distributed with the image (Windows base layers).
        case foreignLayer
        case unknown
    }

    public static let ociIndex = MediaType(rawValue: "application/vnd.oci.image.index.v1+json")
    public static let ociManifest = MediaType(rawValue: "application/vnd.oci.image.manifest.v1+json")
    public static let ociConfiguration = MediaType(rawValue: "application/vnd.oci.image.config.v1+json")
    public static let ociLayer = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar")
    public static let ociLayerGzip = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar+gzip")
    public static let ociLayerZstd = MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar+zstd")
    public static let dockerManifestList = MediaType(rawValue: "application/vnd.docker.distribution.manifest.list.v2+json")
    public static let dockerManifest = MediaType(rawValue: "application/vnd.docker.distribution.manifest.v2+json")
    public static let dockerConfiguration = MediaType(rawValue: "application/vnd.docker.container.image.v1+json")
    public static let dockerLayer = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar")
    public static let dockerLayerGzip = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar.gzip")
    public static let dockerLayerZstd = MediaType(rawValue: "application/vnd.docker.image.rootfs.diff.tar.zstd")

    /// Every media type that is understood, once.
    public static let table: [(type: MediaType, kind: Kind)] = [
        (ociIndex, .index), (dockerManifestList, .index),
        (ociManifest, .manifest), (dockerManifest, .manifest),
        (ociConfiguration, .configuration), (dockerConfiguration, .configuration),
        (ociLayer, .layer(.none)), (ociLayerGzip, .layer(.gzip)), (ociLayerZstd, .layer(.zstd)),
        (dockerLayer, .layer(.none)), (dockerLayerGzip, .layer(.gzip)), (dockerLayerZstd, .layer(.zstd)),
        (MediaType(rawValue: "application/vnd.oci.image.layer.nondistributable.v1.tar"), .foreignLayer),
        (MediaType(rawValue: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"), .foreignLayer),
        (MediaType(rawValue: "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"), .foreignLayer),
        (MediaType(rawValue: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), .foreignLayer),
    ]

    public var kind: Kind { MediaType.table.first { $0.type == self }?.kind ?? .unknown }
}
