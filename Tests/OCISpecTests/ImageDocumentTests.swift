import OCISpec
import StrictJSON
import Testing

@Suite struct ImageDocumentTests {
    private static let hex = String(repeating: "0123456789abcdef", count: 4)

    @Test(
        "what is not exactly a digest is none",
        arguments: [
            "", "sha256:", "sha256:\(hex)0", "sha256:\(hex.dropLast())", "SHA256:\(hex)", "sha256:\(hex.uppercased())", "md5:\(hex)",
            " sha256:\(hex)", "sha256:\(hex)\n", "sha256:../../../../etc/passwd", "sha512:\(hex)", "sha256 :\(hex)", hex,
        ])
    func notADigest(_ text: String) { #expect(Digest(text) == nil) }

    @Test func digests() throws {
        let digest = try #require(Digest("sha256:\(Self.hex)"))
        #expect(digest.description == "sha256:\(Self.hex)")
        #expect(digest.short == "0123456789ab")
        #expect(Digest("sha512:\(Self.hex)\(Self.hex)")?.algorithm == .sha512)
        #expect(Digest(.sha256, bytes: [UInt8](repeating: 0xab, count: 32)).hex == String(repeating: "ab", count: 32))
    }

    private func decode(_ text: String) throws -> ImageDocument { try StrictJSONDecoder().decode(ImageDocument.self, from: Array(text.utf8)) }

    private static let config = #"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:\#(hex)","size":2}"#

    @Test func manifestsAndIndexesAreToldApart() throws {
        guard case .manifest(let manifest) = try decode(#"{"schemaVersion":2,"config":\#(Self.config),"layers":[],"unknown":1}"#) else {
            Issue.record("not a manifest")
            return
        }
        #expect(manifest.config.size == 2)
        guard case .index(let index) = try decode(#"{"schemaVersion":2,"manifests":[\#(Self.config)]}"#) else {
            Issue.record("not an index")
            return
        }
        #expect(index.manifests.count == 1)
    }

    @Test(arguments: [
        (#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, ImageDocumentError.ambiguous),
        (#"{"schemaVersion":2,"manifests":[],"config":{}}"#, .ambiguous), (#"{"schemaVersion":2}"#, .notAManifest),
        (#"{"schemaVersion":3,"manifests":[]}"#, .wrongSchemaVersion(3)), (#"{"manifests":[]}"#, .wrongSchemaVersion(0)),
        (#"{"schemaVersion":1,"fsLayers":[]}"#, .schemaOne), (#"{"schemaVersion":2,"fsLayers":[],"layers":[]}"#, .schemaOne),
        (
            #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":\#(config),"layers":[]}"#,
            .contradictingMediaType(found: .ociIndex)
        ),
    ]) func refusedDocuments(_ text: String, _ error: ImageDocumentError) {
        #expect(throws: error) { try decode(text) }
    }

    @Test(arguments: [#""size":-1"#, #""size":1.5"#, #""size":9223372036854775808"#, #""size":"2""#]) func badSizes(_ size: String) {
        #expect(throws: (any Error).self) {
            try decode(#"{"schemaVersion":2,"manifests":[\#(Self.config.split(separator: ",").dropLast().joined(separator: ",")),\#(size)}]}"#)
        }
    }

    @Test func entryForPlatform() {
        let descriptors = ["amd64", "arm64", "unknown"].map { architecture -> Descriptor in
            let digest = Digest(.sha256, bytes: [UInt8](repeating: UInt8(architecture.utf8.count), count: 31) + [architecture.utf8.first ?? 0])
            return Descriptor(
                mediaType: .ociManifest, digest: digest, size: 1,
                platform: Platform(os: architecture == "unknown" ? "unknown" : "linux", architecture: architecture))
        }
        let index = Index(manifests: descriptors)
        #expect(index.entry(for: Platform(os: "linux", architecture: "arm64", variant: "v8"))?.platform?.architecture == "arm64")
        #expect(index.entry(for: Platform(os: "linux", architecture: "s390x")) == nil)
        #expect(Index(manifests: [Descriptor(mediaType: .ociManifest, digest: descriptors[0].digest, size: 1)]).entry(for: .current) != nil)
    }

    @Test func platformsAsUsersWriteThem() {
        #expect(Platform("linux/arm64/v8") == Platform(os: "linux", architecture: "arm64", variant: "v8"))
        #expect(Platform("x86_64")?.architecture == "amd64")
        #expect(Platform("linux/") == nil && Platform("") == nil && Platform("a/b/c/d") == nil && Platform("linux/a b") == nil)
    }

    @Test func everyMediaTypeIsListedOnce() {
        #expect(Set(MediaType.table.map(\.type)).count == MediaType.table.count)
        #expect(MediaType(rawValue: "application/json").kind == .unknown)
        #expect(MediaType.dockerLayerGzip.kind == .layer(.gzip))
    }
}
