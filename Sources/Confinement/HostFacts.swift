import OCISpec

/// Processor architectures that Coffer runs on.
public enum Architecture: String, Codable, Sendable, CaseIterable {
    case x86_64
    case aarch64

    /// libseccomp's name.
    public var seccompName: String {
        switch self {
        case .x86_64: "SCMP_ARCH_X86_64"
        case .aarch64: "SCMP_ARCH_AARCH64"
        }
    }

    /// The native one and those whose programs its kernel runs as well.
    var withForeign: [String] {
        switch self {
        case .x86_64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        case .aarch64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
        }
    }

    /// As Docker's profiles call it (Go's GOARCH).
    var goName: String {
        switch self {
        case .x86_64: "amd64"
        case .aarch64: "arm64"
        }
    }

    #if arch(arm64)
        public static let current = Architecture.aarch64
    #else
        public static let current = Architecture.x86_64
    #endif
}

/// A kernel version, as far as profiles ask for it.
public struct KernelVersion: Codable, Sendable, Comparable, CustomStringConvertible {
    public var major: Int
    public var minor: Int

    public init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// From "6.18.44-generic" or "4.8".
    public init?(_ text: String) {
        let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1].prefix { $0.isASCII && $0.isNumber }) else {
            return nil
        }
        self.init(major: major, minor: minor)
    }

    public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    public var description: String { "\(major).\(minor)" }
}

/// IDs that the engine has set aside for one container, as the runtime sees them (rootless: in the owner namespace).
public struct IDRange: Codable, Sendable, Equatable {
    public var start: UInt32
    public var size: UInt32
    /// Other containers of the same user have the same range.
    public var isShared: Bool

    public init(start: UInt32, size: UInt32, isShared: Bool) {
        self.start = start
        self.size = size
        self.isShared = isShared
    }
}

/// What the resolver must know of the machine. Read once by the engine; nothing here is asked of the kernel again.
public struct HostFacts: Sendable, Equatable {
    public var architecture: Architecture
    public var kernel: KernelVersion
    public var isRoot: Bool
    /// Who calls (`--userns keep-id`).
    public var invokingUID: UInt32
    public var invokingGID: UInt32
    public var range: IDRange
    /// Bytes of memory of the machine.
    public var memoryBytes: UInt64
    /// Possible CPUs (/sys/devices/system/cpu/possible), for what is masked per CPU.
    public var possibleCPUs: Int
    /// Hard limit of open files that the engine itself has.
    public var openFilesHardLimit: UInt64
    /// /proc/sys/kernel/cap_last_cap
    public var lastCapability: UInt8
    public var appArmor: AppArmorSupport
    public var seLinux: SELinuxSupport

    public enum AppArmorSupport: Sendable, Equatable {
        case absent
        /// `defaultProfile` is Coffer's own, "" when it is not loaded.
        case present(defaultProfile: String)
        /// The kernel has AppArmor, but Coffer's own profile is not to be had.
        case missing(reason: String)
    }

    public enum SELinuxSupport: Sendable, Equatable {
        case absent
        /// `categories` is this container's own pair, as "c12,c34".
        case present(categories: String)
    }

    public init(
        architecture: Architecture = .current, kernel: KernelVersion, isRoot: Bool, invokingUID: UInt32, invokingGID: UInt32,
        range: IDRange, memoryBytes: UInt64, possibleCPUs: Int, openFilesHardLimit: UInt64, lastCapability: UInt8 = 40,
        appArmor: AppArmorSupport = .absent, seLinux: SELinuxSupport = .absent
    ) {
        self.architecture = architecture
        self.kernel = kernel
        self.isRoot = isRoot
        self.invokingUID = invokingUID
        self.invokingGID = invokingGID
        self.range = range
        self.memoryBytes = memoryBytes
        self.possibleCPUs = possibleCPUs
        self.openFilesHardLimit = openFilesHardLimit
        self.lastCapability = lastCapability
        self.appArmor = appArmor
        self.seLinux = seLinux
    }
}

/// What the image contributes.
public struct ImageDefaults: Sendable, Equatable {
    /// How the image came to be on this machine.
    public enum Provenance: Sendable, Equatable {
        /// Named by its digest.
        case pinnedDigest
        case verifiedSignature
        /// Loaded, imported or built here.
        case local
        /// A registry's tag, which may be another image tomorrow.
        case tag
    }

    /// USER, resolved to numbers in the image's own passwd.
    public var user: PayloadUser
    public var provenance: Provenance

    public init(user: PayloadUser = PayloadUser(), provenance: Provenance) {
        self.user = user
        self.provenance = provenance
    }
}
