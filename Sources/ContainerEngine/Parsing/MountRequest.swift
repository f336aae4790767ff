/// One mount that the user asked for with `-v`, `--mount` or `--tmpfs`.
public struct MountRequest: Sendable, Equatable, Codable {
    public enum Source: Sendable, Equatable, Codable {
        /// A host file or directory, absolute.
        case bind(String)
        /// A named volume of the engine; nil asks for an anonymous one.
        case volume(String?)
        /// A temporary file system; bytes, or nil for the level's default; octal mode.
        case tmpfs(size: Int64?, mode: UInt32?)
    }

    public var source: Source
    /// Absolute path inside the container.
    public var destination: String
    public var readOnly: Bool
    /// "rprivate", "rslave", "rshared", …
    public var propagation: String
    /// `:U`: give the source to the container's IDs.
    public var changeOwner: Bool
    /// `:idmap`: shift the source's owners by an idmapped mount, leaving the files as they are.
    public var idMapped: Bool
    /// `:z`/`:Z` (SELinux relabelling), kept for `inspect`.
    public var relabel: String?
    /// `:nocopy`: a new volume stays empty.
    public var noCopy: Bool
    /// `-v` creates a missing host directory, `--mount` refuses.
    public var createSource: Bool
    /// Further mount options as the user wrote them ("noexec").
    public var options: [String]

    public init(
        source: Source, destination: String, readOnly: Bool = false, propagation: String = "rprivate", changeOwner: Bool = false,
        idMapped: Bool = false, relabel: String? = nil, noCopy: Bool = false, createSource: Bool = false, options: [String] = []
    ) {
        self.source = source
        self.destination = destination
        self.readOnly = readOnly
        self.propagation = propagation
        self.changeOwner = changeOwner
        self.idMapped = idMapped
        self.relabel = relabel
        self.noCopy = noCopy
        self.createSource = createSource
        self.options = options
    }

    /// Docker's type word: "bind", "volume", "tmpfs".
    public var type: String {
        switch source {
        case .bind: "bind"
        case .volume: "volume"
        case .tmpfs: "tmpfs"
        }
    }

    private static let flagOptions: Set<String> = ["exec", "noexec", "suid", "nosuid", "dev", "nodev"]
    private static let propagations: Set<String> = ["private", "rprivate", "shared", "rshared", "slave", "rslave"]

    /// Takes over one option word of `-v` or `--tmpfs`.
    fileprivate mutating func apply(option: String, of text: String) throws(EngineError) {
        switch option {
        case "ro", "readonly": readOnly = true
        case "rw", "cached", "delegated", "consistent", "copy", "rbind", "bind": break
        case "U": changeOwner = true
        case "idmap": idMapped = true
        case "z", "Z": relabel = option
        case "nocopy": noCopy = true
        case _ where Self.propagations.contains(option): propagation = option
        case _ where Self.flagOptions.contains(option): options.append(option)
        default: throw EngineError("invalid mode: \(option) in '\(text)'", remedy: "see 'coffer run --help' for the options of -v")
        }
    }

    /// A destination without `.`, `..` and double slashes.
    fileprivate static func destination(_ text: Substring, of value: String) throws(EngineError) -> String {
        guard text.first == "/" else {
            throw EngineError("invalid mount path: '\(text)' in '\(value)'", remedy: "the path in the container must be absolute")
        }
        let path = normalised(text)
        if path == "/" { throw EngineError("invalid specification: destination can't be '/' in '\(value)'") }
        return path
    }
}

/// The same path without `.`, `..`, double and trailing slashes; absolute.
func normalised(_ path: some StringProtocol) -> String {
    var parts: [Substring] = []
    for part in path.split(separator: "/") {
        switch part {
        case ".": continue
        case "..": parts = parts.dropLast()
        default: parts.append(Substring(part))
        }
    }
    return "/" + parts.joined(separator: "/")
}

extension MountRequest {
    /// Parses `-v [SOURCE:]DESTINATION[:OPTIONS]`.
    ///
    /// - Parameter directory: the working directory, for a source that begins with `.`.
    /// - Throws: `EngineError` that names the value.
    public static func parse(volume text: String, relativeTo directory: String) throws(EngineError) -> MountRequest {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...3).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw EngineError("invalid volume specification: '\(text)'", remedy: "write SOURCE:DESTINATION[:OPTIONS]")
        }
        if parts.count == 1 {
            return MountRequest(source: .volume(nil), destination: try destination(parts[0], of: text))
        }
        var mount = MountRequest(
            source: try volumeSource(parts[0], relativeTo: directory), destination: try destination(parts[1], of: text),
            createSource: true)
        if parts.count == 3 {
            for option in parts[2].split(separator: ",") { try mount.apply(option: String(option), of: text) }
        }
        return mount
    }

    private static func volumeSource(_ text: Substring, relativeTo directory: String) throws(EngineError) -> Source {
        if text.first == "/" { return .bind(normalised(text)) }
        if text.first == "." { return .bind(normalised(directory + "/" + text)) }
        return .volume(try VolumeName.validated(String(text)))
    }

    /// Parses `--tmpfs DESTINATION[:OPTIONS]`.
    ///
    /// - Throws: `EngineError` that names the value.
    public static func parse(tmpfs text: String) throws(EngineError) -> MountRequest {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard let path = parts.first else { throw EngineError("invalid tmpfs: '\(text)'") }
        var size: Int64?
        var mode: UInt32?
        var mount = MountRequest(source: .tmpfs(size: nil, mode: nil), destination: try destination(path, of: text))
        for option in (parts.count == 2 ? parts[1] : "").split(separator: ",") {
            let pair = option.split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0] == "size" {
                size = try ByteSize(parsing: String(pair[1])).bytes
            } else if pair.count == 2, pair[0] == "mode" {
                mode = try octal(pair[1], of: text)
            } else {
                try mount.apply(option: String(option), of: text)
            }
        }
        mount.source = .tmpfs(size: size, mode: mode)
        return mount
    }

    fileprivate static func octal(_ text: Substring, of value: String) throws(EngineError) -> UInt32 {
        guard let mode = UInt32(text, radix: 8), mode <= 0o7777 else {
            throw EngineError("invalid mode: \(text) in '\(value)'", remedy: "write an octal number, for example 1777")
        }
        return mode
    }
}

/// Parses `--mount type=…,source=…,destination=…`.
public struct MountFlag {
    private let text: String
    private var type = "volume"
    private var source: String?
    private var destination: String?
    private var size: Int64?
    private var mode: UInt32?
    private var mount = MountRequest(source: .volume(nil), destination: "/")

    /// - Parameter directory: the working directory, for a relative bind source.
    /// - Throws: `EngineError` that names the value.
    public static func parse(_ text: String, relativeTo directory: String) throws(EngineError) -> MountRequest {
        var flag = MountFlag(text)
        for field in text.split(separator: ",") {
            let pair = field.split(separator: "=", maxSplits: 1).map(String.init)
            try flag.take(key: pair[0].lowercased(), value: pair.count == 2 ? pair[1] : nil)
        }
        return try flag.finished(directory)
    }

    private init(_ text: String) { self.text = text }

    private mutating func take(key: String, value: String?) throws(EngineError) {
        switch (key, value) {
        case ("type", let value?): type = value.lowercased()
        case ("source", let value?), ("src", let value?): source = value
        case ("destination", let value?), ("dst", let value?), ("target", let value?): destination = value
        case ("readonly", _), ("ro", _): mount.readOnly = try boolean(value)
        case ("rw", _): mount.readOnly = try !boolean(value)
        case ("bind-propagation", let value?): try mount.apply(option: value, of: text)
        case ("volume-nocopy", _): mount.noCopy = try boolean(value)
        case ("u", _), ("chown", _): mount.changeOwner = try boolean(value)
        case ("idmap", _): mount.idMapped = try boolean(value)
        case ("relabel", let value?): mount.relabel = value == "private" ? "Z" : "z"
        case ("tmpfs-size", let value?), ("tmpfs-mode", let value?): try takeTmpfs(key, value)
        case ("consistency", _): break
        default: throw EngineError("invalid field '\(key)' in --mount '\(text)'", remedy: "see 'coffer run --help'")
        }
    }

    private mutating func takeTmpfs(_ key: String, _ value: String) throws(EngineError) {
        if key == "tmpfs-size" {
            size = try ByteSize(parsing: value).bytes
        } else {
            mode = try MountRequest.octal(value[...], of: text)
        }
    }

    private func boolean(_ value: String?) throws(EngineError) -> Bool {
        switch value {
        case nil, "true", "1": true
        case "false", "0": false
        default: throw EngineError("invalid boolean '\(value ?? "")' in --mount '\(text)'")
        }
    }

    private mutating func finished(_ directory: String) throws(EngineError) -> MountRequest {
        guard let destination else { throw EngineError("invalid --mount '\(text)': target is required") }
        mount.destination = try MountRequest.destination(destination[...], of: text)
        switch type {
        case "bind":
            guard let source else { throw EngineError("invalid --mount '\(text)': type=bind needs a source") }
            mount.source = .bind(normalised(source.hasPrefix("/") ? source : directory + "/" + source))
        case "volume":
            mount.source = .volume(try source.map(VolumeName.validated))
        case "tmpfs":
            if source != nil { throw EngineError("invalid --mount '\(text)': type=tmpfs takes no source") }
            mount.source = .tmpfs(size: size, mode: mode)
        default: throw EngineError("invalid mount type '\(type)'", remedy: "use bind, volume or tmpfs")
        }
        return mount
    }
}

/// Names of volumes: what may become a directory name below the state root.
public enum VolumeName {
    /// - Throws: `EngineError` for a name that is not `[a-zA-Z0-9][a-zA-Z0-9_.-]*` or is longer than 128 bytes.
    public static func validated(_ name: String) throws(EngineError) -> String {
        guard ContainerName.isValid(name), name.utf8.count <= 128 else {
            throw EngineError(
                "\"\(name)\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed",
                remedy: "to mount a host directory use an absolute path")
        }
        return name
    }
}
