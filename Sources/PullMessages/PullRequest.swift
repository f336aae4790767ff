import OCISpec
import StrictJSON

/// What `coffer` asks of `coffer-registry`: one image, to be brought into a store.
///
/// It travels over a socket and not on a command line, which every user of the machine can read. What is looked up in the user's environment
/// (files of credentials and certificates, proxies) is not part of it: the program inherits the environment.
public struct PullRequest: Codable, Sendable, Equatable {
    /// The image's full name.
    public var image: String
    /// nil: what this machine is.
    public var platform: Platform?
    /// Absolute path of the image store.
    public var store: String
    /// For the registry of the image; nil looks into the user's files.
    public var credentials: PullCredentials?
    /// False accepts any certificate of the registry itself, and plain HTTP.
    public var verifiesTLS: Bool
    /// The directory of `--cert-dir`.
    public var certificateDirectory: String?

    public init(
        image: ImageReference, platform: Platform? = nil, store: String, credentials: PullCredentials? = nil, verifiesTLS: Bool = true,
        certificateDirectory: String? = nil
    ) {
        self.image = image.description
        self.platform = platform
        self.store = store
        self.credentials = credentials
        self.verifiesTLS = verifiesTLS
        self.certificateDirectory = certificateDirectory
    }

    /// The packet. Throws `PullMessageError.tooLong`.
    public func encoded() throws -> [UInt8] { try PullMessage.bounded(try StrictJSONEncoder().encode(self)) }

    /// Throws what the decoder throws: a request that is not whole is refused.
    public init(decoding bytes: [UInt8]) throws { self = try StrictJSONDecoder().decode(Self.self, from: bytes) }
}

/// A user name with its password, as `--creds` takes them.
public struct PullCredentials: Codable, Sendable, Equatable {
    public var user: String
    public var password: String

    /// Reads `USER:PASSWORD`; nil without a colon or a user.
    public init?(option: String) {
        guard let colon = option.firstIndex(of: ":"), colon > option.startIndex else { return nil }
        user = String(option[..<colon])
        password = String(option[option.index(after: colon)...])
    }
}

extension PullCredentials: CustomStringConvertible, CustomDebugStringConvertible {
    /// Never the secret: credentials end up in logs by being printed.
    public var description: String { "credentials from --creds" }
    public var debugDescription: String { description }
}
