import Probe

/// One attempt: a function that tries one thing and says what it saw. It runs in a child of its own, which is gone afterwards, and must be harmless
/// where everything is reachable: invalid arguments, open without write, its own child, its own terminal.
typealias Attempt = @Sendable (Situation) -> Finding

/// Every attempt by the id of its row in `ProbeTable`.
public enum Attempts {
    typealias Group = [(id: String, attempt: Attempt)]

    private static let groups: [Group] = [
        namespaces, mounts, devices, kernelFiles, foreignProcesses, information, cgroups, capabilities, syscalls, interpreters, sockets, network,
        descriptors, identity, resources, races,
    ]

    static let table: [String: Attempt] = Dictionary(groups.joined().map { ($0.id, $0.attempt) }, uniquingKeysWith: { first, _ in first })

    /// All ids, in the order of the groups; an id that two functions claim comes twice.
    public static let ids: [String] = groups.joined().map(\.id)
}
