/// `--security-opt`, all of them together. nil is "the level decides".
public struct SecurityOptions: Sendable, Equatable {
    public enum Seccomp: Sendable, Equatable {
        case level
        case unconfined
        /// A profile in Docker's format.
        case profile([UInt8], source: String)
    }

    public var noNewPrivileges: Bool?
    public var seccomp = Seccomp.level
    /// A profile's name or "unconfined".
    public var appArmor: String?
    /// `label=`: "disable", or "user:U", "role:R", "type:T", "level:L".
    public var labels: [String] = []
    /// `systempaths=unconfined`: neither masks nor read-only paths.
    public var systemPathsUnconfined = false
    public var masked: [String] = []
    public var unmasked: [String] = []
    public var landlock: Bool?

    public init() {}

    /// Adds one option as the user typed it. `read` gets the bytes of a profile file.
    public mutating func add(_ option: String, read: (String) throws -> [UInt8]) throws {
        let separator = option.firstIndex { $0 == "=" || $0 == ":" } ?? option.endIndex
        let key = String(option[..<separator])
        let value = separator == option.endIndex ? "" : String(option[option.index(after: separator)...])
        switch key {
        case "no-new-privileges": noNewPrivileges = try Self.truth(value, of: option, bare: true)
        case "landlock": landlock = try Self.truth(value, of: option, bare: nil)
        case "seccomp":
            switch value {
            case "": throw ConfinementError("--security-opt seccomp= needs a file, or “unconfined”")
            case "unconfined": seccomp = .unconfined
            case "builtin": seccomp = .level
            default: seccomp = .profile(try read(value), source: value)
            }
        case "apparmor":
            if value.isEmpty { throw ConfinementError("--security-opt apparmor= needs a profile, or “unconfined”") }
            appArmor = value
        case "label": labels.append(try Self.label(value))
        case "systempaths":
            if value != "unconfined" { throw ConfinementError("--security-opt systempaths= can only be “unconfined”, not “\(value)”") }
            systemPathsUnconfined = true
        case "mask": masked += try Self.paths(value, of: option)
        case "unmask":
            if value.lowercased() == "all" { systemPathsUnconfined = true } else { unmasked += try Self.paths(value, of: option) }
        default:
            throw ConfinementError(
                "--security-opt \(option) is not known; there are no-new-privileges, seccomp, apparmor, label, systempaths, "
                    + "mask, unmask and landlock")
        }
    }

    private static func truth(_ value: String, of option: String, bare: Bool?) throws(ConfinementError) -> Bool {
        switch value {
        case "": if let bare { return bare }
        case "true", "on": return true
        case "false", "off": return false
        default: break
        }
        throw ConfinementError("--security-opt \(option): the value is “true” or “false”")
    }

    private static func label(_ value: String) throws(ConfinementError) -> String {
        if value == "disable" { return value }
        let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, ["user", "role", "type", "level"].contains(parts[0]), !parts[1].isEmpty else {
            throw ConfinementError("--security-opt label=\(value): there are disable, user:U, role:R, type:T and level:L")
        }
        return value
    }

    private static func paths(_ value: String, of option: String) throws(ConfinementError) -> [String] {
        let paths = value.split(separator: ":").map(String.init)
        guard !paths.isEmpty, paths.allSatisfy({ $0.hasPrefix("/") }) else {
            throw ConfinementError("--security-opt \(option) needs absolute paths, separated by “:”")
        }
        return paths
    }
}
