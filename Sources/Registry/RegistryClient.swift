import AsyncHTTPClient
import FoundationEssentials
import ImageStore
import NIOCore
import NIOHTTP1
import OCISpec
import StrictJSON

/// Reads one repository of a registry (OCI distribution specification 1.1; Docker Registry HTTP API v2).
struct RegistryClient: Sendable {
    private let transport: Transport
    private let authenticator: Authenticator
    private let registry: RegistryOrigin
    private let repository: String
    private let retries: RetryPolicy

    /// Bytes of a manifest or an index, as other clients limit it.
    static let largestManifest = 4 << 20
    private static let largestError = 64 << 10
    private static let manifestTypes: [MediaType] = [.ociIndex, .ociManifest, .dockerManifestList, .dockerManifest]

    // MARK: Finding the registry

    /// Finds out how a registry is spoken to (`GET /v2/`), and logs in where it asks for it.
    static func connect(
        to reference: ImageReference, options: RegistryOptions
    ) async throws -> (client: RegistryClient, transport: Transport) {
        guard let encrypted = RegistryOrigin(registry: reference.registry, scheme: "https"),
            let plain = RegistryOrigin(registry: reference.registry, scheme: "http")
        else { throw CredentialFailure(.unreachable(reason: "the name is not a host name")) }
        let credentials =
            try options.credentials
            ?? CredentialFiles(environment: options.environment)
            .credentials(registry: reference.registry, repository: reference.repository)
        let transport = Transport(registry: encrypted, options: options)
        // Loopback registries are mostly plain ones; others are only tried so when TLS failed and the user allowed it.
        let origins = encrypted.isLoopback ? [plain, encrypted] : options.verifiesTLS ? [encrypted] : [encrypted, plain]
        do {
            var failure: (any Error)?
            for origin in origins {
                let authenticator = Authenticator(
                    transport: transport, registry: origin, repository: reference.repository, credentials: credentials)
                let client = RegistryClient(
                    transport: transport, authenticator: authenticator, registry: origin, repository: reference.repository,
                    retries: options.retries)
                do {
                    try await client.ping()
                    return (client, transport)
                } catch {
                    guard origins.count > 1, !isFinal(error) else { throw error }
                    failure = moreTelling(failure, error)
                }
            }
            throw failure ?? CredentialFailure(.noRegistry(status: 0))
        } catch {
            await transport.shutDown()
            throw error
        }
    }

    /// Whether a failure says that the registry was found, so that no other scheme needs to be tried.
    private static func isFinal(_ error: any Error) -> Bool {
        guard let failure = error as? CredentialFailure else { return error is CancellationError }
        switch failure.kind {
        case .plainHTTP, .unreachable, .untrustedCertificate, .connectionLost: return false
        // What a server that expects TLS says to plain HTTP. Any other status comes from one that does not.
        case .noRegistry(let status): return status != 400
        default: return true
        }
    }

    private static func moreTelling(_ first: (any Error)?, _ second: any Error) -> any Error {
        guard let first else { return second }
        if case .untrustedCertificate? = (second as? CredentialFailure)?.kind { return second }
        return first
    }

    /// The check of the distribution specification's "end-1"; answers a challenge at once, so that later requests need not be refused.
    private func ping() async throws {
        let (response, origin) = try await withRetries {
            let (response, origin) = try await transport.send(TransportRequest(url: try url("/v2/")))
            try await Self.throwIfTransient(response)
            return (response, origin)
        }
        switch response.status.code {
        case 200: return
        case 401 where origin == registry:
            let challenges = Self.challenges(of: response)
            guard !challenges.isEmpty else { throw CredentialFailure(.noRegistry(status: 401)) }
            _ = try await withRetries { try await authenticator.answer(challenges, refused: nil) }
        default: throw CredentialFailure(.noRegistry(status: Int(response.status.code)))
        }
    }

    // MARK: Manifests

    /// A manifest or an index as the registry sent it.
    struct FetchedDocument: Sendable {
        let bytes: [UInt8]
        let descriptor: Descriptor
        let document: ImageDocument
    }

    /// Reads a manifest or an index.
    ///
    /// - Parameters:
    ///   - name: a tag or a digest.
    ///   - expected: the descriptor that led here, if one did.
    func manifest(_ name: String, expecting expected: Descriptor? = nil) async throws -> FetchedDocument {
        let limit = Self.largestManifest
        if let expected, expected.size > Int64(limit) {
            throw CredentialFailure(.tooLarge(what: "the manifest", size: expected.size, limit: Int64(limit)))
        }
        let (bytes, headers) = try await withRetries {
            let response = try await get("/v2/\(repository)/manifests/\(name)", accept: Self.manifestTypes.map(\.rawValue))
            guard response.status.code == 200 else {
                throw try await failure(response, missing: .manifestUnknown)
            }
            guard let bytes = try await response.bytes(limit: limit) else {
                throw CredentialFailure(.tooLarge(what: "the manifest", size: response.declaredLength, limit: Int64(limit)))
            }
            return (bytes, response.headers)
        }
        return try Self.verify(bytes, headers, name: name, expected: expected)
    }

    /// Checks what a manifest says of itself against what leads to it. The digest is that of the bytes as they came.
    static func verify(
        _ bytes: [UInt8], _ headers: HTTPHeaders, name: String, expected: Descriptor?
    ) throws -> FetchedDocument {
        let wanted = expected?.digest ?? Digest(name)
        let announced = headers.first(name: "Docker-Content-Digest").flatMap { Digest($0) }
        let actual = Digest(of: bytes, wanted?.algorithm ?? .sha256)
        if let wanted, wanted != actual {
            throw CredentialFailure(.badContent(reason: "the manifest has the digest \(actual) instead of \(wanted)"))
        }
        if let announced, announced.algorithm == actual.algorithm, announced != actual {
            throw CredentialFailure(.badContent(reason: "the manifest has the digest \(actual), and is announced as \(announced)"))
        }
        if let expected, expected.size != Int64(bytes.count) {
            throw CredentialFailure(
                .badContent(reason: "the manifest \(actual) is \(bytes.count) bytes long instead of \(expected.size)"))
        }
        let value: JSONValue
        let document: ImageDocument
        do {
            value = try JSONParser().parse(bytes)
            document = try StrictJSONDecoder().decode(ImageDocument.self, from: value)
        } catch {
            throw CredentialFailure(.badManifest(reason: "\(error)"))
        }
        let type = try mediaType(of: document, inside: value["mediaType"]?.string, headers: headers)
        if let expected, expected.mediaType.kind != type.kind {
            throw CredentialFailure(.badManifest(reason: "it is a \(type), and its index calls it \(expected.mediaType)"))
        }
        return FetchedDocument(
            bytes: bytes, descriptor: Descriptor(mediaType: type, digest: actual, size: Int64(bytes.count)), document: document)
    }

    /// The media type, on which header, document and content must agree: two clients that look at different ones would
    /// otherwise see different images under one digest (GHSA-5j5w-g665-5m35).
    private static func mediaType(
        of document: ImageDocument, inside: String?, headers: HTTPHeaders
    ) throws(CredentialFailure) -> MediaType {
        let header = headers.first(name: "Content-Type") ?? ""
        let field = header.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        let type = MediaType(rawValue: field)
        guard manifestTypes.contains(type) else {
            throw CredentialFailure(.badManifest(reason: "its Content-Type is \"\(header)\", which is no manifest's"))
        }
        if let inside, inside != field {
            throw CredentialFailure(.badManifest(reason: "it calls itself \"\(inside)\" and came as \"\(field)\""))
        }
        let isIndex = if case .index = document { true } else { false }
        guard (type.kind == .index) == isIndex else {
            throw CredentialFailure(.badManifest(reason: "it is \(isIndex ? "an index" : "a manifest") and came as \"\(field)\""))
        }
        return type
    }

    // MARK: Blobs

    /// Reads a small blob into memory and verifies it.
    func document(_ blob: Descriptor, what: String, limit: Int) async throws -> [UInt8] {
        guard blob.size <= Int64(limit) else {
            throw CredentialFailure(.tooLarge(what: what, size: blob.size, limit: Int64(limit)))
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(blob.size))
        try await download(blob, noticing: { _ in }, waiting: { _ in }, consume: { part in bytes.append(contentsOf: part) })
        let actual = Digest(of: bytes, blob.digest.algorithm)
        guard actual == blob.digest else {
            throw CredentialFailure(.badContent(reason: "\(what) has the digest \(actual) instead of \(blob.digest)"))
        }
        return bytes
    }

    /// Streams a blob; after a loss of the connection it goes on where it stopped.
    ///
    /// - Parameters:
    ///   - noticing: told the bytes that are there.
    ///   - waiting: told the reason before another attempt.
    ///   - consume: takes exactly the blob's size in bytes; their digest is the caller's to check.
    func download(
        _ blob: Descriptor, noticing: (Int64) -> Void, waiting: (String) -> Void,
        consume: (UnsafeRawBufferPointer) throws -> Void
    ) async throws {
        var received: Int64 = 0
        var failures = 0
        var attempts = 0
        while true {
            let before = received
            do {
                attempts += 1
                try await stream(blob, received: &received, noticing: noticing, consume: consume)
                return
            } catch let failure as TransientFailure {
                failures = received > before ? 1 : failures + 1
                guard attempts < retries.attemptsInAll,
                    let delay = retries.delay(afterFailures: failures, retryAfter: failure.retryAfter)
                else { throw Self.final(failure, attempts: attempts, received: received, of: blob.size) }
                waiting(Self.reason(failure))
                try await Task.sleep(for: .milliseconds(delay))
            }
        }
    }

    private func stream(
        _ blob: Descriptor, received: inout Int64, noticing: (Int64) -> Void,
        consume: (UnsafeRawBufferPointer) throws -> Void
    ) async throws {
        if blob.size == 0 { return }
        let response = try await get(
            "/v2/\(repository)/blobs/\(blob.digest)", firstByte: received > 0 ? received : nil)
        // A registry that knows no ranges sends everything again: what is there already is skipped.
        var skip: Int64 = 0
        switch response.status.code {
        case 200: skip = received
        case 206 where received > 0:
            let range = response.headers.first(name: "Content-Range") ?? ""
            guard range.hasPrefix("bytes \(received)-") else {
                throw CredentialFailure(.badContent(reason: "the blob \(blob.digest) goes on with another range than was asked for"))
            }
        default: throw try await failure(response, missing: .blobUnknown(blob.digest))
        }
        if let length = response.declaredLength, length != blob.size - received + skip {
            throw CredentialFailure(
                .badContent(reason: "the blob \(blob.digest) is announced with \(length) bytes instead of \(blob.size - received + skip)"))
        }
        do {
            for try await part in response.body {
                let count = Int64(part.readableBytes)
                let skipped = min(skip, count)
                skip -= skipped
                guard received + count - skipped <= blob.size else {
                    throw CredentialFailure(.badContent(reason: "the blob \(blob.digest) goes on beyond its \(blob.size) bytes"))
                }
                try part.withUnsafeReadableBytes { bytes in
                    try consume(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(Int(skipped))))
                }
                received += count - skipped
                noticing(received)
            }
        } catch {
            throw error is ImageStoreError ? error : Transport.translate(error)
        }
        guard received == blob.size else { throw TransientFailure(cause: .connection("the answer ended early")) }
    }

    // MARK: Requests

    private func url(_ path: String) throws(CredentialFailure) -> URL {
        guard let url = registry.url(path) else { throw CredentialFailure(.unreachable(reason: "the address cannot be formed")) }
        return url
    }

    /// One request with what the registry was told before; a refusal is answered once.
    private func get(_ path: String, accept: [String] = [], firstByte: Int64? = nil) async throws -> HTTPClientResponse {
        var authorization = await authenticator.authorization()
        var isSecond = false
        while true {
            let request = TransportRequest(
                url: try url(path), authorization: authorization, accept: accept, firstByte: firstByte)
            let (response, origin) = try await transport.send(request)
            let challenges = Self.challenges(of: response)
            // Only the registry itself may ask for its credentials, not a host that it redirects to.
            guard response.status.code == 401, !isSecond, origin == registry, !challenges.isEmpty else {
                try await Self.throwIfTransient(response)
                return response
            }
            authorization = try await authenticator.answer(challenges, refused: authorization)
            isSecond = true
        }
    }

    private static func challenges(of response: HTTPClientResponse) -> [AuthenticationChallenge] {
        response.headers["WWW-Authenticate"].flatMap(AuthenticationChallenge.parse)
    }

    private static func throwIfTransient(_ response: HTTPClientResponse) async throws {
        let status = Int(response.status.code)
        guard [408, 429, 500, 502, 503, 504].contains(status) else { return }
        let message = ErrorBody.message(in: try await response.bytes(limit: largestError) ?? [])
        throw TransientFailure(cause: .status(status, message: message), retryAfter: response.retryAfter)
    }

    private func failure(_ response: HTTPClientResponse, missing: RegistryError.Kind) async throws -> CredentialFailure {
        let message = ErrorBody.message(in: try await response.bytes(limit: Self.largestError) ?? [])
        switch Int(response.status.code) {
        case 401, 403: return CredentialFailure(.denied(credentials: authenticator.source, message: message))
        case 404: return CredentialFailure(missing)
        case let status: return CredentialFailure(.unexpectedStatus(status, message: message))
        }
    }

    private func withRetries<Value>(_ body: () async throws -> Value) async throws -> Value {
        var failures = 0
        while true {
            do {
                return try await body()
            } catch let failure as TransientFailure {
                failures += 1
                guard let delay = retries.delay(afterFailures: failures, retryAfter: failure.retryAfter) else {
                    throw Self.final(failure, attempts: failures, received: 0, of: nil)
                }
                try await Task.sleep(for: .milliseconds(delay))
            }
        }
    }

    private static func final(
        _ failure: TransientFailure, attempts: Int, received: Int64, of total: Int64?
    ) -> CredentialFailure {
        switch failure.cause {
        case .status(429, _): CredentialFailure(.tooManyRequests(retryAfter: failure.retryAfter, attempts: attempts))
        case .status(let status, let message):
            CredentialFailure(.serverFailure(status: status, attempts: attempts, message: message))
        case .connection(let reason):
            CredentialFailure(.connectionLost(received: received, of: total, attempts: attempts, reason: reason))
        }
    }

    private static func reason(_ failure: TransientFailure) -> String {
        switch failure.cause {
        case .status(429, _): "too many requests"
        case .status(let status, _): "status \(status)"
        case .connection(let reason): reason
        }
    }
}
