import OCISpec
import PullMessages

/// A user name with its password, or a token that stands for both.
public struct RegistryCredentials: Sendable, Equatable {
    public enum Secret: Sendable, Equatable {
        case password(user: String, password: String)
        /// A refresh token of an OAuth2 token service (`identitytoken` of Docker's configuration).
        case identityToken(String)
    }

    public let secret: Secret
    public let source: CredentialSource

    public init(_ secret: Secret, source: CredentialSource) {
        self.secret = secret
        self.source = source
    }

    /// What `--creds` said.
    public init(_ option: PullCredentials) {
        self.init(.password(user: option.user, password: option.password), source: .option)
    }
}

extension RegistryCredentials: CustomStringConvertible, CustomDebugStringConvertible {
    /// Never the secret: credentials end up in logs by being printed.
    public var description: String { "credentials from \(source)" }
    public var debugDescription: String { description }
}

/// How registries are spoken to.
public struct RegistryOptions: Sendable {
    /// For the registry of the image; nil looks into the user's files.
    public var credentials: RegistryCredentials?
    /// False accepts any certificate of the registry itself, and plain HTTP. Other hosts (token services, storage) are
    /// verified all the same (CVE-2019-10214).
    public var verifiesTLS: Bool
    /// A directory with `*.crt` (CAs) and `NAME.cert` with `NAME.key` (client certificates), besides those of the machine.
    public var certificateDirectory: String?
    /// Where files of credentials and certificates and the proxy are looked up: HOME, REGISTRY_AUTH_FILE, DOCKER_CONFIG,
    /// XDG_RUNTIME_DIR, HTTPS_PROXY and so on.
    public var environment: [String: String]
    public var retries: RetryPolicy
    /// Layers that are downloaded at a time.
    public var parallelDownloads: Int
    /// Seconds without a byte after which a connection counts as lost.
    public var idleTimeout: Int

    public init(
        credentials: RegistryCredentials? = nil, verifiesTLS: Bool = true, certificateDirectory: String? = nil,
        environment: [String: String], retries: RetryPolicy = RetryPolicy(), parallelDownloads: Int = 3, idleTimeout: Int = 60
    ) {
        self.credentials = credentials
        self.verifiesTLS = verifiesTLS
        self.certificateDirectory = certificateDirectory
        self.environment = environment
        self.retries = retries
        self.parallelDownloads = parallelDownloads
        self.idleTimeout = idleTimeout
    }
}

/// How often and how long is waited for a registry that fails.
public struct RetryPolicy: Sendable {
    /// Attempts in a row without one new byte.
    public var attempts: Int
    /// Attempts at one blob, whatever progress they make: a connection that dies after every byte must end too.
    public var attemptsInAll: Int
    /// Milliseconds before the second attempt; doubled before each further one.
    public var firstDelay: Int
    /// Milliseconds; a registry that asks for a longer wait (Retry-After) is not waited for.
    public var longestDelay: Int

    public init(attempts: Int = 5, attemptsInAll: Int = 20, firstDelay: Int = 500, longestDelay: Int = 60_000) {
        self.attempts = attempts
        self.attemptsInAll = attemptsInAll
        self.firstDelay = firstDelay
        self.longestDelay = longestDelay
    }

    /// Milliseconds to wait after so many failures, or nil to give up.
    ///
    /// - Parameter retryAfter: seconds that the registry asked for.
    func delay(afterFailures failures: Int, retryAfter: Int?) -> Int? {
        guard failures < attempts else { return nil }
        if let retryAfter {
            return retryAfter <= longestDelay / 1000 ? max(retryAfter * 1000, 0) : nil
        }
        let delay = min(firstDelay << min(failures - 1, 16), longestDelay)
        // Clients that failed together must not come back together.
        return delay - Int.random(in: 0...max(1, delay / 4))
    }
}
