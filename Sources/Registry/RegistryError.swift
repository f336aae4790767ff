import OCISpec

/// Why something could not be had from a registry. Each is one sentence with the image, the registry and a remedy.
public struct RegistryError: Error, Sendable, Equatable, CustomStringConvertible {
    public let kind: Kind
    /// Host and port as the image's name has them.
    public let registry: String
    /// The image as the user knows it.
    public let image: String

    public enum Kind: Sendable, Equatable {
        /// 401 or 403.
        case denied(credentials: CredentialSource?, message: String)
        /// 404 for a manifest.
        case manifestUnknown
        /// 404 for a blob of the image.
        case blobUnknown(Digest)
        /// 429, also after waiting. Seconds that the registry asks for.
        case tooManyRequests(retryAfter: Int?, attempts: Int)
        /// 5xx, also after waiting.
        case serverFailure(status: Int, attempts: Int, message: String)
        /// A status that the distribution specification does not know here.
        case unexpectedStatus(Int, message: String)
        /// The address does not speak the protocol.
        case noRegistry(status: Int)
        case unreachable(reason: String)
        /// The connection was lost, also after retries.
        case connectionLost(received: Int64, of: Int64?, attempts: Int, reason: String)
        case untrustedCertificate(reason: String)
        case badCertificateDirectory(path: String, reason: String)
        /// Plain HTTP that was not allowed.
        case plainHTTP
        case redirectRefused(to: String, reason: String)
        case tooManyRedirects(Int)
        case realmRefused(realm: String, reason: String)
        case unsupportedAuthentication(String)
        case badTokenAnswer(reason: String)
        case credentialHelper(name: String, file: String)
        case badCredentials(file: String, reason: String)
        /// A manifest that is not one, or more than one (GHSA-5j5w-g665-5m35).
        case badManifest(reason: String)
        case tooLarge(what: String, size: Int64?, limit: Int64)
        /// Content that is not what its descriptor says.
        case badContent(reason: String)
        case noSuchPlatform(wanted: Platform, available: [Platform])
        case foreignLayer(Digest)
        /// SIGINT and its kin.
        case interrupted(signal: Int32)
    }

    public init(_ kind: Kind, registry: String, image: String) {
        self.kind = kind
        self.registry = registry
        self.image = image
    }

    public var description: String {
        switch kind {
        case .denied(.some(let source), let message):
            "pull access denied for \(image): \(registry) refused the credentials from \(source)\(Self.quoted(message)): check them, "
                + "and whether the repository exists"
        case .denied(nil, let message):
            "pull access denied for \(image), repository does not exist or may require login\(Self.quoted(message)): give --creds "
                + "USER:PASSWORD, or store the credentials for \(registry) in ~/.docker/config.json"
        case .manifestUnknown: "manifest for \(image) not found: \(registry) has no such tag or digest in this repository"
        case .blobUnknown(let digest):
            "\(registry) lists the blob \(digest) in \(image) but does not have it: the image is damaged there and must be pushed again"
        case .tooManyRequests(let seconds, let attempts):
            "\(registry) limits requests and refused \(image) \(Self.times(attempts)) (status 429): try again "
                + (seconds.map { "in \($0) seconds" } ?? "later") + ", or log in for a higher limit"
        case .serverFailure(let status, let attempts, let message):
            "\(registry) failed \(Self.times(attempts)) with status \(status)\(Self.quoted(message)) while \(image) was pulled: try again later"
        case .unexpectedStatus(let status, let message):
            "\(registry) answered a request for \(image) with status \(status)\(Self.quoted(message)), which is not expected there"
        case .noRegistry(let status):
            "\(registry) is not a container registry (status \(status) for /v2/): check the name of \(image)"
        default: transportDescription
        }
    }

    private var transportDescription: String {
        switch kind {
        case .unreachable(let reason):
            "cannot reach \(registry) for \(image): \(reason): check the name, the network and the proxy settings"
        case .connectionLost(let received, let total, let attempts, let reason):
            "the connection to \(registry) was lost \(Self.times(attempts)) while \(image) was pulled (\(reason); \(received)"
                + (total.map { " of \($0)" } ?? "") + " bytes were there): try again"
        case .untrustedCertificate(let reason):
            "the certificate of \(registry) is not trusted (\(reason)), so \(image) was not pulled: put its CA into "
                + "/etc/docker/certs.d/\(registry)/ca.crt or a directory given with --cert-dir, or use --tls-verify=false"
        case .badCertificateDirectory(let path, let reason):
            "the certificates for \(registry) in \(path) cannot be used: \(reason)"
        case .plainHTTP:
            "\(registry) speaks plain HTTP, where anybody on the way can change \(image): use --tls-verify=false to pull from it all the same"
        case .redirectRefused(let target, let reason):
            "\(registry) redirects a request for \(image) to \(Self.printable(target)), which is refused: \(reason)"
        case .tooManyRedirects(let limit): "\(registry) redirects a request for \(image) more than \(limit) times"
        case .realmRefused(let realm, let reason):
            "\(registry) wants the login for \(image) at \(Self.printable(realm)), which is refused: \(reason)"
        case .unsupportedAuthentication(let scheme):
            "\(registry) wants the authentication scheme \"\(Self.printable(scheme))\" for \(image); only Basic and Bearer are supported"
        case .badTokenAnswer(let reason):
            "the token service of \(registry) gave no usable token for \(image): \(Self.printable(reason))"
        case .credentialHelper(let name, let file):
            "the credentials of \(registry) for \(image) are kept by the program docker-credential-\(Self.printable(name)) (\(file)), "
                + "which Coffer does not run: give --creds USER:PASSWORD, or a file with them in REGISTRY_AUTH_FILE"
        case .badCredentials(let file, let reason): "the credentials in \(file) cannot be used for \(registry): \(reason)"
        default: contentDescription
        }
    }

    private var contentDescription: String {
        switch kind {
        case .badManifest(let reason): "\(registry) sent no valid manifest for \(image): \(Self.printable(reason))"
        case .tooLarge(let what, let size, let limit):
            "\(what) of \(image) from \(registry) is \(size.map { "\($0) bytes long" } ?? "too long"): at most \(limit) bytes are accepted"
        case .badContent(let reason): "\(registry) sent wrong content for \(image): \(Self.printable(reason))"
        case .noSuchPlatform(let wanted, let available):
            "no image for the platform \(wanted) in \(image) on \(registry): it is made for "
                + (available.isEmpty ? "no known platform" : available.map { Self.printable("\($0)") }.joined(separator: ", "))
        case .foreignLayer(let digest):
            "layer \(digest) of \(image) is not distributed by \(registry) (a Windows base layer): such images are not supported"
        case .interrupted: "the pull of \(image) from \(registry) was interrupted; nothing of it was kept"
        default: "\(registry): \(image)"
        }
    }

    private static func times(_ count: Int) -> String { count == 1 ? "once" : "\(count) times" }

    private static func quoted(_ message: String) -> String { message.isEmpty ? "" : " (\"\(printable(message))\")" }

    /// What a registry says, made harmless for a terminal and short.
    static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars.prefix(300) {
            if scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) {
                result += " "
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// Where credentials came from, for messages.
public enum CredentialSource: Sendable, Equatable, CustomStringConvertible {
    case option
    case file(String)

    public var description: String {
        switch self {
        case .option: "--creds"
        case .file(let path): path
        }
    }
}
