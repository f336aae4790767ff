import Confinement

/// What a systemd service is confined by: the settings of systemd.exec(5) and systemd.resource-control(5) that the security
/// model of systemd 252 looks at, after drop-ins, resets and what settings imply of each other.
public struct UnitSettings: Sendable, Equatable {
    public enum ProtectHome: String, Sendable { case no, yes, readOnly = "read-only", tmpfs }
    public enum ProtectSystem: String, Sendable { case no, yes, full, strict }
    public enum ProtectProc: String, Sendable { case `default`, noaccess, invisible, ptraceable }
    public enum KeyringMode: String, Sendable { case inherit, `private`, shared }
    public enum DevicePolicy: String, Sendable { case auto, closed, strict }

    /// `name.service`, instance included.
    public let name: String
    /// Settings that are on or off, by name.
    public var flags: [String: Bool] = [:]
    public var user = ""
    public var supplementaryGroups: [String] = []
    public var boundingSet = UInt64.max
    public var ambientSet: UInt64 = 0
    public var protectHome = ProtectHome.no
    public var protectSystem = ProtectSystem.no
    public var protectProc = ProtectProc.default
    public var procSubsetIsPid = false
    public var keyringMode = KeyringMode.private
    public var notifyAccess = ""
    public var umask: UInt32 = 0o022
    public var rootDirectory = ""
    public var rootImage = ""
    public var delegates = false
    public var devicePolicy = DevicePolicy.auto
    public var devicesAllowed: [String] = []
    public var syscallArchitectures: Set<String> = []
    public var syscalls = SyscallList()
    public var families = FamilyList()
    /// Kinds that may be made; nil is all.
    public var namespacesAllowed: Set<String>?
    public var addressesAllowed: [AddressPrefix] = []
    public var addressesDenied: [AddressPrefix] = []
    public var customIPFilters: [String: Bool] = [:]
    /// Mounts of images and encrypted credentials open devices of their own.
    var usesImages = false
    var usesMountImages = false
    var usesEncryptedCredentials = false
    /// Host paths that are bound in, as written.
    public var bindPaths: [String] = []
    public var memoryMax = ""
    public var tasksMax = ""

    public func flag(_ name: String) -> Bool { flags[name] ?? Self.defaults[name] ?? false }

    private static let defaults = ["DefaultDependencies": true]

    /// Whether the program starts as root.
    public var runsPrivileged: Bool {
        if user == "0" || user == "root" { return true }
        return user.isEmpty && !flag("DynamicUser")
    }

    /// Reads a unit and its drop-ins, in the order in which they apply.
    public init(name: String, files: [UnitFile]) throws(ExposureError) { try self.init(name: name, assignments: files.flatMap(\.assignments)) }

    init(name: String, assignments: [UnitFile.Assignment]) throws(ExposureError) {
        self.name = name
        let groups = try SystemdSyscalls.current()
        for assignment in assignments {
            if assignment.section == "Unit", assignment.key == "DefaultDependencies" {
                if let value = Self.boolean(assignment.value) { flags["DefaultDependencies"] = value }
            }
            if assignment.section != "Service" { continue }
            try apply(assignment.key, assignment.value, groups)
        }
        imply()
    }

    /// What one setting does to others (systemd.exec(5): DynamicUser=, PrivateDevices=, ProtectClock= and so on).
    private mutating func imply() {
        if flag("DynamicUser") {
            for name in ["PrivateTmp", "RemoveIPC", "NoNewPrivileges", "RestrictSUIDSGID"] { flags[name] = true }
            protectSystem = .strict
            if protectHome == .no { protectHome = .readOnly }
        }
        drop("PrivateDevices", [.mknod, .sysRawio])
        drop("ProtectKernelModules", [.sysModule])
        drop("ProtectKernelLogs", [.syslog])
        drop("ProtectClock", [.sysTime, .wakeAlarm])
        if flag("PrivateDevices"), devicePolicy == .auto { devicePolicy = .closed }
        let hasList = devicePolicy != .auto || !devicesAllowed.isEmpty
        if usesImages || usesMountImages, hasList { devicesAllowed.append("/dev/loop-control:rw") }
        if usesEncryptedCredentials, hasList { devicesAllowed.append("/dev/tpmrm0:rw") }
        if flag("ProtectClock") { devicesAllowed.append("char-rtc:r") }
    }

    private mutating func drop(_ flagName: String, _ capabilities: [Capability]) {
        if flag(flagName) { boundingSet &= ~CapabilitySet(capabilities).rawValue }
    }

    /// As systemd reads Booleans; nil for what is none, which it then ignores.
    static func boolean(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "1", "yes", "y", "true", "t", "on": true
        case "0", "no", "n", "false", "f", "off": false
        default: nil
        }
    }
}
