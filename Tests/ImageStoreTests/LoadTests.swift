import Glibc
import LinuxKernel
import OCISpec
import StrictJSON
import Testing

@testable import ImageStore

/// Whole archives through the built program's sandbox, as root or as a user with subordinate IDs.
@Suite(.serialized, .enabled(if: geteuid() == 0, "a user needs a range in /etc/subuid"))
struct LoadTests {
    static let layer = TarBuilder.archive {
        $0.directory("etc")
        $0.file("etc/motd", "hello")
        $0.file("usr/.wh.games")
    }
    static let upper = TarBuilder.archive { $0.file("etc/extra", "more") }

    private func layers() -> [(stored: [UInt8], type: MediaType, plain: [UInt8])] {
        [(Compressed.gzip(Self.layer), .ociLayerGzip, Self.layer), (Compressed.zstd(Self.upper), .ociLayerZstd, Self.upper)]
    }

    private func layout(name: String? = "example.org/app:1") throws -> LayoutBuilder {
        var layout = LayoutBuilder()
        try layout.image(layers(), name: name)
        return layout
    }

    private func expectWhole(_ images: [StoredImage], in fixture: StoreFixture) throws {
        let image = try #require(images.first)
        #expect(image.references.map(\.description) == ["example.org/app:1"])
        let directories = try fixture.store.layers(of: image)
        #expect(directories.count == 2)
        #expect(try readFile(directories[0] + "/etc/extra") == Array("more".utf8))
        #expect(try readFile(directories[1] + "/etc/motd") == Array("hello".utf8))
        var whiteout = stat()
        #expect(lstat(directories[1] + "/usr/games", &whiteout) == 0 && whiteout.st_mode & S_IFMT == S_IFCHR && whiteout.st_rdev == 0)
    }

    @Test("an OCI layout as a tar file", arguments: ["plain", "gzip", "zstd"]) func layoutArchive(_ compression: String) throws {
        let fixture = try StoreFixture()
        let tar = try layout().tar()
        let bytes = compression == "gzip" ? Compressed.gzip(tar) : compression == "zstd" ? Compressed.zstd(tar) : tar
        try expectWhole(try fixture.store.load(from: .path(try fixture.write("image.tar", bytes))), in: fixture)
        // Only what the image refers to remains: two layers, configuration, manifest.
        #expect(try ImageStore.entries(of: fixture.store.root + "/blobs/sha256").count == 4)
    }

    @Test("an OCI layout as a directory, its blobs symbolic links") func layoutDirectory() throws {
        let fixture = try StoreFixture()
        let directory = fixture.directory + "/layout"
        for path in ["", "/blobs", "/blobs/sha256", "/cache"] { try retrying("mkdir") { mkdir(directory + path, 0o755) } }
        for (path, bytes) in try layout().allFiles() {
            guard path.hasPrefix("blobs/") else {
                try replaceFile("\(directory)/\(path)", with: bytes)
                continue
            }
            let name = path.dropFirst("blobs/sha256/".count)
            try replaceFile("\(directory)/cache/\(name)", with: bytes)
            try retrying("symlink") { symlink("/cache/\(name)", "\(directory)/\(path)") }
        }
        try expectWhole(try fixture.store.load(from: .path(directory)), in: fixture)
    }

    @Test("links of a directory never lead out of it") func linkOutOfLayout() throws {
        let fixture = try StoreFixture()
        let directory = fixture.directory + "/layout"
        for path in ["", "/blobs", "/blobs/sha256"] { try retrying("mkdir") { mkdir(directory + path, 0o755) } }
        for (path, bytes) in try layout().allFiles() {
            let outside = try fixture.write("outside-" + path.split(separator: "/").joined(separator: "-"), bytes)
            try retrying("symlink") { symlink(path.hasPrefix("blobs/") ? outside : "../\(outside)", "\(directory)/\(path)") }
        }
        #expect(throws: ImageStoreError.self) { try fixture.store.load(from: .path(directory)) }
        try fixture.expectEmpty()
    }

    @Test("a tar file whose blobs are links inside of it") func linkedTar() throws {
        let fixture = try StoreFixture()
        var tar = TarBuilder()
        for (path, bytes) in try layout().allFiles().reversed() {
            guard path.hasPrefix("blobs/") else {
                tar.add(.init(name: Array("./\(path)".utf8)), content: bytes)
                continue
            }
            let name = path.dropFirst("blobs/sha256/".count)
            tar.symbolicLink(path, to: "../../cache/\(name)")
            tar.add(.init(name: Array("cache/\(name)".utf8)), content: bytes)
        }
        try expectWhole(try fixture.store.load(from: .path(try fixture.write("image.tar", tar.finished()))), in: fixture)
    }

    @Test("a docker-archive, its layers plain and compressed") func dockerArchive() throws {
        let fixture = try StoreFixture()
        let configuration = ImageConfiguration(
            architecture: "amd64", os: "linux", config: nil, rootfs: .init(diffIDs: [Digest(of: Self.layer), Digest(of: Self.upper)]))
        let config = try StrictJSONEncoder().encode(configuration)
        let entry = DockerArchiveEntry(
            config: "\(Digest(of: config).hex).json", repoTags: ["example.org/app:1"], layers: ["a/layer.tar", "b/layer.tar"])
        var tar = TarBuilder()
        tar.symbolicLink("a/layer.tar", to: "../c/layer.tar")
        tar.add(.init(name: Array("c/layer.tar".utf8)), content: Self.layer)
        tar.add(.init(name: Array("b/layer.tar".utf8)), content: Compressed.gzip(Self.upper))
        tar.add(.init(name: Array(entry.config.utf8)), content: config)
        tar.add(.init(name: Array("manifest.json".utf8)), content: try StrictJSONEncoder().encode([entry]))
        let images = try fixture.store.load(from: .path(try fixture.write("image.tar", tar.finished())))
        try expectWhole(images, in: fixture)
        #expect(images.first?.id == Digest(of: config))
    }

    @Test("what is saved loads again, with the same IDs", arguments: ArchiveFormat.allCases) func saveAndLoad(_ format: ArchiveFormat) throws {
        let fixture = try StoreFixture()
        let first = try #require(try fixture.store.load(from: .path(try fixture.write("in.tar", try layout().tar()))).first)
        try fixture.store.tag("example.org/app:1", as: ImageReference(parsing: "other"))
        let output = try FileDescriptor.open(fixture.directory + "/out.tar", O_WRONLY | O_CREAT, mode: 0o600)
        try fixture.store.save(["example.org/app:1", "other"], as: format, to: output)
        try output.close()
        let second = try StoreFixture()
        let images = try second.store.load(from: .path(fixture.directory + "/out.tar"))
        #expect(images.map(\.id) == [first.id])
        #expect(images.first?.references.map(\.description) == ["docker.io/library/other:latest", "example.org/app:1"])
        #expect(images.first?.descriptor.digest == first.descriptor.digest)
    }

    @Test("of an index the platform's image is taken") func platforms() throws {
        let other = Platform(os: "linux", architecture: "riscv64")
        var layout = LayoutBuilder()
        try layout.image([(Self.upper, .ociLayer, Self.upper)], name: "app", platform: other)
        try layout.image([(Self.layer, .ociLayer, Self.layer)], name: "app", platform: .current)
        let inner = layout.blob(try StrictJSONEncoder().encode(Index(manifests: layout.manifests)), .ociIndex)
        for entries in [layout.manifests, [inner]] {
            let fixture = try StoreFixture()
            layout.manifests = entries.map {
                var entry = $0
                entry.annotations = [ImageAnnotation.referenceName: "example.org/app:1"]
                return entry
            }
            let path = try fixture.write("image.tar", try layout.tar())
            #expect(try fixture.store.load(from: .path(path)).map { $0.configuration.platform.architecture } == [Platform.current.architecture])
            let wanted = Platform(os: "linux", architecture: "s390x")
            #expect(throws: ImageStoreError.noSuchPlatform(entries.count == 1 ? path : "example.org/app:1", wanted: wanted)) {
                try fixture.store.load(from: .path(path), platform: wanted)
            }
        }
    }

    // MARK: Bad input: one error, nothing left

    private func expectRefused(
        _ layout: LayoutBuilder, containing reason: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let fixture = try StoreFixture()
        let canary = try fixture.write("canary", Array("untouched".utf8))
        let path = try fixture.write("image.tar", try layout.tar())
        let error = try #require(throws: ImageStoreError.self, sourceLocation: sourceLocation) { try fixture.store.load(from: .path(path)) }
        #expect(error.description.contains(reason), "\(error)", sourceLocation: sourceLocation)
        #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
        try fixture.expectEmpty(sourceLocation: sourceLocation)
        #expect(try readFile(canary) == Array("untouched".utf8), sourceLocation: sourceLocation)
        #expect(try ImageStore.entries(of: fixture.directory).sorted() == ["canary", "image.tar", "images"], sourceLocation: sourceLocation)
    }

    @Test("27 a truncated layer") func truncatedLayer() throws {
        var layout = LayoutBuilder()
        let stored = Compressed.gzip(Self.layer)
        try layout.image([(Array(stored.dropLast(20)), .ociLayerGzip, Self.layer)], name: "app")
        try expectRefused(layout, containing: "the gzip stream is truncated")
    }

    @Test("26 garbage behind a layer") func trailingGarbage() throws {
        var layout = LayoutBuilder()
        try layout.image([(Compressed.gzip(Self.layer) + Array("xx".utf8), .ociLayerGzip, Self.layer)], name: "app")
        try expectRefused(layout, containing: "garbage behind the gzip stream")
    }

    @Test("26 a decompression bomb", arguments: [MediaType.ociLayerGzip, .ociLayerZstd]) func bomb(_ type: MediaType) throws {
        // 2.2 GB of zeros in a few MB: members of 64 MiB, 34 times.
        let part = [UInt8](repeating: 0, count: 64 << 20)
        let member = type == .ociLayerGzip ? Compressed.gzip(part) : Compressed.zstd(part)
        var tar = TarBuilder()
        tar.add(.init(name: Array("zeros".utf8), rawFields: [(124, Array("21000000000".utf8))]))
        var stored = type == .ociLayerGzip ? Compressed.gzip(tar.bytes) : Compressed.zstd(tar.bytes)
        for _ in 0..<34 { stored += member }
        var layout = LayoutBuilder()
        try layout.image([(stored, type, [])], name: "app")
        try expectRefused(layout, containing: "decompression bomb")
    }

    @Test("29 a layer with another diffID") func wrongDiffID() throws {
        var layout = LayoutBuilder()
        try layout.image([(Compressed.gzip(Self.layer), .ociLayerGzip, Self.layer)], name: "app", diffIDs: [Digest(of: [1])])
        try expectRefused(layout, containing: "but the image's configuration says")
    }

    @Test("29 a blob with another digest") func wrongDigest() throws {
        var layout = try layout()
        layout.files[0].bytes[5] ^= 1
        try expectRefused(layout, containing: "damaged or was tampered with")
    }

    @Test("29 a blob of another size") func wrongSize() throws {
        var layout = LayoutBuilder()
        try layout.image(layers(), name: "app") { $0.layers[0].size += 1 }
        try expectRefused(layout, containing: "instead of")
    }

    @Test("a missing blob") func missingBlob() throws {
        var layout = try layout()
        layout.files.removeFirst()
        try expectRefused(layout, containing: "is missing")
    }

    @Test("an unknown media type of a layer") func unknownMediaType() throws {
        var layout = LayoutBuilder()
        try layout.image([(Self.layer, MediaType(rawValue: "application/vnd.example.layer"), Self.layer)], name: "app")
        try expectRefused(layout, containing: "\"application/vnd.example.layer\", which is not supported")
    }

    @Test("36 a layer that is not what its media type says") func mediaTypeMismatch() throws {
        var layout = LayoutBuilder()
        try layout.image([(Compressed.zstd(Self.layer), .ociLayerGzip, Self.layer)], name: "app")
        try expectRefused(layout, containing: "not gzip")
        layout = LayoutBuilder()
        try layout.image([(Compressed.gzip(Self.layer), .ociLayer, Self.layer)], name: "app")
        try expectRefused(layout, containing: "cannot be extracted")
    }

    @Test("more layers than diffIDs") func layerCount() throws {
        var layout = LayoutBuilder()
        try layout.image(layers(), name: "app", diffIDs: [Digest(of: Self.layer)])
        try expectRefused(layout, containing: "1 diff_ids for 2 layers")
    }

    @Test("a document that is index and manifest") func ambiguousDocument() throws {
        var layout = try layout()
        let bytes = Array(#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#.utf8)
        layout.manifests = [layout.blob(bytes, .ociManifest)]
        try expectRefused(layout, containing: "both an image index and a manifest")
    }

    @Test("a hostile layer says which entry") func hostileLayer() throws {
        var layout = LayoutBuilder()
        let evil = TarBuilder.archive { $0.file("../../../../etc/evil") }
        try layout.image([(evil, .ociLayer, evil)], name: "app")
        try expectRefused(layout, containing: #"the path "../../../../etc/evil" contains "..""#)
    }

    @Test("no archive at all") func noArchive() throws {
        let fixture = try StoreFixture()
        for bytes in [[], Array("hello".utf8), TarBuilder.archive { $0.file("etc/passwd") }, [UInt8](repeating: 7, count: 5000)] {
            let path = try fixture.write("image.tar", bytes)
            let error = try #require(throws: ImageStoreError.self) { try fixture.store.load(from: .path(path)) }
            #expect(error.description.contains("is not an image archive"), "\(error)")
        }
        #expect(throws: ImageStoreError.self) { try fixture.store.load(from: .path("/nonexistent/file")) }
        try fixture.expectEmpty()
    }
}
