import Foundation
import ImageStore
import OCISpec
import PullMessages
import Synchronization
import Testing

@testable import Registry

@Suite struct PullTests {
    private let image = RemoteImage()

    /// A registry that is honest but for what `lie` answers.
    private func registry(
        _ image: RemoteImage? = nil, lie: @escaping @Sendable (LyingRegistry.Request) -> LyingRegistry.Response? = { _ in nil }
    ) throws -> LyingRegistry {
        let image = image ?? self.image
        return try LyingRegistry { lie($0) ?? image.answer($0) ?? .notFound }
    }

    @Test func bringsAnImage() async throws {
        let registry = try registry()
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let events = Mutex<[Digest: [LayerEvent]]>([:])
            let observer = PullObserver(layer: { digest, event in events.withLock { $0[digest, default: []].append(event) } })
            let first = try await fixture.pull(from: registry, observer: observer)
            #expect(!first.wasUpToDate)
            #expect(first.digest == Digest(of: image.manifest))
            #expect(first.image.id == Digest(of: image.configuration))
            #expect(first.image.references.map(\.description) == ["\(registry.name)/test/image:latest"])
            #expect(first.image.repositoryDigests == ["\(registry.name)/test/image@\(Digest(of: image.manifest))"])
            for blob in image.blobs + [image.manifest] { #expect(try fixture.store.readBlob(Digest(of: blob)) == blob) }
            let told = events.withLock { $0[Digest(of: image.layers[0])] ?? [] }
            #expect(told.first == .waiting)
            #expect(told.dropLast().last == .downloading(done: 100_000, total: 100_000))
            #expect(told.last == .downloaded)

            let count = registry.requests.count
            let second = try await fixture.pull(from: registry)
            #expect(second.wasUpToDate)
            // What is there is not asked for again: /v2/, the manifest and the configuration.
            #expect(registry.requests.count == count + 3)
        }
    }

    @Test func choosesThePlatform() async throws {
        let other = RemoteImage(layers: [[7, 7]], architecture: "s390x")
        let image = image
        let entries = [
            RemoteImage.descriptor(other.manifest, other.manifestType, extra: #","platform":{"os":"linux","architecture":"s390x"}"#),
            RemoteImage.descriptor(
                image.manifest, image.manifestType,
                extra: #","platform":{"os":"linux","architecture":"\#(Platform.current.architecture)"}"#),
        ]
        let index = Array(#"{"schemaVersion":2,"manifests":[\#(entries.joined(separator: ","))]}"#.utf8)
        let registry = try LyingRegistry { request in
            if request.path.hasSuffix("/manifests/latest") || request.path.hasSuffix("/manifests/\(Digest(of: index))") {
                return .init(headers: ["Content-Type": "\(MediaType.ociIndex); charset=utf-8"], body: index)
            }
            return image.answer(request) ?? other.answer(request) ?? .notFound
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let native = try await fixture.pull(from: registry)
            #expect(native.image.id == Digest(of: image.configuration))
            #expect(native.digest == Digest(of: index))
            let chosen = try await fixture.pull(from: registry, platform: Platform("linux/s390x"))
            #expect(chosen.image.id == Digest(of: other.configuration))
            let pinned = try await fixture.pull(from: registry, "test/image@\(Digest(of: index))")
            #expect(pinned.image.id == Digest(of: image.configuration))
        }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry, platform: Platform("linux/riscv64"))
            #expect(error.description.contains("no image for the platform linux/riscv64"))
            #expect(error.description.contains("linux/s390x"))
        }
    }

    @Test func warnsOfAnotherPlatform() async throws {
        let registry = try registry(RemoteImage(architecture: "s390x"))
        defer { registry.stop() }
        let warnings = Mutex<[String]>([])
        try await PullFixture.with { fixture in
            try await _ = fixture.pull(from: registry, observer: PullObserver(warning: { text in warnings.withLock { $0.append(text) } }))
        }
        #expect(warnings.withLock { $0 }.count == 1)
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry, platform: .current)
            #expect(error.kind == .noSuchPlatform(wanted: .current, available: [Platform(os: "linux", architecture: "s390x")]))
        }
    }

    // MARK: Lies about content

    @Test func refusesAWrongDigest() async throws {
        let path = image.path(image.layers[0])
        let registry = try registry { $0.path == path ? .init(body: Array(repeating: 9, count: 100_000)) : nil }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badContent(let reason) = error.kind else { return unexpected(error) }
            #expect(reason.contains("\(Digest(of: image.layers[0]))"))
            #expect(!fixture.store.contains(Digest(of: image.layers[0])))
        }
    }

    @Test func refusesAWrongConfigurationAndManifest() async throws {
        let configuration = image.path(image.configuration)
        let size = image.configuration.count
        for lie in ["configuration", "manifest"] {
            let registry = try registry { request in
                if lie == "configuration", request.path == configuration { return .init(body: Array(repeating: 32, count: size)) }
                guard lie == "manifest", request.path.contains("/manifests/") else { return nil }
                return .init(headers: ["Content-Type": MediaType.ociManifest.rawValue], body: RemoteImage(layers: []).manifest)
            }
            defer { registry.stop() }
            try await PullFixture.with { fixture in
                let error = try await fixture.failure(from: registry, "test/image@\(Digest(of: image.manifest))")
                guard case .badContent(let reason) = error.kind else { return unexpected(error) }
                #expect(reason.contains("the \(lie) has the digest"))
            }
        }
    }

    @Test func abortsAnEndlessBody() async throws {
        let path = image.path(image.layers[0])
        let registry = try registry { $0.path == path ? .init(body: Array(repeating: 1, count: 65536), isEndless: true) : nil }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badContent(let reason) = error.kind else { return unexpected(error) }
            #expect(reason.contains("goes on beyond its 100000 bytes"))
        }
    }

    @Test func refusesAWrongLengthAtOnce() async throws {
        let path = image.path(image.layers[0])
        let registry = try registry { $0.path == path ? .init(body: [1, 2, 3]) : nil }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badContent(let reason) = error.kind else { return unexpected(error) }
            #expect(reason.contains("announced with 3 bytes instead of 100000"))
        }
        #expect(registry.requests.count { $0.path == path } == 1)
    }

    @Test(arguments: [true, false])
    func goesOnAfterALostConnection(knowsRanges: Bool) async throws {
        let layer = image.layers[0]
        let path = image.path(layer)
        let attempts = Mutex(0)
        let registry = try registry { request in
            guard request.path == path else { return nil }
            let attempt = attempts.withLock {
                $0 += 1
                return $0
            }
            if attempt == 1 { return .init(body: Array(layer.prefix(40_000)), declaredLength: layer.count) }
            guard knowsRanges, let range = request.headers["range"], let start = Int(range.dropFirst(6).dropLast()) else {
                return .init(body: layer)
            }
            return .init(
                status: 206, headers: ["Content-Range": "bytes \(start)-\(layer.count - 1)/\(layer.count)"],
                body: Array(layer[start...]))
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let result = try await fixture.pull(from: registry)
            #expect(try fixture.store.readBlob(Digest(of: layer)) == layer)
            #expect(result.image.layers.count == 3)
        }
        let ranges = registry.requests.filter { $0.path == path }.map { $0.headers["range"] }
        #expect(ranges.count == 2)
        #expect(ranges.last??.hasPrefix("bytes=") == true && ranges.last != "bytes=0-")
    }

    @Test func givesUpOnATruncatedLayer() async throws {
        let layer = image.layers[0]
        let path = image.path(layer)
        let registry = try registry { $0.path == path ? .init(body: Array(layer.prefix(1000)), declaredLength: layer.count) : nil }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .connectionLost(1000, 100_000, _, _) = error.kind else { return unexpected(error) }
        }
        #expect((3...4).contains(registry.requests.count { $0.path == path }))
    }

    /// A server that gives one byte per connection does not hold a pull for ever.
    @Test func givesUpOnATrickle() async throws {
        let layer = image.layers[0]
        let path = image.path(layer)
        let registry = try registry { request in
            guard request.path == path else { return nil }
            let start = request.headers["range"].flatMap { Int($0.dropFirst(6).dropLast()) } ?? 0
            return .init(
                status: start > 0 ? 206 : 200, headers: ["Content-Range": "bytes \(start)-99999/100000"], body: [1],
                declaredLength: layer.count - start)
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .connectionLost(_, _, 8, _) = error.kind else { return unexpected(error) }
        }
    }

    @Test func refusesAnotherRange() async throws {
        let layer = image.layers[0]
        let path = image.path(layer)
        let registry = try registry { request in
            guard request.path == path else { return nil }
            guard request.headers["range"] != nil else { return .init(body: Array(layer.prefix(10)), declaredLength: layer.count) }
            return .init(status: 206, headers: ["Content-Range": "bytes 5-99999/100000"], body: Array(layer.dropFirst(5)))
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badContent = error.kind else { return unexpected(error) }
        }
    }

    // MARK: Lies about manifests

    private static let config = RemoteImage.descriptor([1], MediaType.ociConfiguration.rawValue)

    @Test(
        arguments: [
            ("text/html", #"{"schemaVersion":2}"#, "neither an image index nor a manifest"),
            ("text/html", #"{"schemaVersion":2,"config":\#(config),"layers":[]}"#, "Content-Type is \"text/html\""),
            (
                MediaType.ociManifest.rawValue, #"{"schemaVersion":2,"config":\#(config),"layers":[],"manifests":[]}"#,
                "both an image index and a manifest"
            ),
            (
                MediaType.ociIndex.rawValue, #"{"schemaVersion":2,"config":\#(config),"layers":[]}"#,
                "it is a manifest and came as \"\(MediaType.ociIndex)\""
            ),
            (
                MediaType.ociManifest.rawValue,
                #"{"schemaVersion":2,"mediaType":"\#(MediaType.dockerManifest)","config":\#(config),"layers":[]}"#,
                "it calls itself \"\(MediaType.dockerManifest)\" and came as"
            ),
            (MediaType.ociManifest.rawValue, #"{"schemaVersion":2,"manifests":[]}"#, "it is an index and came as"),
            (
                MediaType.ociManifest.rawValue,
                #"{"schemaVersion":2,"mediaType":"\#(MediaType.ociIndex)","config":\#(config),"layers":[]}"#,
                "contradicts its content"
            ),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", #"{"schemaVersion":1,"fsLayers":[]}"#, "schema 1"),
            (MediaType.ociManifest.rawValue, #"{"schemaVersion":2,"schemaVersion":2}"#, "invalid JSON"),
            (MediaType.ociManifest.rawValue, #"<html>"#, "invalid JSON"),
            (MediaType.ociManifest.rawValue, "", "invalid JSON"),
            (
                MediaType.ociManifest.rawValue,
                #"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"\#(Digest(of: [1]))","size":1},"layers":[]}"#,
                "it is not a container image"
            ),
            (
                MediaType.ociManifest.rawValue,
                #"{"schemaVersion":2,"config":{"mediaType":"a","digest":"sha256:../../../x","size":1},"layers":[]}"#, "digest"
            ),
            (MediaType.ociManifest.rawValue, String(repeating: "[", count: 100_000), "invalid JSON"),
        ] as [(String, String, String)])
    func refusesManifests(type: String, text: String, reason: String) async throws {
        let registry = try LyingRegistry { request in
            request.path == "/v2/" ? .json("{}") : .json(text, type: type)
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badManifest(let found) = error.kind else { return unexpected(error) }
            #expect(found.contains(reason))
        }
    }

    @Test(arguments: [true, false])
    func refusesAHugeManifest(isDeclared: Bool) async throws {
        let registry = try LyingRegistry { request in
            if request.path == "/v2/" { return .json("{}") }
            var response = LyingRegistry.Response.json(String(repeating: " ", count: 1 << 20), type: MediaType.ociManifest.rawValue)
            if isDeclared { response.declaredLength = 1 << 40 } else { response.isEndless = true }
            return response
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            #expect(error.kind == .tooLarge(what: "the manifest", size: isDeclared ? 1 << 40 : nil, limit: 4 << 20))
        }
    }

    @Test func refusesAHugeConfiguration() async throws {
        let registry = try LyingRegistry { request in
            request.path == "/v2/"
                ? .json("{}")
                : .json(
                    #"{"schemaVersion":2,"config":{"mediaType":"\#(MediaType.ociConfiguration)","digest":"\#(Digest(of: [1]))","size":99999999999},"layers":[]}"#,
                    type: MediaType.ociManifest.rawValue)
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            #expect(error.kind == .tooLarge(what: "the configuration", size: 99_999_999_999, limit: 8 << 20))
        }
    }

    @Test func indexesDoNotNestForEver() async throws {
        // An index cannot contain its own digest, but a chain of them has no end by itself.
        var chain: [[UInt8]] = [image.manifest]
        for _ in 0..<5 {
            let type = chain.count == 1 ? image.manifestType : MediaType.ociIndex.rawValue
            chain.append(Array(#"{"schemaVersion":2,"manifests":[\#(RemoteImage.descriptor(chain[chain.count - 1], type))]}"#.utf8))
        }
        let documents = chain
        let registry = try LyingRegistry { request in
            if request.path == "/v2/" { return .json("{}") }
            let found = documents.first { request.path.hasSuffix("\(Digest(of: $0))") } ?? documents[documents.count - 1]
            return .init(headers: ["Content-Type": MediaType.ociIndex.rawValue], body: found)
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            #expect(error.kind == .badManifest(reason: "indexes are nested too deeply"))
        }
    }

    // MARK: Failing registries

    @Test func waitsWhenAsked() async throws {
        let path = image.path(image.layers[1])
        let attempts = Mutex(0)
        let registry = try registry { request in
            guard request.path == path,
                attempts.withLock({
                    $0 += 1
                    return $0
                }) < 3
            else { return nil }
            return .init(status: 429, headers: ["Retry-After": "1"])
        }
        defer { registry.stop() }
        let events = Mutex<[LayerEvent]>([])
        try await PullFixture.with { fixture in
            let observer = PullObserver(layer: { digest, event in
                if case .retrying = event { events.withLock { $0.append(event) } }
            })
            _ = try await fixture.pull(from: registry, observer: observer)
        }
        #expect(events.withLock { $0 } == [.retrying(reason: "too many requests"), .retrying(reason: "too many requests")])
    }

    @Test func doesNotWaitForHours() async throws {
        let registry = try registry { $0.path.contains("/manifests/") ? .init(status: 429, headers: ["Retry-After": "3600"]) : nil }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            #expect(error.kind == .tooManyRequests(retryAfter: 3600, attempts: 1))
        }
    }

    @Test(arguments: ["/v2/", "/v2/test/image/manifests/latest", "blob"])
    func givesUpOnServerFailures(path: String) async throws {
        let failing = path == "blob" ? image.path(image.layers[2]) : path
        let registry = try registry {
            $0.path == failing ? .json(#"{"errors":[{"message":"disk\u001b[2J\nfull"}]}"#, status: 500) : nil
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            #expect(error.kind == .serverFailure(status: 500, attempts: 3, message: "disk\u{1b}[2J\nfull"))
            #expect(!error.description.unicodeScalars.contains { $0.value < 0x20 })
        }
        #expect(registry.requests.count { $0.path == failing } == 3)
    }

    @Test func saysWhatIsMissing() async throws {
        let registry = try registry { $0.path == "/v2/test/image/manifests/latest" ? .notFound : nil }
        defer { registry.stop() }
        let layer = image.path(image.layers[0])
        let damaged = try self.registry { $0.path == layer ? .notFound : nil }
        defer { damaged.stop() }
        let website = try LyingRegistry { _ in .json("<html>", type: "text/html", status: 404) }
        try await PullFixture.with { fixture in
            try await fixture.expect(.manifestUnknown, from: registry)
            try await fixture.expect(.blobUnknown(Digest(of: image.layers[0])), from: damaged)
            try await fixture.expect(.noRegistry(status: 404), from: website)
        }
        // Once: by a second time the number of its socket may be somebody else's.
        website.stop()
        try await PullFixture.with { fixture in
            try await fixture.expect(.unreachable(reason: "connection refused"), from: website)
        }
    }

    @Test func endsOnASignal() async throws {
        let path = image.path(image.layers[0])
        let thread = Mutex<pthread_t?>(nil)
        let registry = try registry { request in
            guard request.path == path else { return nil }
            if let target = thread.withLock({ $0 }) { pthread_kill(target, SIGINT) }
            return .init(body: [1], declaredLength: 100_000, delay: 3000)
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = await #expect(throws: RegistryError.self) {
                try await fixture.pull(from: registry, started: { pthread in thread.withLock { $0 = pthread } })
            }
            #expect(error?.kind == .interrupted(signal: SIGINT))
            let images = try fixture.store.images()
            #expect(images.isEmpty)
            #expect(!fixture.blobFiles.contains { $0.contains(".incoming") })
        }
    }
}
