import AsyncHTTPClient
import Glibc
import NIOSSL

/// Which certificates are trusted for a host: the machine's CAs, and those in directories named after the host.
struct TrustedCertificates: Sendable {
    /// The directory of `--cert-dir`.
    let directory: String?
    /// Directories with one directory per registry: Docker's, Podman's, and the user's.
    let perHost: [String]

    init(directory: String?, environment: [String: String]) {
        self.directory = directory
        var places = ["/etc/docker/certs.d", "/etc/containers/certs.d"]
        if let home = environment["HOME"], !home.isEmpty {
            places.append((environment["XDG_CONFIG_HOME"] ?? "\(home)/.config") + "/containers/certs.d")
        }
        perHost = places
    }

    /// How TLS is spoken with a host.
    ///
    /// - Parameters:
    ///   - presentsClientCertificate: Only the registry itself learns who the user is.
    ///   - verifies: False accepts every certificate.
    func configuration(
        for origin: RegistryOrigin, verifies: Bool, presentsClientCertificate: Bool
    ) throws(CredentialFailure) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        if !verifies { configuration.certificateVerification = .none }
        var roots: [NIOSSLCertificate] = []
        for directory in directories(for: origin) {
            let files = try contents(of: directory)
            for file in files where file.hasSuffix(".crt") {
                roots += try load("\(directory)/\(file)") { try NIOSSLCertificate.fromPEMFile($0) }
            }
            guard presentsClientCertificate, configuration.certificateChain.isEmpty,
                let certificate = files.first(where: { $0.hasSuffix(".cert") })
            else { continue }
            let key = certificate.dropLast(5) + ".key"
            configuration.certificateChain = try load("\(directory)/\(certificate)") {
                try NIOSSLCertificate.fromPEMFile($0).map { .certificate($0) }
            }
            configuration.privateKey = .privateKey(
                try load("\(directory)/\(key)") { try NIOSSLPrivateKey(file: $0, format: .pem) })
        }
        if !roots.isEmpty { configuration.additionalTrustRoots = [.certificates(roots)] }
        return configuration
    }

    private func directories(for origin: RegistryOrigin) -> [String] {
        var names = [origin.authority, "\(origin.host):\(origin.port)"]
        // Docker keeps the certificates of Docker Hub under its old name.
        if origin.host == "registry-1.docker.io" { names.append("docker.io") }
        let candidates = perHost.flatMap { place in Set(names).sorted().map { name in "\(place)/\(name)" } }
        var found = candidates.filter { path in access(path, F_OK) == 0 }
        if let directory { found.append(directory) }
        return found
    }

    private func contents(of directory: String) throws(CredentialFailure) -> [String] {
        guard let stream = opendir(directory) else {
            let reason = String(cString: strerror(errno))
            throw CredentialFailure(.badCertificateDirectory(path: directory, reason: reason))
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            )
        }
        return names.sorted()
    }

    private func load<Value>(_ path: String, _ body: (String) throws -> Value) throws(CredentialFailure) -> Value {
        do {
            return try body(path)
        } catch {
            throw CredentialFailure(.badCertificateDirectory(path: path, reason: "it is no readable PEM file (\(error))"))
        }
    }
}
