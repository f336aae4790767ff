import Confinement

/// What of the kernel's calls a program can make, worked out once for everything that has the same filter.
struct KernelCalls {
    /// With some arguments, by name.
    let reachable: Set<String>
    let makesUserNamespaces: Bool
    /// How many of the rare address families can be opened, of those that had holes.
    let rareFamilies: Int
    let letsForeignIn: Bool

    /// AX25, RDS, PACKET, CAN, TIPC, BLUETOOTH, ALG, VSOCK, XDP: linux/socket.h
    static let rareFamilyNumbers: [UInt64] = [3, 21, 17, 29, 30, 31, 38, 40, 44]
    private static let newUser: UInt64 = 0x1000_0000

    /// By the filters that the kernel has loaded where they are known, else by the one that was asked for.
    init(_ subject: Subject, _ table: SyscallTable) {
        let policy = subject.confinement.syscalls
        let lets: (String, [UInt64]) -> Bool
        if let filters = subject.loadedFilters {
            let architecture = Architecture.current.auditNumber
            lets = { name, arguments in
                table.numbers[name].map { filters.mayReach(.init(number: $0, architecture: architecture, arguments: arguments)) } ?? false
            }
            reachable = Set(table.numbers.keys.filter { lets($0, []) })
            letsForeignIn = filters.letsForeignIn
        } else {
            lets = policy.lets
            reachable = policy.reachable(in: table)
            if case .filtered(let filter) = policy {
                letsForeignIn = filter.architectures.contains { $0 != Architecture.current.seccompName }
            } else {
                letsForeignIn = true
            }
        }
        // clone3 has its flags in memory, where no filter sees them.
        makesUserNamespaces = lets("unshare", [Self.newUser]) || lets("clone", [Self.newUser]) || reachable.contains("clone3")
        rareFamilies = Self.rareFamilyNumbers.count { lets("socket", [$0]) }
    }
}
