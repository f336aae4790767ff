import Foundation
import ImageStore
import OCISpec
import Testing

@testable import Registry

/// An image as a registry holds it, with layers of arbitrary bytes.
struct RemoteImage: Sendable {
    let configuration: [UInt8]
    let layers: [[UInt8]]
    let manifest: [UInt8]
    let manifestType: String

    init(
        layers: [[UInt8]] = [Array(repeating: 1, count: 100_000), Array(repeating: 2, count: 70_000), [3]],
        architecture: String = Platform.current.architecture, type: String = MediaType.ociManifest.rawValue
    ) {
        let diffIDs = layers.map { "\"\(Digest(of: $0))\"" }.joined(separator: ",")
        configuration = Array(
            #"{"architecture":"\#(architecture)","os":"linux","rootfs":{"type":"layers","diff_ids":[\#(diffIDs)]}}"#.utf8)
        self.layers = layers
        let parts = layers.map { Self.descriptor($0, MediaType.ociLayer.rawValue) }.joined(separator: ",")
        manifest = Array(
            """
            {"schemaVersion":2,"mediaType":"\(type)",
             "config":\(Self.descriptor(configuration, MediaType.ociConfiguration.rawValue)),"layers":[\(parts)]}
            """.utf8)
        manifestType = type
    }

    static func descriptor(_ bytes: [UInt8], _ type: String, extra: String = "") -> String {
        #"{"mediaType":"\#(type)","digest":"\#(Digest(of: bytes))","size":\#(bytes.count)\#(extra)}"#
    }

    var blobs: [[UInt8]] { layers + [configuration] }

    /// What an honest registry answers; nil for what it does not have.
    func answer(_ request: LyingRegistry.Request) -> LyingRegistry.Response? {
        if request.path == "/v2/" { return .json("{}") }
        if request.path == "/v2/test/image/manifests/latest" || request.path.hasSuffix("/manifests/\(Digest(of: manifest))") {
            return LyingRegistry.Response(headers: ["Content-Type": manifestType], body: manifest)
        }
        for blob in blobs where request.path == "/v2/test/image/blobs/\(Digest(of: blob))" { return .init(body: blob) }
        return nil
    }

    func path(_ blob: [UInt8]) -> String { "/v2/test/image/blobs/\(Digest(of: blob))" }
}

extension LyingRegistry.Response {
    static let notFound = LyingRegistry.Response.json(#"{"errors":[{"code":"UNKNOWN","message":"no such thing"}]}"#, status: 404)
}

/// One pull from a lying registry into a store of its own.
struct PullFixture {
    let store: ImageStore
    let directory: String

    static func with(_ body: (PullFixture) async throws -> Void) async throws {
        var template = Array("/tmp/coffer-registry-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer { try? FileManager.default.removeItem(atPath: directory) }  // allowed(file-manager): the test's own directory
        let surroundings = StoreSurroundings(layersInUse: { [] })
        try await body(PullFixture(store: ImageStore(root: "\(directory)/images", surroundings: surroundings), directory: directory))
    }

    /// Pulls `test/image` from a registry; on a thread of its own, since the pull blocks.
    func pull(
        from registry: LyingRegistry, _ suffix: String = "test/image", platform: Platform? = nil,
        credentials: RegistryCredentials? = nil, environment: [String: String] = [:], observer: PullObserver = PullObserver(),
        verifiesTLS: Bool = true, started: @escaping @Sendable (pthread_t) -> Void = { _ in }
    ) async throws -> PulledImage {
        let options = RegistryOptions(
            credentials: credentials, verifiesTLS: verifiesTLS, environment: environment,
            retries: RetryPolicy(attempts: 3, attemptsInAll: 8, firstDelay: 1, longestDelay: 2000), idleTimeout: 5)
        let pull = ImagePull(
            try ImageReference(parsing: "\(registry.name)/\(suffix)"), platform: platform, options: options, into: store,
            observer: observer, extractsLayers: false)
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                started(pthread_self())
                continuation.resume(with: Result { try pull.run() })
            }
        }
    }

    /// Pulls what must fail in one way.
    func expect(
        _ kind: RegistryError.Kind, from registry: LyingRegistry, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let error = try await failure(from: registry)
        #expect(error.kind == kind, sourceLocation: sourceLocation)
    }

    /// Every file below the store's blobs, finished or not.
    var blobFiles: [String] {
        ["sha256", "sha512"].flatMap { algorithm in
            var names: [String] = []
            guard let stream = opendir("\(store.root)/blobs/\(algorithm)") else { return names }
            defer { closedir(stream) }
            while let entry = readdir(stream) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != "." && name != ".." { names.append("\(algorithm)/\(name)") }
            }
            return names
        }
    }

    /// Pulls what must fail, and checks that no image and no unfinished file remains.
    func failure(
        from registry: LyingRegistry, _ suffix: String = "test/image", platform: Platform? = nil,
        credentials: RegistryCredentials? = nil, environment: [String: String] = [:]
    ) async throws -> RegistryError {
        let error = await #expect(throws: RegistryError.self) {
            try await pull(
                from: registry, suffix, platform: platform, credentials: credentials, environment: environment)
        }
        #expect(try store.images().isEmpty)
        #expect(!blobFiles.contains { $0.contains(".incoming") })
        let found = try #require(error)
        #expect(found.description.contains(registry.name))
        #expect(!found.description.contains("\n"))
        return found
    }
}

/// A failure of another kind than the test expects.
func unexpected(_ error: RegistryError, sourceLocation: SourceLocation = #_sourceLocation) {
    Issue.record("unexpected: \(error)", sourceLocation: sourceLocation)
}
