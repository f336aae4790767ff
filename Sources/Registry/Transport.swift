import AsyncHTTPClient
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import TextSearch

/// One request as the registry protocol needs it.
struct TransportRequest: Sendable {
    var method: HTTPMethod = .GET
    var url: URL
    /// Sent to the origin of `url`, and to no other one.
    var authorization: String?
    var accept: [String] = []
    /// The first byte wanted.
    var firstByte: Int64?
    /// A body in `application/x-www-form-urlencoded`.
    var form: String?
}

/// A failure after which another attempt may succeed.
struct TransientFailure: Error {
    enum Cause {
        case status(Int, message: String)
        case connection(String)
    }
    let cause: Cause
    /// Seconds that the registry asks for.
    var retryAfter: Int?
}

/// HTTP with the rules that keep credentials and images safe: redirects are followed here, by origin.
final class Transport: Sendable {
    private let options: RegistryOptions
    private let registryHost: String
    private let registryIsLoopback: Bool
    private let certificates: TrustedCertificates
    private let proxies: ProxySettings
    private let group: MultiThreadedEventLoopGroup
    /// Clients by proxy (AsyncHTTPClient has one proxy per client), and TLS settings by origin.
    private let state = Mutex(State())

    private struct State {
        var clients: [HTTPClient.Configuration.Proxy?: HTTPClient] = [:]
        var tls: [RegistryOrigin: TLSConfiguration] = [:]
    }

    static let largestRedirectCount = 5
    /// Seconds until a connection must stand.
    private static let connectTimeout: Int64 = 15

    init(registry: RegistryOrigin, options: RegistryOptions) {
        self.options = options
        registryHost = registry.host
        registryIsLoopback = registry.isLoopback
        certificates = TrustedCertificates(directory: options.certificateDirectory, environment: options.environment)
        proxies = ProxySettings(environment: options.environment)
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    }

    /// Closes all connections; the transport is of no use afterwards.
    func shutDown() async {
        for client in state.withLock({ $0.clients.values.map { $0 } }) {
            // A failure to close a connection harms nobody: the process ends or has what it wanted.
            try? await client.shutdown()
        }
        try? await group.shutdownGracefully()
    }

    // MARK: Requests

    /// Sends a request and follows redirects.
    ///
    /// - Returns: the response and the origin that gave it.
    /// - Throws: `CredentialFailure` for what no retry can help, `TransientFailure` for the rest.
    func send(_ request: TransportRequest) async throws -> (response: HTTPClientResponse, origin: RegistryOrigin) {
        var url = request.url
        var authorization = request.authorization
        for _ in 0...Self.largestRedirectCount {
            guard let origin = RegistryOrigin(url) else {
                throw CredentialFailure(.redirectRefused(to: url.absoluteString, reason: "it is not an https address"))
            }
            let response = try await exchange(request, url: url, origin: origin, authorization: authorization)
            guard [301, 302, 303, 307, 308].contains(response.status.code), request.method == .GET else {
                return (response, origin)
            }
            guard let location = response.headers.first(name: "Location"),
                let next = URL(string: location, relativeTo: url)?.absoluteURL
            else {
                throw CredentialFailure(.redirectRefused(to: "nowhere", reason: "the address is missing or malformed"))
            }
            let nextOrigin = try check(redirect: next, from: origin)
            // What belongs to one origin is never sent to another, nor when a later redirect leads back (CVE-2020-15157).
            if nextOrigin != origin { authorization = nil }
            url = next
        }
        throw CredentialFailure(.tooManyRedirects(Self.largestRedirectCount))
    }

    private func check(redirect url: URL, from origin: RegistryOrigin) throws(CredentialFailure) -> RegistryOrigin {
        // The query may hold a signature that is as good as a password: messages show the origin only.
        guard let target = RegistryOrigin(url) else {
            throw CredentialFailure(.redirectRefused(to: url.scheme ?? "", reason: "it is not an https address"))
        }
        if url.user() != nil || url.password() != nil {
            throw CredentialFailure(.redirectRefused(to: target.description, reason: "the address has credentials in it"))
        }
        guard target.isEncrypted || (!origin.isEncrypted && allowsPlainHTTP(target)) else {
            throw CredentialFailure(
                .redirectRefused(to: target.description, reason: "the connection there would not be encrypted"))
        }
        return target
    }

    /// Plain HTTP is for this machine's own registries, and for the registry that the user allowed it for.
    func allowsPlainHTTP(_ origin: RegistryOrigin) -> Bool {
        (registryIsLoopback && origin.isLoopback) || (origin.host == registryHost && !options.verifiesTLS)
    }

    private func exchange(
        _ request: TransportRequest, url: URL, origin: RegistryOrigin, authorization: String?
    ) async throws -> HTTPClientResponse {
        guard origin.isEncrypted || allowsPlainHTTP(origin) else { throw CredentialFailure(.plainHTTP) }
        var http = HTTPClientRequest(url: url.absoluteString)
        http.method = request.method
        http.headers.add(name: "User-Agent", value: "coffer")
        for type in request.accept { http.headers.add(name: "Accept", value: type) }
        if let authorization { http.headers.add(name: "Authorization", value: authorization) }
        if let first = request.firstByte { http.headers.add(name: "Range", value: "bytes=\(first)-") }
        if let form = request.form {
            http.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
            http.body = .bytes(ByteBuffer(string: form))
        }
        if origin.isEncrypted { http.tlsConfiguration = try tls(for: origin) }
        do {
            return try await client(for: origin).execute(http, deadline: .distantFuture)
        } catch {
            throw Self.translate(error)
        }
    }

    // MARK: Connections

    private func tls(for origin: RegistryOrigin) throws(CredentialFailure) -> TLSConfiguration {
        if let known = state.withLock({ $0.tls[origin] }) { return known }
        let isRegistry = origin.host == registryHost
        let configuration = try certificates.configuration(
            for: origin, verifies: options.verifiesTLS || !isRegistry, presentsClientCertificate: isRegistry)
        state.withLock { $0.tls[origin] = configuration }
        return configuration
    }

    private func client(for origin: RegistryOrigin) -> HTTPClient {
        let proxy = proxies.proxy(for: origin)
        return state.withLock { state in
            if let client = state.clients[proxy] { return client }
            var configuration = HTTPClient.Configuration(
                redirectConfiguration: .disallow,
                timeout: .init(connect: .seconds(Self.connectTimeout), read: .seconds(Int64(options.idleTimeout))),
                proxy: proxy)
            configuration.httpVersion = .http1Only
            // A refused connection is an answer; how often to try again is decided here, once.
            configuration.connectionPool.retryConnectionEstablishment = false
            let client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
            state.clients[proxy] = client
            return client
        }
    }

    // MARK: Failures

    /// What a failure of the network means.
    static func translate(_ error: any Error) -> any Error {
        if error is CancellationError || error is CredentialFailure || error is TransientFailure { return error }
        let text = String(describing: error)
        switch error {
        case let failure as NIOConnectionError:
            return CredentialFailure(.unreachable(reason: reason(of: failure)))
        case let failure as HTTPClientError:
            if failure == .cancelled { return CancellationError() }
            if failure == .connectTimeout || failure == .tlsHandshakeTimeout {
                return CredentialFailure(.unreachable(reason: "no answer within \(connectTimeout) seconds"))
            }
            if failure == .proxyAuthenticationRequired || failure == .invalidProxyResponse {
                return CredentialFailure(.unreachable(reason: "the proxy refused (\(failure.shortDescription))"))
            }
            if failure == .readTimeout { return TransientFailure(cause: .connection("no data for too long")) }
            return TransientFailure(cause: .connection(failure.shortDescription))
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            return CredentialFailure(handshake(text))
        case let failure as IOError where failure.errnoCode == ECONNREFUSED:
            return CredentialFailure(.unreachable(reason: "connection refused"))
        case let failure as IOError:
            return TransientFailure(cause: .connection(String(cString: strerror(failure.errnoCode))))
        default:
            return TransientFailure(cause: .connection(text))
        }
    }

    private static func handshake(_ text: String) -> RegistryError.Kind {
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return .untrustedCertificate(reason: "it is not signed by a CA of this machine, has expired, or was made for another name")
        }
        if text.contains("failedToValidateHostname") {
            return .untrustedCertificate(reason: "it was made for another name")
        }
        if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") { return .plainHTTP }
        return .unreachable(reason: "TLS failed (\(RegistryError.printable(text)))")
    }

    private static func reason(of failure: NIOConnectionError) -> String {
        if failure.connectionErrors.isEmpty {
            return failure.dnsAError == nil && failure.dnsAAAAError == nil
                ? "it could not be connected" : "the name \(failure.host) cannot be resolved"
        }
        let codes = failure.connectionErrors.compactMap { ($0.error as? IOError)?.errnoCode }
        guard let code = codes.first else { return "it could not be connected" }
        return code == ECONNREFUSED ? "connection refused" : String(cString: strerror(code))
    }
}

extension HTTPClientResponse {
    /// The value of Content-Length, when there is one.
    var declaredLength: Int64? { headers.first(name: "Content-Length").flatMap { Int64($0) } }

    /// Seconds of Retry-After (RFC 9110 section 10.2.3); a date counts as unknown.
    var retryAfter: Int? { headers.first(name: "Retry-After").flatMap { Int($0) } }

    /// The first bytes of the body, as many as `limit`; nil when there are more.
    func bytes(limit: Int) async throws -> [UInt8]? {
        if let declaredLength, declaredLength > Int64(limit) { return nil }
        var bytes: [UInt8] = []
        do {
            for try await part in body {
                guard bytes.count + part.readableBytes <= limit else { return nil }
                bytes.append(contentsOf: part.readableBytesView)
            }
        } catch {
            throw Transport.translate(error)
        }
        return bytes
    }
}
