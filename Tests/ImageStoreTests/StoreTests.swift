import Glibc
import LinuxKernel
import OCISpec
import StrictJSON
import Testing

@testable import ImageStore

@Suite(.serialized, .enabled(if: geteuid() == 0, "a user needs a range in /etc/subuid")) struct StoreTests {
    private func loaded(_ names: [String]) throws -> (StoreFixture, [StoredImage]) {
        let fixture = try StoreFixture()
        var images: [StoredImage] = []
        for name in names {
            var layout = LayoutBuilder()
            let layer = TarBuilder.archive { $0.file("name", name) }
            try layout.image([(LoadTests.layer, .ociLayer, LoadTests.layer), (layer, .ociLayer, layer)], name: name)
            images += try fixture.store.load(from: .path(try fixture.write("image.tar", try layout.tar())))
        }
        return (fixture, images)
    }

    @Test func namesIDsAndDigestsResolve() throws {
        let (fixture, images) = try loaded(["docker.io/library/a:latest", "docker.io/library/b:2"])
        let store = fixture.store
        #expect(try store.resolve("a").id == images[0].id)
        #expect(try store.resolve("docker.io/library/b:2").id == images[1].id)
        #expect(try store.resolve(images[0].id.hex).id == images[0].id)
        #expect(try store.resolve(String(images[1].id.hex.prefix(12))).id == images[1].id)
        #expect(try store.resolve("a@\(images[0].descriptor.digest)").id == images[0].id)
        #expect(throws: ImageStoreError.noSuchImage("b")) { try store.resolve("b") }
        #expect(throws: ImageStoreError.noSuchImage("c:1")) { try store.resolve("c:1") }
        #expect(throws: ImageStoreError.noSuchImage("../../etc/passwd")) { try store.resolve("../../etc/passwd") }
    }

    @Test func removalKeepsSharedLayersAndCollectsTheRest() throws {
        let (fixture, images) = try loaded(["example.org/a:1", "example.org/b:1"])
        let store = fixture.store
        try store.tag("example.org/a:1", as: ImageReference(parsing: "example.org/c:1"))
        #expect(try store.remove("example.org/a:1", usedBy: { _ in nil }).map(\.description) == ["Untagged: example.org/a:1"])
        #expect(try store.images().count == 2)
        #expect(throws: ImageStoreError.imageInUse("example.org/c:1", container: "web")) {
            try store.remove("example.org/c:1", usedBy: { $0 == images[0].id ? "web" : nil })
        }
        #expect(try store.remove("example.org/c:1", usedBy: { _ in nil }).last == .deleted(images[0].id))
        #expect(try ImageStore.entries(of: store.root + "/layers").count == 2)
        #expect(try store.layers(of: try store.resolve("example.org/b:1")).count == 2)
        #expect(try store.remove(images[1].id.short, usedBy: { _ in nil }).last == .deleted(images[1].id))
        try fixture.expectEmpty()
    }

    @Test func aLayerOfALostBootIsExtractedAgain() throws {
        let (fixture, images) = try loaded(["example.org/a:1"])
        let layer = fixture.store.layerPath(try #require(images[0].layers.last).diffID)
        #expect(access(layer + "/volatile", F_OK) != 0, "durable once the image is recorded")
        unlink(layer + "/root/name")
        try replaceFile(layer + "/volatile", with: Array("another boot\n".utf8))
        #expect(try fixture.store.layers(of: images[0]).count == 2)
        #expect(access(layer + "/root/name", F_OK) == 0)
        try fixture.store.markVolatile(layer)
        unlink(layer + "/root/name")
        #expect(try fixture.store.layers(of: images[0]).count == 2)
        #expect(access(layer + "/root/name", F_OK) != 0, "of this boot: taken as it is")
    }

    @Test func anImageInUseLosesItsNameOnlyByForce() throws {
        let (fixture, images) = try loaded(["example.org/a:1"])
        let steps = try fixture.store.remove("example.org/a:1", force: true, usedBy: { _ in "web" })
        #expect(steps.map(\.description) == ["Untagged: example.org/a:1"])
        let left = try fixture.store.resolve(images[0].id.hex)
        #expect(left.references.isEmpty)
        #expect(try fixture.store.prune(all: false, usedBy: { _ in "web" }).steps.isEmpty)
        #expect(try fixture.store.prune(all: false, usedBy: { _ in nil }).steps == [.deleted(images[0].id)])
        try fixture.expectEmpty()
    }

    @Test func severalNamesNeedForceByID() throws {
        let (fixture, images) = try loaded(["example.org/a:1"])
        try fixture.store.tag("example.org/a:1", as: ImageReference(parsing: "example.org/b:1"))
        #expect(throws: ImageStoreError.severalNames(images[0].id, ["example.org/a:1", "example.org/b:1"])) {
            try fixture.store.remove(images[0].id.hex, usedBy: { _ in nil })
        }
        #expect(try fixture.store.remove(images[0].id.hex, force: true, usedBy: { _ in nil }).count == 3)
        try fixture.expectEmpty()
    }

    @Test func aNameThatMovesLeavesADanglingImage() throws {
        let (fixture, images) = try loaded(["example.org/a:1", "example.org/b:1"])
        try fixture.store.tag("example.org/b:1", as: ImageReference(parsing: "example.org/a:1"))
        #expect(try fixture.store.resolve("example.org/a:1").id == images[1].id)
        #expect(try fixture.store.resolve(images[0].id.hex).references.isEmpty)
        #expect(try fixture.store.prune(all: false, usedBy: { _ in nil }).steps == [.deleted(images[0].id)])
    }

    @Test func garbageIsNotCollectedWhileTheStoreIsHeld() throws {
        let fixture = try StoreFixture()
        try fixture.store.addBlob([1, 2, 3], mediaType: .ociLayer)
        let hold = try fixture.store.hold()
        #expect(try fixture.store.collectGarbage() == false)
        #expect(try fixture.leftovers().count == 1)
        withExtendedLifetime(hold) {}
    }

    /// As a forked process does until its execve.
    @Test func aClaimThatEndsInAMomentIsWaitedFor() throws {
        let fixture = try StoreFixture()
        let path = fixture.store.root + "/hold.lock"
        let held = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(held >= 0 && flock(held, LOCK_SH) == 0)
        // A thread of its own: tasks wait for the threads that other tests keep busy.
        var thread = pthread_t()
        let descriptor = UnsafeMutableRawPointer(bitPattern: Int(held))
        let begun = pthread_create(
            &thread, nil,
            { argument in
                usleep(10_000)
                close(Int32(Int(bitPattern: argument)))
                return nil
            }, descriptor)
        try #require(begun == 0)
        #expect(try fixture.store.collectGarbage())
        pthread_join(thread, nil)
    }

    @Test func leftoversOfKilledProcessesAreCollected() throws {
        let fixture = try StoreFixture()
        try fixture.write("images/blobs/sha256/.incoming-0123", [1])
        let partial = fixture.store.root + "/layers/.partial-sha256-" + String(repeating: "0", count: 64)
        for path in [partial, partial + "/root", partial + "/root/etc"] { try retrying("mkdir") { mkdir(path, 0o700) } }
        #expect(try fixture.store.collectGarbage())
        try fixture.expectEmpty()
    }

    @Test func aHalfExtractedLayerIsExtractedAnew() throws {
        let fixture = try StoreFixture()
        let partial = "\(fixture.store.root)/layers/.partial-sha256-\(Digest(of: LoadTests.layer).hex)"
        for path in [partial, partial + "/root", partial + "/root/half"] { try retrying("mkdir") { mkdir(path, 0o700) } }
        let blob = try fixture.store.addBlob(LoadTests.layer, mediaType: .ociLayer)
        try fixture.store.extract(blob, diffID: blob.digest)
        #expect(try ImageStore.entries(of: fixture.store.layerPath(blob.digest) + "/root").sorted() == ["etc", "usr"])
        #expect(access(partial, F_OK) != 0)
    }

    @Test func concurrentExtractionsExtractOnce() async throws {
        let fixture = try StoreFixture()
        let layer = TarBuilder.archive { for index in 0..<500 { $0.file("d\(index % 7)/f\(index)", "\(index)") } }
        let stored = Compressed.gzip(layer)
        let blob = try fixture.store.addBlob(stored, mediaType: .ociLayerGzip)
        let (store, diffID) = (fixture.store, Digest(of: layer))
        let finished = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<6 {
                group.addTask {
                    var done = 0
                    try store.extract(blob, diffID: diffID) { done += $0.phase == .done ? 1 : 0 }
                    return done
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(finished >= 1)
        #expect(try ImageStore.entries(of: store.root + "/layers").count == 1)
        #expect(try ImageStore.entries(of: store.layerPath(diffID) + "/root").count == 7)
    }

    @Test func aFullDiskIsOneSentenceAndLeavesNothing() throws {
        let fixture = try StoreFixture()
        try retrying("mkdir") { mkdir(fixture.directory + "/small", 0o700) }
        var layout = LayoutBuilder()
        let layer = TarBuilder.archive { $0.file("zeros", String(repeating: "0", count: 6 << 20)) }
        try layout.image([(Compressed.gzip(layer), .ociLayerGzip, layer)], name: "example.org/a:1")
        let archive = try fixture.write("image.tar", try layout.tar())
        // A file system of 4 MB, in a mount namespace of its own: the layer does not fit, the archive does.
        let script = """
            mount --make-rprivate / && mount -t tmpfs -o size=4m tmpfs '\(fixture.directory)/small' || exit 99
            '\(StoreFixture.program)' --root '\(fixture.directory)/small/root' load -i '\(archive)'
            code=$?
            find '\(fixture.directory)/small/root/images' -mindepth 3 >&2
            exit $code
            """
        let (end, text) = try SpawnedProcess.run("/usr/bin/unshare", ["unshare", "-m", "sh", "-c", script])
        #expect(end == .exited(1), "\(text)")
        #expect(text.contains("no space left in"), "\(text)")
        #expect(!text.contains("sha256-") && !text.contains("incoming"), "\(text)")
    }

    // MARK: Blobs

    @Test func blobsAreVerifiedWhileTheyStream() throws {
        let fixture = try StoreFixture()
        let bytes: [UInt8] = [1, 2, 3]
        let right = Descriptor(mediaType: .ociLayer, digest: Digest(of: bytes), size: 3)
        let writer = try fixture.store.blobWriter(expecting: right)
        try writer.write([1])
        try writer.write([2, 3])
        #expect(try writer.finish().digest == right.digest)
        #expect(try fixture.store.readBlob(right.digest) == bytes)

        let short = try fixture.store.blobWriter(expecting: right)
        try short.write([1])
        #expect(throws: ImageStoreError.sizeMismatch(right.digest, expected: 3, actual: 1)) { try short.finish() }
        let endless = try fixture.store.blobWriter(expecting: right)
        #expect(throws: ImageStoreError.sizeMismatch(right.digest, expected: 3, actual: 4)) { try endless.write([1, 2, 3, 4]) }
        let wrong = try fixture.store.blobWriter(expecting: right)
        try wrong.write([3, 2, 1])
        #expect(throws: ImageStoreError.digestMismatch(expected: right.digest, actual: Digest(of: [3, 2, 1]))) { try wrong.finish() }
    }

    @Test func anAbandonedWriterLeavesNothing() throws {
        let fixture = try StoreFixture()
        do {
            let writer = try fixture.store.blobWriter()
            try writer.write([1, 2, 3])
            #expect(try fixture.leftovers().count == 1)
        }
        try fixture.expectEmpty()
    }

    @Test func aDamagedDocumentIsNoticed() throws {
        let fixture = try StoreFixture()
        let blob = try fixture.store.addBlob([1, 2, 3], mediaType: .ociConfiguration)
        try replaceFile(fixture.store.blobPath(blob.digest), with: [1, 2, 4])
        #expect(throws: ImageStoreError.self) { try fixture.store.readBlob(blob.digest) }
    }

    @Test func everythingIsPrivate() throws {
        let (fixture, _) = try loaded(["example.org/a:1"])
        for path in ["", "/blobs", "/blobs/sha256", "/layers", "/index.json", "/oci-layout", "/lock", "/hold.lock"] {
            var status = stat()
            try retrying("lstat") { lstat(fixture.store.root + path, &status) }
            #expect(status.st_mode & 0o077 == 0, "\(path)")
        }
    }

    // MARK: Import

    @Test func importMakesAnImage() throws {
        let fixture = try StoreFixture()
        let path = try fixture.write("root.tar.gz", Compressed.gzip(LoadTests.layer))
        let image = try fixture.store.importRootFileSystem(
            from: .path(path), as: ImageReference(parsing: "mine:1"),
            changes: [
                #"CMD ["sh", "-c", "echo"]"#, "ENV A=b c", "ENV A=d", "EXPOSE 80 53/udp", "USER 1:2", "WORKDIR /w", "LABEL x=\"y z\"",
                "ENTRYPOINT run me", "VOLUME /data",
            ],
            message: "hello", created: "2026-01-02T03:04:05Z")
        #expect(image.configuration.rootfs.diffIDs == [Digest(of: LoadTests.layer)])
        let config = try #require(image.configuration.config)
        #expect(config.command == ["sh", "-c", "echo"])
        #expect(config.environment == ["A=d"])
        #expect(config.exposedPorts?.keys.sorted() == ["53/udp", "80/tcp"])
        #expect(config.user == "1:2" && config.workingDirectory == "/w" && config.labels == ["x": "y z"])
        #expect(config.entrypoint == ["/bin/sh", "-c", "run me"] && config.volumes?.keys.sorted() == ["/data"])
        #expect(try fixture.store.history(of: image).map(\.comment) == ["hello"])
        #expect(try readFile(try fixture.store.layers(of: image)[0] + "/etc/motd") == Array("hello".utf8))
    }

    @Test(arguments: ["CMD", "ENV x", "WORKDIR relative", "EXPOSE 99999", "EXPOSE 80/foo", "FROM scratch", #"CMD ["a", 1]"#, "VOLUME data", ""])
    func badChangesAreRefusedBeforeAnythingIsDone(_ change: String) throws {
        let fixture = try StoreFixture()
        #expect(throws: ImageStoreError.self) {
            try fixture.store.importRootFileSystem(from: .path("/dev/null"), as: nil, changes: [change], message: nil, created: "")
        }
        try fixture.expectEmpty()
    }
}
