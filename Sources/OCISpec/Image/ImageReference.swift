/// The full name of an image: registry, repository, and a tag or a digest or both.
///
/// The grammar is the distribution specification's, with Docker's completion of short names: `nginx` is
/// `docker.io/library/nginx:latest`.
public struct ImageReference: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Host and optional port: "docker.io", "localhost:5000", "[::1]:5000".
    public let registry: String
    /// Path in the registry: "library/nginx".
    public let repository: String
    public let tag: String?
    public let digest: Digest?

    public init(registry: String, repository: String, tag: String?, digest: Digest? = nil) {
        self.registry = registry
        self.repository = repository
        self.tag = tag
        self.digest = digest
    }

    /// Parses a name as a user writes it.
    ///
    /// - Throws: `ImageReferenceError`, in Docker's words.
    public init(parsing text: String) throws(ImageReferenceError) {
        guard !text.isEmpty else { throw .init(text: text, reason: "the name is empty") }
        guard text.utf8.count <= 1024 else { throw .init(text: text, reason: "the name is longer than 1024 bytes") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw .init(text: text, reason: "the name has spaces or characters that are not ASCII")
        }
        // Such a name would be mistaken for an image's ID.
        guard text.utf8.count != 64 || !text.utf8.allSatisfy(Self.isHexadecimal) else {
            throw .init(text: text, reason: "repository name (\(text)) cannot be 64 hexadecimal digits, which are an ID")
        }
        var rest = Substring(text)
        var digest: Digest?
        if let at = rest.firstIndex(of: "@") {
            digest = Digest(String(rest[rest.index(after: at)...]))
            guard digest != nil else {
                throw .init(text: text, reason: "what follows the @ in \(text) is not a sha256 or sha512 digest")
            }
            rest = rest[..<at]
        }
        var tag: String?
        // A colon after the last slash starts a tag; one before it is a registry's port.
        let path = rest.lastIndex(of: "/").map { rest[$0...] } ?? rest
        if let colon = path.lastIndex(of: ":") {
            let value = String(rest[rest.index(after: colon)...])
            guard Self.isTag(value) else {
                throw .init(text: text, reason: "the tag (\(value)) is not 1 to 128 letters, digits, dots, dashes and underscores")
            }
            tag = value
            rest = rest[..<colon]
        }
        (registry, repository) = try Self.split(String(rest), whole: text)
        self.tag = tag ?? (digest == nil ? "latest" : nil)
        self.digest = digest
    }

    private static func split(_ name: String, whole text: String) throws(ImageReferenceError) -> (String, String) {
        var registry = "docker.io"
        var repository = name
        if let slash = name.firstIndex(of: "/") {
            let first = String(name[..<slash])
            if first.contains(".") || first.contains(":") || first == "localhost" || first != first.lowercased() {
                guard isRegistry(first) else { throw .init(text: text, reason: "\(first) is not a registry's host name") }
                registry = first == "index.docker.io" ? "docker.io" : first
                repository = String(name[name.index(after: slash)...])
            }
        }
        if registry == "docker.io" && !repository.contains("/") { repository = "library/" + repository }
        guard isRepository(repository.lowercased()) else {
            let reason =
                repository.utf8.count > 255 ? "is longer than 255 bytes" : "is not lower-case letters and digits joined by . _ - and /"
            throw .init(text: text, reason: "repository name (\(repository.prefix(256))) \(reason)")
        }
        guard isRepository(repository) else {
            throw .init(text: text, reason: "repository name (\(repository)) must be lowercase")
        }
        return (registry, repository)
    }

    /// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
    public static func isTag(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 128, first != 0x2d, first != 0x2e else { return false }
        return text.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x5f || $0 == 0x2e || $0 == 0x2d }
    }

    /// Components of `[a-z0-9]+` joined by `.`, `_`, `__` or dashes, themselves joined by slashes; at most 255 bytes.
    static func isRepository(_ text: String) -> Bool {
        guard text.utf8.count <= 255 else { return false }
        return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { component in
            var separator: [UInt8] = []
            guard let first = component.utf8.first, isLowerAlphanumeric(first) else { return false }
            for byte in component.utf8 {
                if isLowerAlphanumeric(byte) {
                    guard isSeparator(separator) else { return false }
                    separator = []
                } else {
                    separator.append(byte)
                }
            }
            return separator.isEmpty
        }
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes.isEmpty || bytes == [0x2e] || bytes == [0x5f] || bytes == [0x5f, 0x5f] || bytes.allSatisfy { $0 == 0x2d }
    }

    private static func isRegistry(_ text: String) -> Bool {
        var host = Substring(text)
        if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
            let port = host[host.index(after: colon)...]
            guard !port.isEmpty, port.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), UInt16(port) != nil else { return false }
            host = host[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let address = host.dropFirst().dropLast()
            return !address.isEmpty && address.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x3a }
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2d }
        }
    }

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39)
    }
    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (byte >= 0x61 && byte <= 0x66) || (byte >= 0x30 && byte <= 0x39)
    }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool { isLowerAlphanumeric(byte) || (byte >= 0x41 && byte <= 0x5a) }

    /// Registry and repository, without tag and digest.
    public var name: String { "\(registry)/\(repository)" }

    /// As short as it can be written: "nginx", "user/app", "quay.io/x/y"; without tag and digest.
    public var familiarName: String {
        guard registry == "docker.io" else { return name }
        return repository.hasPrefix("library/") && !repository.dropFirst(8).contains("/")
            ? String(repository.dropFirst(8)) : repository
    }

    /// As users write it: "nginx:1.25", "quay.io/x/y@sha256:…"; with the tag and the digest.
    public var familiar: String {
        familiarName + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    public var description: String {
        name + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    public static func < (left: ImageReference, right: ImageReference) -> Bool { left.description < right.description }
}

/// A text that is no image name.
public struct ImageReferenceError: Error, Sendable, Equatable, CustomStringConvertible {
    public let text: String
    public let reason: String

    public init(text: String, reason: String) {
        self.text = text
        self.reason = reason
    }

    public var description: String { "invalid reference format: \(reason)" }
}
