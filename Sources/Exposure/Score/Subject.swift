import Confinement

/// What is scored: a confinement, and what the score asks beside it.
public struct Subject: Sendable, Equatable {
    /// How the program came to be on this machine, and so who vouches for it.
    public enum Provenance: String, Sendable, CaseIterable {
        case verifiedSignature, pinnedDigest, local, tag
        /// No image: a program of the host, or a bundle that says nothing.
        case none
    }

    /// Whom the engine itself runs as: what a container that shares its user namespace is outside.
    public enum EngineUser: Sendable { case root, ordinary }

    /// The number of a user who is only a name inside, and not root's.
    static let somebody: UInt32 = 65534

    public var name: String
    public var source: Source
    public var confinement: Confinement
    public var engineUser: EngineUser
    public var provenance: Provenance
    /// What could not be read, each with the reason; it counts as the worst that it can be.
    public var unknown: [Aspect: String]
    /// The filters that the kernel has loaded, where they could be read: they are asked instead of `confinement.syscalls`.
    public var loadedFilters: LoadedFilters?
    /// systemd's own view, for its units.
    public var systemd: SystemdAssessment?
    /// Its first process, while it runs on this machine; 0 otherwise.
    public var pid: Int32 = 0

    public init(
        name: String, source: Source, confinement: Confinement, engineUser: EngineUser = .root, provenance: Provenance = .none,
        unknown: [Aspect: String] = [:]
    ) {
        self.name = name
        self.source = source
        self.confinement = confinement
        self.engineUser = engineUser
        self.provenance = provenance
        self.unknown = unknown
    }
}

/// What a factor is about; what a source cannot show is unknown by aspect.
public enum Aspect: String, Sendable, CaseIterable {
    case user, userNamespace, capabilities, privileges, syscalls, lsm, landlock, root, mounts, kernelPaths, devices, namespaces, network,
        limits, provenance, isolation
}
