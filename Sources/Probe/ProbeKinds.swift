/// What a probe is about.
public enum ProbeGroup: String, Codable, Sendable, CaseIterable {
    case namespaces, mounts, devices, procfs, information, cgroups, capabilities, syscalls, sockets, network, descriptors, identity, resources, races
}

/// What a finding of a probe means.
public enum ProbeKind: String, Codable, Sendable, CaseIterable {
    /// Where it is reachable, a wall is missing.
    case attack
    /// It tells the program something about the host; nothing breaks.
    case information
    /// A limit that should stop it.
    case resource
    /// A window of time in the engine; tried while the engine works.
    case race
}

/// A layer of confinement that can hold a probe. The raw values are the words of reports.
public enum ProbeLayer: String, Codable, Sendable, CaseIterable {
    case seccomp, capabilities, landlock, devices, limits, runtime, kernel
    /// Host root is no id of the container, so that its files and settings are somebody else's.
    case userNamespace = "user-namespace"
    /// Mounts that belong to an outer user namespace, and the limit on further ones.
    case lockedMounts = "locked-mounts"
    case maskedPaths = "masked-paths"
    case readOnlyPaths = "read-only-paths"
    case mountNamespace = "mount-namespace"
    case pidNamespace = "pid-namespace"
    case networkNamespace = "network-namespace"
    case ipcNamespace = "ipc-namespace"
    case utsNamespace = "uts-namespace"
    case cgroupNamespace = "cgroup-namespace"
    case networkRules = "network-rules"
    case noNewPrivileges = "no-new-privileges"
    /// AppArmor or SELinux.
    case securityModule = "security-module"
    /// That the program is not root.
    case user
}

/// A fact that a probe needs from outside: the members of `ProbeRequest` that make it are named beside it.
public enum ProbeFact: String, Codable, Sendable, CaseIterable {
    /// `facts.namespaces`
    case namespaces
    /// `facts.hostProcess`
    case hostProcess = "host-process"
    /// `facts.hostDirectories`
    case hostDirectories = "host-directories"
    /// `facts.abstractSocket`
    case abstractSocket = "abstract-socket"
    /// `facts.endpoints` with at least one of the role
    case loopbackEndpoint = "loopback-endpoint"
    case hostEndpoint = "host-endpoint"
    case metadataEndpoint = "metadata-endpoint"
    case peerEndpoint = "peer-endpoint"
    case peerDatagramEndpoint = "peer-datagram-endpoint"
    /// `facts.callerFile`
    case callerFile = "caller-file"
    /// `facts.sessionKeyring`
    case sessionKeyring = "session-keyring"
    /// `facts.dnsName`
    case dnsName = "dns-name"
    /// `facts.engineName`
    case engineName = "engine-name"
    /// `facts.raceDirectory`
    case raceDirectory = "race-directory"
    /// Members of `limits` with the same name
    case processLimit = "process-limit"
    case memoryLimit = "memory-limit"
    case diskLimit = "disk-limit"
    case sharedMemoryLimit = "shared-memory-limit"
    case fileLimit = "file-limit"
    case processorLimit = "processor-limit"
    case logLimit = "log-limit"
}

/// The loose setting in which a probe must find the hole; a probe that succeeds nowhere proves nothing.
public enum ProbeControl: String, Codable, Sendable, CaseIterable {
    /// Root of a user namespace with mount, process, network, IPC, UTS and cgroup namespaces of its own, on the host's files, without filters:
    /// what `unshare --user --map-root-user --mount --pid --fork --mount-proc --net --ipc --uts --cgroup` gives any user.
    case userNamespace = "user-namespace"
    /// Real root with every capability and without filters, in mount and process namespaces of its own, on the host's files.
    case privileged
    /// Real root in every namespace of the host. What changes mounts makes a namespace of its own for that.
    case host
    /// `userNamespace`, with the weakness arranged: the socket mounted, the descriptor left open, the file system shared.
    case arranged
    /// `arranged`, as real root.
    case arrangedPrivileged = "arranged-privileged"
    /// This needs what only other kernels have; tried in a virtual machine.
    case virtualMachine = "virtual-machine"
}

/// What mends a finding, by kind; the flag is the engine's whose container was probed.
public enum ProbeRemedy: String, Codable, Sendable, CaseIterable {
    /// A system call filter that refuses it.
    case seccomp
    /// Drop `ProbeRow.capability`.
    case capability
    case userNamespace = "user-namespace"
    case pidNamespace = "pid-namespace"
    case networkNamespace = "network-namespace"
    case ipcNamespace = "ipc-namespace"
    case utsNamespace = "uts-namespace"
    case cgroupNamespace = "cgroup-namespace"
    /// A mount of the host's files that should not be there.
    case hostMount = "host-mount"
    /// The socket of an engine or another service of the host that should not be there.
    case socketMount = "socket-mount"
    case propagation
    case device
    case maskedPaths = "masked-paths"
    case readOnlyPaths = "read-only-paths"
    case cgroupMount = "cgroup-mount"
    case noNewPrivileges = "no-new-privileges"
    case landlock
    case networkRules = "network-rules"
    case environment
    case limits
    /// Nothing a flag mends: the engine does not do what it says, or has no such layer.
    case engine
    /// A setting of the host's kernel.
    case kernel
}
