import FoundationEssentials

/// Scheme, host and port of an address: the unit to which credentials belong (RFC 6454).
struct RegistryOrigin: Sendable, Hashable, CustomStringConvertible {
    let scheme: String
    /// Lower case; an IPv6 address without brackets.
    let host: String
    let port: Int

    init(scheme: String, host: String, port: Int) {
        self.scheme = scheme
        self.host = host
        self.port = port
    }

    /// The origin of an http or https address, or nil for another one.
    init?(_ url: URL) {
        guard let scheme = url.scheme?.lowercased(), scheme == "http" || scheme == "https",
            let host = url.host()?.lowercased(), !host.isEmpty
        else { return nil }
        self.init(
            scheme: scheme, host: host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host,
            port: url.port ?? (scheme == "https" ? 443 : 80))
    }

    /// The origin of a registry as an image's name has it, "quay.io" or "localhost:5000".
    ///
    /// Docker Hub's names say docker.io, and its registry is another host.
    init?(registry: String, scheme: String) {
        let name = registry == "docker.io" ? "registry-1.docker.io" : registry
        guard let url = URL(string: "\(scheme)://\(name)/") else { return nil }
        self.init(url)
    }

    var isEncrypted: Bool { scheme == "https" }

    /// Whether the host can only be this machine: then nobody is on the way.
    var isLoopback: Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// The host as certificate directories and addresses write it.
    var authority: String {
        let shown = host.contains(":") ? "[\(host)]" : host
        return port == (isEncrypted ? 443 : 80) ? shown : "\(shown):\(port)"
    }

    var description: String { "\(scheme)://\(authority)" }

    /// The address of a path that is already encoded and starts with a slash.
    func url(_ path: String) -> URL? { URL(string: description + path) }
}
