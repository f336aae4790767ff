import Confinement
import TextSearch

/// Reads a Dockerfile: what `docker run` of its image will be, when nobody adds a flag.
public struct DockerfileReader: Sendable {
    private var defaults: EngineDefaults

    public init() throws(ExposureError) { defaults = try EngineDefaults() }

    /// Bytes of the longest file that is read.
    public static let maximumSize = 1 << 20

    public mutating func subject(_ bytes: [UInt8], name: String) throws(ExposureError) -> Subject {
        guard bytes.count <= Self.maximumSize, !bytes.contains(0) else { throw ExposureError("\(name) is no Dockerfile") }
        var base = ""
        // A later stage may start from an earlier one, and then has its user.
        var users: [String: String] = [:]
        var stage = ""
        var user = ""
        var volumes: [String] = []
        for words in Self.instructions(String(decoding: bytes, as: UTF8.self)) {
            switch words[0].uppercased() {
            case "FROM":
                let arguments = words.dropFirst().filter { !$0.hasPrefix("--") }
                base = arguments.first ?? ""
                user = users[base.lowercased()] ?? ""
                volumes = []
                stage =
                    arguments.count >= 3 && arguments[arguments.startIndex + 1].uppercased() == "AS"
                    ? arguments[arguments.startIndex + 2].lowercased() : ""
            case "USER" where words.count > 1: user = words[1]
            case "VOLUME": volumes += words.dropFirst().map { String($0.filter { !"[]\",".contains($0) }) }
            default: break
            }
            if !stage.isEmpty { users[stage] = user }
        }
        guard !base.isEmpty else { throw ExposureError("\(name) is no Dockerfile: it has no FROM") }
        var declaration = ContainerDeclaration(name: name, source: .dockerfile, engine: .docker)
        declaration.user = user.contains("$") ? "" : user
        declaration.provenance = base.contains("@sha256:") ? .pinnedDigest : .local
        declaration.unknown[.lsm] = "the file does not say whether the host has a security module"
        if user.contains("$") { declaration.unknown[.user] = "USER \(user) is known only when it is built" }
        if user.isEmpty, base.lowercased() != "scratch" { declaration.unknown[.user] = "no USER: the base image \(base) decides" }
        declaration.mounts = volumes.map { Mount(destination: $0, type: "volume", source: "", options: ["rw"]) }
        return try declaration.subject(&defaults)
    }

    /// Words of each instruction; joined lines are joined, comments gone.
    private static func instructions(_ text: String) -> [[String]] {
        var result: [[String]] = []
        var joined = ""
        for raw in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let line = trimmed(raw)
            if line.hasPrefix("#") { continue }
            if line.hasSuffix("\\") {
                joined += line.dropLast() + " "
                continue
            }
            let words = (joined + line).split(whereSeparator: \.isWhitespace).map(String.init)
            joined = ""
            if !words.isEmpty { result.append(words) }
        }
        return result
    }
}
