import FoundationEssentials
import StrictJSON

/// The files in which Docker, Podman and their kin keep credentials.
struct CredentialFiles: Sendable {
    private let paths: [String]
    private static let largestFile = 1 << 20

    /// - Parameter environment: REGISTRY_AUTH_FILE alone when it is set; else containers/auth.json and Docker's config.json.
    init(environment: [String: String]) {
        if let path = environment["REGISTRY_AUTH_FILE"], !path.isEmpty {
            paths = [path]
            return
        }
        let home = environment["HOME"] ?? ""
        var candidates: [String] = []
        if let runtime = environment["XDG_RUNTIME_DIR"], !runtime.isEmpty { candidates.append("\(runtime)/containers/auth.json") }
        if !home.isEmpty {
            let configuration = environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? "\(home)/.config"
            candidates.append("\(configuration)/containers/auth.json")
        }
        if let directory = environment["DOCKER_CONFIG"], !directory.isEmpty {
            candidates.append("\(directory)/config.json")
        } else if !home.isEmpty {
            candidates.append("\(home)/.docker/config.json")
        }
        paths = candidates
    }

    /// The credentials for a repository, from the first file that has some; nil for none.
    ///
    /// - Throws: `RegistryError.Kind` in a `CredentialFailure`: a file that is damaged, or credentials kept by a helper program.
    func credentials(registry: String, repository: String) throws(CredentialFailure) -> RegistryCredentials? {
        for path in paths {
            let bytes: [UInt8]
            do {
                let data = try Data(contentsOf: URL(filePath: path))
                guard data.count <= Self.largestFile else {
                    throw CredentialFailure(.badCredentials(file: path, reason: "the file is longer than 1 MiB"))
                }
                bytes = [UInt8](data)
            } catch let failure as CredentialFailure {
                throw failure
            } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
                continue
            } catch {
                throw CredentialFailure(.badCredentials(file: path, reason: "it cannot be read"))
            }
            if let found = try Self.find(in: bytes, path: path, registry: registry, repository: repository) { return found }
        }
        return nil
    }

    private static func find(
        in bytes: [UInt8], path: String, registry: String, repository: String
    ) throws(CredentialFailure) -> RegistryCredentials? {
        let document: JSONValue
        do {
            document = try JSONParser().parse(bytes)
        } catch {
            throw CredentialFailure(.badCredentials(file: path, reason: error.description))
        }
        if let helper = document["credHelpers"]?[registry]?.string {
            throw CredentialFailure(.credentialHelper(name: helper, file: path))
        }
        guard let entries = document["auths"]?.object else { return nil }
        for key in keys(registry: registry, repository: repository) {
            guard let entry = entries[key] else { continue }
            if let found = try credentials(of: entry, path: path) { return found }
            // An entry without a secret says that the store of credentials has one.
            if let store = document["credsStore"]?.string {
                throw CredentialFailure(.credentialHelper(name: store, file: path))
            }
        }
        return nil
    }

    /// The keys an entry may have, the most specific first: a namespace of the registry, its host, Docker's older forms.
    private static func keys(registry: String, repository: String) -> [String] {
        var keys: [String] = []
        var path = Substring("\(registry)/\(repository)")
        while let slash = path.lastIndex(of: "/") {
            keys.append(String(path))
            path = path[..<slash]
        }
        let hosts = registry == "docker.io" ? ["docker.io", "index.docker.io", "registry-1.docker.io"] : [registry]
        for host in hosts {
            for scheme in ["", "https://", "http://"] {
                for suffix in ["", "/", "/v1/", "/v2/", "/v1", "/v2"] { keys.append(scheme + host + suffix) }
            }
        }
        return keys
    }

    private static func credentials(
        of entry: JSONValue, path: String
    ) throws(CredentialFailure) -> RegistryCredentials? {
        if let token = entry["identitytoken"]?.string, !token.isEmpty {
            return RegistryCredentials(.identityToken(token), source: .file(path))
        }
        if let text = entry["auth"]?.string, !text.isEmpty {
            // Docker pads old entries with zero bytes.
            guard let data = Data(base64Encoded: text), let colon = data.firstIndex(of: UInt8(ascii: ":")) else {
                throw CredentialFailure(.badCredentials(file: path, reason: "its \"auth\" is not USER:PASSWORD in Base64"))
            }
            let password = data[data.index(after: colon)...].filter { $0 != 0 }
            return RegistryCredentials(
                .password(user: String(decoding: data[..<colon], as: UTF8.self), password: String(decoding: password, as: UTF8.self)),
                source: .file(path))
        }
        if let user = entry["username"]?.string, let password = entry["password"]?.string, !user.isEmpty {
            return RegistryCredentials(.password(user: user, password: password), source: .file(path))
        }
        return nil
    }
}

/// A failure that does not know its image yet.
struct CredentialFailure: Error {
    let kind: RegistryError.Kind
    init(_ kind: RegistryError.Kind) { self.kind = kind }
}
