import StrictJSON

/// The names of `--level`.
public enum LevelName: String, Codable, Sendable, CaseIterable {
    /// The default: runs the popular images unchanged.
    case standard
    /// For code that nobody vouches for.
    case strict
    /// Docker's own capabilities, filter and masks, to compare with and to migrate from.
    case compat
}

/// A level of confinement as data (`Levels/NAME.json`).
public struct Level: Decodable, Sendable {
    public struct TemporaryFileSystem: Decodable, Sendable, Equatable {
        public let path: String
        public let bytes: UInt64
        /// Octal digits.
        public let mode: String
    }

    public struct OpenFiles: Decodable, Sendable, Equatable {
        public let soft: UInt64
        public let hard: UInt64
    }

    public struct Logs: Decodable, Sendable, Equatable {
        public let maxBytes: Int
        public let maxFiles: Int
    }

    public struct Landlock: Decodable, Sendable, Equatable {
        public let enabled: Bool
        /// With a read-only root: whether /proc may be written where its own permissions let (oom_score_adj).
        public let procWritable: Bool
        /// Forbids TCP but for the published ports.
        public let namedPortsOnly: Bool
    }

    public enum Network: String, Decodable, Sendable { case none, outbound }
    /// What may be run: anything whose digest was recorded, or only what is pinned, signed or made here.
    public enum Images: String, Decodable, Sendable { case recorded, trusted }

    public let name: LevelName
    public let summary: String
    public let capabilities: CapabilitySet
    public let noNewPrivileges: Bool
    public let lockedMounts: Bool
    public let readOnlyRoot: Bool
    public let temporaryFileSystems: [TemporaryFileSystem]
    public let sharedMemoryBytes: UInt64
    /// Absent is no limit.
    public let pidsLimit: UInt64?
    /// Of the machine's memory; absent is no limit.
    public let memoryPercent: UInt64?
    /// Bytes of swap beside the memory; absent is no limit.
    public let swapBytes: UInt64?
    public let openFiles: OpenFiles
    /// As cgroup v2 counts; 100 is usual.
    public let cpuWeight: UInt64
    public let logs: Logs
    public let network: Network
    public let landlock: Landlock
    public let images: Images
    public let sysctls: [String: String]
    /// "cpu*" stands for every possible CPU.
    public let maskedPaths: [String]
    public let readonlyPaths: [String]

    /// The built-in level of this name.
    public static func builtIn(_ name: LevelName) throws(ConfinementError) -> Level {
        switch name {
        case .standard: try decode(PackageResources.standard_json, "standard")
        case .strict: try decode(PackageResources.strict_json, "strict")
        case .compat: try decode(PackageResources.compat_json, "compat")
        }
    }

    static func syscalls(_ name: LevelName) throws(ConfinementError) -> SyscallLevel {
        switch name {
        case .standard: try decode(PackageResources.syscalls_standard_json, "syscalls-standard")
        case .strict: try decode(PackageResources.syscalls_strict_json, "syscalls-strict")
        case .compat: try decode(PackageResources.syscalls_compat_json, "syscalls-compat")
        }
    }

    static func decode<T: Decodable>(_ bytes: [UInt8], _ file: String) throws(ConfinementError) -> T {
        do {
            return try StrictJSONDecoder.rejectUnknownKeys.decode(T.self, from: bytes)
        } catch {
            throw ConfinementError("the built-in \(file).json cannot be read: \(error)")
        }
    }
}
