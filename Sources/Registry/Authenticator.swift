import AsyncHTTPClient
import FoundationEssentials
import NIOHTTP1
import StrictJSON

/// Answers the challenges of one registry for one repository, and keeps the answer for the requests that follow.
actor Authenticator {
    private let transport: Transport
    private let registry: RegistryOrigin
    private let repository: String
    private let credentials: RegistryCredentials?
    /// The value of the Authorization header; nil before any challenge.
    private var header: String?
    /// An answer on its way: layers that are refused at the same time wait for one token, not for one each.
    private var pending: Task<String, any Error>?
    private static let largestAnswer = 1 << 20

    init(transport: Transport, registry: RegistryOrigin, repository: String, credentials: RegistryCredentials?) {
        self.transport = transport
        self.registry = registry
        self.repository = repository
        self.credentials = credentials
    }

    nonisolated var source: CredentialSource? { credentials?.source }

    /// What requests to the registry carry now.
    func authorization() -> String? { header }

    /// Answers the challenges of a refused request.
    ///
    /// - Parameter refused: the header that was refused; when another one is there already, that is the answer.
    func answer(_ challenges: [AuthenticationChallenge], refused: String?) async throws -> String {
        if let header, header != refused { return header }
        if let pending { return try await pending.value }
        let task = Task { try await self.obtain(challenges) }
        pending = task
        defer { pending = nil }
        // A cancelled pull must not wait for the token service.
        let value = try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
        header = value
        return value
    }

    private func obtain(_ challenges: [AuthenticationChallenge]) async throws -> String {
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) { return "Bearer " + (try await token(bearer)) }
        guard challenges.contains(where: { $0.scheme == "basic" }) else {
            throw CredentialFailure(.unsupportedAuthentication(challenges.first?.scheme ?? "none"))
        }
        guard case .password(let user, let password)? = credentials?.secret else {
            throw CredentialFailure(.denied(credentials: nil, message: ""))
        }
        return Self.basic(user, password)
    }

    static func basic(_ user: String, _ password: String) -> String {
        "Basic " + Data("\(user):\(password)".utf8).base64EncodedString()
    }

    // MARK: Tokens (distribution specification, "Token Authentication")

    private func token(_ challenge: AuthenticationChallenge) async throws -> String {
        let realm = challenge.parameters["realm"] ?? ""
        guard let url = URL(string: realm), let origin = RegistryOrigin(url), url.user() == nil else {
            throw CredentialFailure(.realmRefused(realm: realm, reason: "it is not an https address"))
        }
        // The password goes there: encrypted, or to the registry that the user allowed plain HTTP for (CVE-2019-10214).
        guard origin.isEncrypted || (!registry.isEncrypted && origin.host == registry.host && transport.allowsPlainHTTP(origin))
        else {
            throw CredentialFailure(
                .realmRefused(realm: origin.description, reason: "the password would be sent there without encryption"))
        }
        let request = try tokenRequest(url, challenge)
        let (response, _) = try await transport.send(request)
        let status = Int(response.status.code)
        guard let bytes = try await response.bytes(limit: Self.largestAnswer) else {
            throw CredentialFailure(.badTokenAnswer(reason: "the answer is longer than \(Self.largestAnswer) bytes"))
        }
        switch status {
        case 200: return try Self.token(in: bytes)
        case 400, 401, 403: throw CredentialFailure(.denied(credentials: source, message: ErrorBody.message(in: bytes)))
        case 429, 500...599:
            throw TransientFailure(
                cause: .status(status, message: ErrorBody.message(in: bytes)), retryAfter: response.retryAfter)
        default: throw CredentialFailure(.badTokenAnswer(reason: "status \(status) from \(origin)"))
        }
    }

    private func tokenRequest(
        _ realm: URL, _ challenge: AuthenticationChallenge
    ) throws(CredentialFailure) -> TransportRequest {
        var fields = [("scope", "repository:\(repository):pull")]
        if let service = challenge.parameters["service"] { fields.append(("service", service)) }
        switch credentials?.secret {
        case .identityToken(let token):
            fields += [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "coffer")]
            return TransportRequest(method: .POST, url: realm, form: Self.encode(fields))
        case .password(let user, let password):
            fields.append(("account", user))
            return TransportRequest(url: try Self.add(fields, to: realm), authorization: Self.basic(user, password))
        case nil:
            return TransportRequest(url: try Self.add(fields, to: realm))
        }
    }

    private static func add(_ fields: [(String, String)], to url: URL) throws(CredentialFailure) -> URL {
        let text = url.absoluteString
        let joint = text.contains("?") ? (text.hasSuffix("?") || text.hasSuffix("&") ? "" : "&") : "?"
        guard !text.contains("#"), let result = URL(string: text + joint + encode(fields)) else {
            throw CredentialFailure(.realmRefused(realm: text, reason: "it is not an https address"))
        }
        return result
    }

    private static func encode(_ fields: [(String, String)]) -> String {
        fields.map { "\(encode($0.0))=\(encode($0.1))" }.joined(separator: "&")
    }

    private static func encode(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += byte < 16 ? "%0" : "%"
                result += String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }

    private static func token(in bytes: [UInt8]) throws(CredentialFailure) -> String {
        let document: JSONValue
        do {
            document = try JSONParser().parse(bytes)
        } catch {
            throw CredentialFailure(.badTokenAnswer(reason: error.description))
        }
        let candidates = [document["token"]?.string, document["access_token"]?.string]
        guard let token = candidates.compactMap({ $0 }).first(where: { !$0.isEmpty }) else {
            throw CredentialFailure(.badTokenAnswer(reason: "it has neither \"token\" nor \"access_token\""))
        }
        // It becomes a header field: nothing in it may end the line.
        guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw CredentialFailure(.badTokenAnswer(reason: "the token has characters that no token has"))
        }
        return token
    }
}

/// The body of an error (distribution specification, "Error Codes").
enum ErrorBody {
    /// The messages of a registry's errors, or nothing when the body is not what the specification says.
    static func message(in bytes: [UInt8]) -> String {
        let document: JSONValue
        do { document = try JSONParser().parse(bytes) } catch { return "" }
        let texts = (document["errors"]?.array ?? []).compactMap { $0["message"]?.string ?? $0["code"]?.string }
        return texts.isEmpty ? document["details"]?.string ?? document["message"]?.string ?? "" : texts.joined(separator: "; ")
    }
}
