/// One `--ulimit NAME=SOFT[:HARD]` (setrlimit(2)).
public struct ResourceLimit: Sendable, Equatable, Codable {
    /// Docker's name ("nofile").
    public let name: String
    public let soft: UInt64
    public let hard: UInt64

    /// The OCI name ("RLIMIT_NOFILE").
    public var ociType: String { "RLIMIT_" + name.uppercased() }

    /// "unlimited".
    public static let infinity = UInt64.max

    private static let names: Set<String> = [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
        "sigpending", "stack", "as",
    ]

    public init(name: String, soft: UInt64, hard: UInt64) {
        self.name = name
        self.soft = soft
        self.hard = hard
    }

    /// - Throws: `EngineError` that names the value.
    public init(parsing text: String) throws(EngineError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            throw EngineError("invalid ulimit argument: \(text)", remedy: "write NAME=SOFT[:HARD], for example nofile=1024:4096")
        }
        let name = String(parts[0])
        guard Self.names.contains(name) else { throw EngineError("invalid ulimit type: \(name)") }
        let values = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(values.count), let soft = Self.value(values[0]), let hard = Self.value(values[values.count - 1]) else {
            throw EngineError("invalid ulimit value: \(text)", remedy: "limits are numbers, or -1 for unlimited")
        }
        if soft > hard {
            throw EngineError("ulimit soft limit must be less than or equal to hard limit: \(text)")
        }
        self.init(name: name, soft: soft, hard: hard)
    }

    private static func value(_ text: Substring) -> UInt64? {
        text == "-1" || text == "unlimited" ? infinity : UInt64(text)
    }
}
