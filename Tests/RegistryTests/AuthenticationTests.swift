import Foundation
import ImageStore
import OCISpec
import PullMessages
import Testing

@testable import Registry

@Suite struct AuthenticationTests {
    private let image = RemoteImage()
    private let alice = RegistryCredentials(.password(user: "alice", password: "s3cret:%"), source: .option)
    private var aliceHeader: String { "Basic " + Data("alice:s3cret:%".utf8).base64EncodedString() }

    // MARK: Where credentials may go

    /// CVE-2020-15157: a registry that redirects must not hand its users' credentials to the target.
    @Test(arguments: [301, 302, 303, 307, 308])
    func redirectsDoNotCarryCredentials(status: Int) async throws {
        let image = image
        let header = aliceHeader
        let storage = try LyingRegistry { request in
            // The second host asks for them itself, and gets nothing either.
            request.target.hasSuffix("ask")
                ? .init(status: 401, headers: ["WWW-Authenticate": "Basic realm=\"x\""])
                : image.layers.first { request.path == "/\(Digest(of: $0))" }.map { .init(body: $0) } ?? .notFound
        }
        defer { storage.stop() }
        let target = storage.name
        let registry = try LyingRegistry { request in
            guard request.headers["authorization"] == header else {
                return .init(status: 401, headers: ["WWW-Authenticate": "Basic realm=\"test\""])
            }
            if let layer = image.layers.first(where: { request.path == image.path($0) }) {
                return .init(status: status, headers: ["Location": "http://\(target)/\(Digest(of: layer))?signature=x"])
            }
            return image.answer(request) ?? .notFound
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let result = try await fixture.pull(from: registry, credentials: alice)
            #expect(result.image.id == Digest(of: image.configuration))
        }
        #expect(storage.requests.count == 3)
        #expect(storage.requests.allSatisfy { $0.headers["authorization"] == nil })
        #expect(registry.requests.contains { $0.headers["authorization"] == header })
    }

    @Test func anotherHostCannotAskForCredentials() async throws {
        let image = image
        let storage = try LyingRegistry { _ in .init(status: 401, headers: ["WWW-Authenticate": "Basic realm=\"x\""]) }
        defer { storage.stop() }
        let target = storage.name
        let registry = try LyingRegistry { request in
            request.path.contains("/blobs/")
                ? .init(status: 302, headers: ["Location": "http://\(target)/x"]) : image.answer(request) ?? .notFound
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry, credentials: alice)
            #expect(error.kind == .denied(credentials: .option, message: ""))
        }
        #expect(!storage.requests.isEmpty)
        #expect(storage.requests.allSatisfy { $0.headers["authorization"] == nil })
    }

    /// A redirect that leads back to the registry does not bring the credentials back.
    @Test func wayBackHasNoCredentials() async throws {
        let image = image
        let header = aliceHeader
        let back = LyingRegistryAddress()
        let storage = try LyingRegistry { _ in .init(status: 302, headers: ["Location": "http://\(back.value)/collect"]) }
        defer { storage.stop() }
        let target = storage.name
        let registry = try LyingRegistry { request in
            if request.path == "/collect" { return .init(body: [0]) }
            guard request.headers["authorization"] == header else {
                return .init(status: 401, headers: ["WWW-Authenticate": "Basic realm=\"test\""])
            }
            return request.path.contains("/blobs/")
                ? .init(status: 302, headers: ["Location": "http://\(target)/x"]) : image.answer(request) ?? .notFound
        }
        defer { registry.stop() }
        back.value = registry.name
        try await PullFixture.with { fixture in _ = try await fixture.failure(from: registry, credentials: alice) }
        let collected = registry.requests.filter { $0.path == "/collect" }
        #expect(!collected.isEmpty)
        #expect(collected.allSatisfy { $0.headers["authorization"] == nil })
    }

    @Test(arguments: [
        ("file:///etc/passwd", "not an https address"), ("ftp://127.0.0.1/x", "not an https address"),
        ("http://192.0.2.1/x", "not be encrypted"), ("http://user:pass@127.0.0.1/x", "has credentials in it"),
        ("", "missing or malformed"),
    ])
    func refusesRedirects(location: String, reason: String) async throws {
        let image = image
        let registry = try LyingRegistry { request in
            request.path.contains("/blobs/")
                ? .init(status: 302, headers: ["Location": location]) : image.answer(request) ?? .notFound
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .redirectRefused(_, let found) = error.kind else {
                // An empty reference leads to the same address again.
                #expect(location.isEmpty && error.kind == .tooManyRedirects(5), "\(error)")
                return
            }
            #expect(found.contains(reason))
        }
    }

    @Test func countsRedirects() async throws {
        let image = image
        let registry = try LyingRegistry { request in
            guard request.path.contains("/manifests/") else { return image.answer(request) ?? .notFound }
            return .init(status: 307, headers: ["Location": request.path + "?again"])
        }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            try await fixture.expect(.tooManyRedirects(5), from: registry)
        }
        #expect(registry.requests.count { $0.path.contains("/manifests/") } == 6)
    }

    // MARK: Tokens

    /// A registry that demands a token of its own.
    private func tokenRegistry(realm: String? = nil, answer: @escaping @Sendable (LyingRegistry.Request) -> LyingRegistry.Response)
        throws -> LyingRegistry
    {
        let image = image
        let address = LyingRegistryAddress()
        let registry = try LyingRegistry { request in
            if request.path == "/token" { return answer(request) }
            guard request.headers["authorization"] == "Bearer t0ken" else {
                let place = realm ?? "http://\(address.value)/token"
                return .init(
                    status: 401,
                    headers: ["WWW-Authenticate": "Bearer realm=\"\(place)\",service=\"a registry\",scope=\"registry:catalog:*\""])
            }
            return image.answer(request) ?? .notFound
        }
        address.value = registry.name
        return registry
    }

    @Test func fetchesOneToken() async throws {
        let registry = try tokenRegistry { _ in .json(#"{"token":"t0ken"}"#) }
        defer { registry.stop() }
        try await PullFixture.with { fixture in _ = try await fixture.pull(from: registry) }
        let asked = registry.requests.filter { $0.path == "/token" }
        #expect(asked.map(\.target) == ["/token?scope=repository%3Atest%2Fimage%3Apull&service=a%20registry"])
        #expect(asked.allSatisfy { $0.headers["authorization"] == nil })
    }

    @Test func passwordsGoToTheTokenServiceOnly() async throws {
        let registry = try tokenRegistry { _ in .json(#"{"access_token":"t0ken"}"#) }
        defer { registry.stop() }
        try await PullFixture.with { fixture in _ = try await fixture.pull(from: registry, credentials: alice) }
        for request in registry.requests {
            #expect((request.headers["authorization"] == aliceHeader) == (request.path == "/token"))
        }
        #expect(registry.requests.contains { $0.target.contains("account=alice") })
    }

    @Test func identityTokensArePosted() async throws {
        let registry = try tokenRegistry { request in
            request.method == "POST" && request.body.contains("refresh_token=r%2Ft") ? .json(#"{"token":"t0ken"}"#) : .init(status: 401)
        }
        defer { registry.stop() }
        let credentials = RegistryCredentials(.identityToken("r/t"), source: .option)
        try await PullFixture.with { fixture in _ = try await fixture.pull(from: registry, credentials: credentials) }
    }

    /// A token that ends while layers are on their way is replaced once.
    @Test func expiredTokensAreReplaced() async throws {
        let image = image
        let address = LyingRegistryAddress()
        let registry = try LyingRegistry { request in
            if request.path == "/token" { return .json(#"{"token":"t\#(address.next())"}"#) }
            let wanted = request.path.contains("/blobs/") ? "Bearer t2" : "Bearer t1"
            guard request.headers["authorization"] == wanted else {
                return .init(status: 401, headers: ["WWW-Authenticate": "Bearer realm=\"http://\(address.value)/token\""])
            }
            return image.answer(request) ?? .notFound
        }
        address.value = registry.name
        defer { registry.stop() }
        try await PullFixture.with { fixture in _ = try await fixture.pull(from: registry) }
        #expect(registry.requests.count { $0.path == "/token" } == 2)
    }

    @Test(arguments: [
        ("http://192.0.2.1/token", "without encryption"), ("file:///etc/passwd", "not an https address"), ("", "not an https address"),
        ("https://user:x@127.0.0.1/token", "not an https address"),
    ])
    func refusesRealms(realm: String, reason: String) async throws {
        let registry = try tokenRegistry(realm: realm) { _ in .notFound }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry, credentials: alice)
            guard case .realmRefused(_, let found) = error.kind else { return unexpected(error) }
            #expect(found.contains(reason))
        }
    }

    @Test(arguments: [
        #"{}"#, #"{"token":""}"#, #"{"token":"a b"}"#, #"{"token":"a\r\nX-Evil: 1"}"#, "no JSON", #"{"token":1}"#,
    ])
    func refusesBadTokens(answer: String) async throws {
        let registry = try tokenRegistry { _ in .json(answer) }
        defer { registry.stop() }
        try await PullFixture.with { fixture in
            let error = try await fixture.failure(from: registry)
            guard case .badTokenAnswer = error.kind else { return unexpected(error) }
        }
    }

    @Test func deniedPullsSayWhatToDo() async throws {
        let basic = try LyingRegistry { request in
            .init(
                status: 401, headers: ["WWW-Authenticate": "Basic realm=\"x\"", "Content-Type": "application/json"],
                body: Array(#"{"errors":[{"message":"authentication required"}]}"#.utf8))
        }
        defer { basic.stop() }
        let negotiate = try LyingRegistry { _ in .init(status: 401, headers: ["WWW-Authenticate": "Negotiate"]) }
        defer { negotiate.stop() }
        let tokens = try tokenRegistry { _ in .init(status: 401) }
        defer { tokens.stop() }
        try await PullFixture.with { fixture in
            let anonymous = try await fixture.failure(from: basic)
            #expect(
                anonymous.description.hasPrefix(
                    "pull access denied for \(basic.name)/test/image:latest, repository does not exist or may require login"))
            #expect(anonymous.description.contains("--creds"))
            let refused = try await fixture.failure(from: basic, credentials: alice)
            #expect(refused.kind == .denied(credentials: .option, message: "authentication required"))
            #expect(!refused.description.contains("s3cret"))
            try await fixture.expect(.unsupportedAuthentication("negotiate"), from: negotiate)
            let untrusted = try await fixture.failure(from: tokens, credentials: alice)
            #expect(untrusted.kind == .denied(credentials: .option, message: ""))
        }
    }

    // MARK: Files

    private func write(_ text: String, in fixture: PullFixture) throws -> String {
        let path = "\(fixture.directory)/auth.json"
        try Data(text.utf8).write(to: URL(filePath: path))
        return path
    }

    @Test func readsFiles() async throws {
        try await PullFixture.with { fixture in
            let secret = Data("bob:pw".utf8).base64EncodedString()
            let path = try write(
                """
                {"auths":{"r.example":{"auth":"\(secret)"},"r.example/team/app":{"username":"team","password":"x"},
                 "https://index.docker.io/v1/":{"identitytoken":"idt"},"broken.example":{"auth":"%%"},"kept.example":{}},
                 "credsStore":"desktop","credHelpers":{"helped.example":"ecr-login"}}
                """, in: fixture)
            let files = CredentialFiles(environment: ["REGISTRY_AUTH_FILE": path])
            func found(_ registry: String, _ repository: String = "a/b") throws -> RegistryCredentials.Secret? {
                try files.credentials(registry: registry, repository: repository)?.secret
            }
            #expect(try found("r.example") == .password(user: "bob", password: "pw"))
            #expect(try found("r.example", "team/app") == .password(user: "team", password: "x"))
            #expect(try found("docker.io") == .identityToken("idt"))
            #expect(try found("unknown.example") == nil)
            for (registry, part) in [("broken.example", "Base64"), ("kept.example", "desktop"), ("helped.example", "ecr-login")] {
                let failure = #expect(throws: CredentialFailure.self) { try found(registry) }
                let kind = try #require(failure?.kind)
                let error = RegistryError(kind, registry: registry, image: "x")
                #expect(error.description.contains(part) && error.description.contains(path))
            }
        }
    }

    @Test func looksWhereDockerAndPodmanDo() async throws {
        try await PullFixture.with { fixture in
            let home = "\(fixture.directory)/home"
            for path in [home, "\(home)/.docker", "\(home)/run", "\(home)/run/containers"] { try #require(mkdir(path, 0o700) == 0) }
            func entry(_ user: String) -> Data { Data(#"{"auths":{"r.example":{"username":"\#(user)","password":"x"}}}"#.utf8) }
            try entry("docker").write(to: URL(filePath: "\(home)/.docker/config.json"))
            let docker = try CredentialFiles(environment: ["HOME": home]).credentials(registry: "r.example", repository: "a")
            #expect(docker?.secret == .password(user: "docker", password: "x"))
            try entry("podman").write(to: URL(filePath: "\(home)/run/containers/auth.json"))
            let podman = try CredentialFiles(environment: ["HOME": home, "XDG_RUNTIME_DIR": "\(home)/run"])
                .credentials(registry: "r.example", repository: "a")
            #expect(podman?.secret == .password(user: "podman", password: "x"))
            #expect(try CredentialFiles(environment: [:]).credentials(registry: "r.example", repository: "a") == nil)
            let failure = #expect(throws: CredentialFailure.self) {
                try CredentialFiles(environment: ["REGISTRY_AUTH_FILE": home]).credentials(registry: "r.example", repository: "a")
            }
            #expect(failure?.kind == .badCredentials(file: home, reason: "it cannot be read"))
        }
    }

    @Test func optionsAreNeverPrinted() throws {
        let credentials = RegistryCredentials(try #require(PullCredentials(option: "alice:a:b")))
        #expect(credentials.secret == .password(user: "alice", password: "a:b"))
        #expect(!"\(String(describing: credentials)) \(String(reflecting: credentials))".contains("a:b"))
    }
}

/// An address that is known only after the server that needs it was made.
final class LyingRegistryAddress: @unchecked Sendable {
    private let lock = NSLock()
    private var text = ""
    private var count = 0
    var value: String {
        get { lock.withLock { text } }
        set { lock.withLock { text = newValue } }
    }
    func next() -> Int {
        lock.withLock {
            count += 1
            return count
        }
    }
}
