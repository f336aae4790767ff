import Confinement
import Probe

/// What became of taking a layer away.
public enum Peeling: Sendable, Equatable {
    case without(Confinement)
    /// The target does not have it.
    case absent
    /// It cannot be taken away here; one sentence.
    case fixed(String)
}

/// Who runs the twins, and on what.
public struct ProbeHost: Sendable, Equatable {
    public var isRootful: Bool
    /// /proc/sys/kernel/cap_last_cap
    public var lastCapability: UInt8
    public var hasAppArmor: Bool

    public init(isRootful: Bool, lastCapability: UInt8, hasAppArmor: Bool) {
        self.isRootful = isRootful
        self.lastCapability = lastCapability
        self.hasAppArmor = hasAppArmor
    }
}

extension ProbeLayer {
    /// The layers that a twin can be without, the cheapest guess first. What the runtime and the kernel do by themselves cannot be switched off.
    public static let peelable: [ProbeLayer] = [
        .seccomp, .capabilities, .noNewPrivileges, .landlock, .maskedPaths, .readOnlyPaths, .lockedMounts, .userNamespace, .pidNamespace,
        .networkNamespace, .networkRules, .ipcNamespace, .utsNamespace, .cgroupNamespace, .devices, .limits, .securityModule, .user,
    ]

    /// As reports call it.
    public var title: String {
        switch self {
        case .seccomp: "system call filter"
        case .capabilities: "capabilities"
        case .landlock: "Landlock"
        case .devices: "device rules"
        case .limits: "limits"
        case .runtime: "runtime"
        case .kernel: "kernel"
        case .userNamespace: "user namespace"
        case .lockedMounts: "locked mounts"
        case .maskedPaths: "masked paths"
        case .readOnlyPaths: "read-only paths"
        case .mountNamespace: "mount namespace"
        case .pidNamespace: "process namespace"
        case .networkNamespace: "network namespace"
        case .ipcNamespace: "IPC namespace"
        case .utsNamespace: "UTS namespace"
        case .cgroupNamespace: "cgroup namespace"
        case .networkRules: "network rules"
        case .noNewPrivileges: "no_new_privs and nosuid"
        case .securityModule: "security module"
        case .user: "ordinary user"
        }
    }
}

extension Confinement {
    /// This confinement with one layer taken away.
    public func peeling(_ layer: ProbeLayer, on host: ProbeHost) -> Peeling {
        var peeled = self
        switch layer {
        case .seccomp: peeled.syscalls = .unconfined
        case .capabilities: peeled.openCapabilities(host)
        case .noNewPrivileges: peeled.allowNewPrivileges()
        case .landlock: peeled.landlock = .off
        case .maskedPaths: peeled.unmask()
        case .readOnlyPaths: peeled.openReadOnlyPaths()
        case .lockedMounts: peeled.unlockMounts()
        case .userNamespace:
            guard case .own = userNamespace else { return .absent }
            guard host.isRootful else { return .fixed("an ordinary user's container is in a user namespace by necessity") }
            peeled.leaveUserNamespace()
        case .pidNamespace: peeled.joinProcesses()
        case .networkNamespace: peeled.joinNetwork()
        case .networkRules:
            guard case .outbound(let ports, true) = network else { return .absent }
            peeled.network = .outbound(ports: ports, closesHost: false)
        case .ipcNamespace: peeled.joinIPC()
        case .utsNamespace: peeled.namespaces.uts = .host
        case .cgroupNamespace: peeled.namespaces.cgroup = .host
        case .devices: peeled.openDevices()
        case .limits: peeled.liftLimits()
        case .securityModule:
            guard host.hasAppArmor, appArmor != .inherited, appArmor != .profile("unconfined") else { return .absent }
            peeled.appArmor = .profile("unconfined")
        case .user:
            peeled.user = PayloadUser(umask: user.umask)
            if peeled.user != user { peeled.capabilities = CapabilitySets(bounding: capabilities.bounding, for: peeled.user) }
        case .runtime, .kernel, .mountNamespace: return .fixed("it is what a container is made of")
        }
        return peeled == self ? .absent : .without(peeled)
    }

    /// This confinement without any of the layers that can be taken away, save `keeping`.
    public func loosened(keeping: Set<ProbeLayer> = [], on host: ProbeHost) -> Confinement {
        var loose = self
        for layer in ProbeLayer.peelable.reversed() where !keeping.contains(layer) {
            // The lock is part of a user namespace, and rules are part of a network.
            if layer == .userNamespace, keeping.contains(.lockedMounts) { continue }
            if layer == .networkNamespace, keeping.contains(.networkRules) { continue }
            if case .without(let next) = loose.peeling(layer, on: host) { loose = next }
        }
        return loose
    }

    private mutating func openCapabilities(_ host: ProbeHost) {
        let all = CapabilitySet.all(upTo: host.lastCapability)
        // A user who is not root keeps a capability over execve only where it is inheritable and ambient.
        let carried: CapabilitySet = user.uid == 0 ? [] : all
        capabilities = CapabilitySets(bounding: all, effective: all, permitted: all, inheritable: carried, ambient: carried)
    }

    private mutating func allowNewPrivileges() {
        noNewPrivileges = false
        for index in mounts.indices { mounts[index].options.removeAll { $0 == "nosuid" } }
    }

    /// The rules of the group, and what keeps nodes of a mount from being opened.
    private mutating func openDevices() {
        deviceRules = [DeviceRule(allows: true, kind: .all)]
        for index in mounts.indices { mounts[index].options.removeAll { $0 == "nodev" } }
    }

    private mutating func unmask() {
        maskedPaths = []
        for index in mounts.indices where mounts[index].isKernels {
            mounts[index].options.removeAll { $0.hasPrefix("hidepid=") || $0.hasPrefix("subset=") }
        }
    }

    private mutating func openReadOnlyPaths() {
        (readonlyPaths, rootReadOnly) = ([], false)
        for index in mounts.indices where mounts[index].isKernels { mounts[index].options.removeAll { $0 == "ro" || $0 == "rro" } }
    }

    private mutating func unlockMounts() {
        mountsLocked = false
        networkNamespaceInside = false
    }

    private mutating func leaveUserNamespace() {
        userNamespace = .host
        unlockMounts()
        // Who connects a network outward joins a user namespace, and the host's is none to be joined.
        if case .outbound = network { network = .none }
        for index in mounts.indices {
            mounts[index].options.removeAll { $0 == "idmap" || $0 == "ridmap" }
            (mounts[index].uidMappings, mounts[index].gidMappings) = ([], [])
        }
    }

    /// A procfs of the host's processes can be mounted by nobody inside a user namespace: it is bound.
    private mutating func joinProcesses() {
        namespaces.pid = .host
        bindKernelMount("/proc", type: "proc")
    }

    private mutating func joinNetwork() {
        network = .host
        networkNamespaceInside = false
        sysctls = sysctls.filter { !$0.key.hasPrefix("net.") }
        bindKernelMount("/sys", type: "sysfs")
    }

    /// Those of the group and of each process, the size of the shared memory, and what is kept of the output.
    private mutating func liftLimits() {
        limits = Limits(cpuShares: limits.cpuShares, oomScoreAdjustment: limits.oomScoreAdjustment)
        if case .rotated = logs { logs = .rotated(maxBytes: 64 << 20, maxFiles: 1) }
        for index in mounts.indices where mounts[index].destination == "/dev/shm" && mounts[index].type == "tmpfs" {
            mounts[index].options.removeAll { $0.hasPrefix("size=") }
        }
    }

    private mutating func joinIPC() {
        namespaces.ipc = .host
        sysctls = sysctls.filter { $0.key.hasPrefix("net.") }
        // Not every host has it mounted where it could be bound from.
        mounts.removeAll { $0.type == "mqueue" }
        bindKernelMount("/dev/shm", type: "tmpfs")
    }

    /// As `run` mounts them where the namespace is the host's.
    private mutating func bindKernelMount(_ destination: String, type: String) {
        for index in mounts.indices where mounts[index].destination == destination && mounts[index].type == type {
            let flags = mounts[index].options.filter { ["nosuid", "noexec", "nodev", "ro"].contains($0) }
            mounts[index] = Mount(destination: destination, type: "bind", source: destination, options: ["rbind", "rslave"] + flags)
        }
    }
}

extension Mount {
    /// Whether it shows the kernel's own files.
    public var isKernels: Bool {
        ["proc", "sysfs", "cgroup", "cgroup2"].contains(type) || (isBind && ["/proc", "/sys"].contains(destination) && source == destination)
    }
}
