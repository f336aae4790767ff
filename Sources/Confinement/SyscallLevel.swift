import StrictJSON

/// The system calls of a level, as its data file says them (`Levels/syscalls-*.json`).
struct SyscallLevel: Decodable, Sendable {
    struct Group: Decodable, Sendable {
        /// What the group is for, for whoever reads the file.
        let why: String
        let names: [String]
    }

    struct Refusal: Decodable, Sendable {
        let why: String
        let errno: String
        let names: [String]
    }

    /// Calls that a capability opens.
    struct Gate: Decodable, Sendable {
        let capability: String
        let names: [String]
    }

    /// Namespace flags that clone(2) may not carry without CAP_SYS_ADMIN.
    struct Clone: Decodable, Sendable { let refusedFlags: [String] }

    /// Address families of socket(2). With `refusedFamilies` every other family is let through instead. An empty list of
    /// netlink protocols is all of them. socketpair(2) makes unix sockets only
    /// wherever families are listed; elsewhere it stands among the other calls.
    struct Sockets: Decodable, Sendable {
        let families: [String]
        let refusedFamilies: [String]?
        let netlinkProtocols: [String]
        /// Transports over IPv4 and IPv6 beside the usual one of a socket's type; without the list every one, and every type, is let through.
        let internetProtocols: [String]?
    }

    struct IOControl: Decodable, Sendable { let refused: [String] }

    /// File types that mknod(2) may make without CAP_MKNOD; none listed is no rule of its own.
    struct MakeNode: Decodable, Sendable { let types: [String] }

    let about: String
    /// Error name of every call that is not listed.
    let `default`: String
    /// Lets 32-bit programs in.
    let foreignArchitectures: Bool
    let allow: [Group]
    let refuse: [Refusal]
    let withCapability: [Gate]
    let clone: Clone
    let sockets: Sockets
    let ioctl: IOControl
    /// Values of personality(2).
    let personality: [UInt32]
    let mknod: MakeNode
}

/// Numbers of the kernel's headers that the level files name.
private enum KernelConstants {
    static let errors: [String: UInt16] = ["EPERM": 1, "EINVAL": 22, "ENOSYS": 38, "EAFNOSUPPORT": 97]
    static let families: [String: UInt32] = [
        "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17, "AF_ALG": 38, "AF_VSOCK": 40,
    ]
    static let netlinkProtocols: [String: UInt32] = [
        "NETLINK_ROUTE": 0, "NETLINK_SOCK_DIAG": 4, "NETLINK_XFRM": 6, "NETLINK_AUDIT": 9, "NETLINK_NETFILTER": 12, "NETLINK_KOBJECT_UEVENT": 15,
        "NETLINK_GENERIC": 16,
    ]
    static let internetProtocols: [String: UInt32] = [
        "IPPROTO_ICMP": 1, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17, "IPPROTO_ICMPV6": 58, "IPPROTO_UDPLITE": 136, "IPPROTO_MPTCP": 262,
    ]
    static let cloneFlags: [String: UInt64] = [
        "CLONE_NEWNS": 0x0002_0000, "CLONE_NEWCGROUP": 0x0200_0000, "CLONE_NEWUTS": 0x0400_0000,
        "CLONE_NEWIPC": 0x0800_0000, "CLONE_NEWUSER": 0x1000_0000, "CLONE_NEWPID": 0x2000_0000,
        "CLONE_NEWNET": 0x4000_0000,
    ]
    static let ioctls: [String: UInt32] = ["TIOCSTI": 0x5412, "TIOCLINUX": 0x541C]
    /// S_IFMT values; mknod(2) takes no type as a regular file.
    static let fileTypes: [String: UInt64] = ["unset": 0, "fifo": 0x1000, "regular": 0x8000, "socket": 0xC000]
    static let fileTypeMask: UInt64 = 0xF000
    /// S_IFCHR and S_IFBLK.
    static let deviceTypes: [UInt64] = [0x2000, 0x6000]

    static func look<Value>(_ name: String, in table: [String: Value]) throws(ConfinementError) -> Value {
        guard let value = table[name] else { throw ConfinementError("the level's system calls name “\(name)”, which has no number here") }
        return value
    }
}

extension SyscallLevel {
    typealias Rule = SyscallFilter.Rule
    typealias Condition = SyscallFilter.Condition

    /// The filter for a process that may hold `capabilities`.
    func filter(capabilities: CapabilitySet, architecture: Architecture) throws(ConfinementError) -> SyscallFilter {
        var opened: [String] = []
        for gate in withCapability {
            guard let capability = Capability(named: gate.capability) else {
                throw ConfinementError("the level's system calls name the capability “\(gate.capability)”, which does not exist")
            }
            if capabilities.contains(capability) { opened += gate.names.filter { !opened.contains($0) } }
        }
        var rules: [Rule] = []
        let listed = Set(allow.flatMap(\.names))
        rules.append(Rule(names: allow.flatMap(\.names), action: .allow))
        let added = opened.filter { !listed.contains($0) }
        if !added.isEmpty { rules.append(Rule(names: added, action: .allow)) }
        for refusal in refuse {
            let names = refusal.names.filter { !opened.contains($0) }
            if names.isEmpty { continue }
            rules.append(Rule(names: names, action: .errno(try KernelConstants.look(refusal.errno, in: KernelConstants.errors))))
        }
        rules += try cloneRules(capabilities)
        rules += try socketRules(capabilities)
        rules += try ioctlRules()
        rules += personality.map { Rule(names: ["personality"], action: .allow, conditions: [.int(0, equals: $0)]) }
        rules += try mknodRules(capabilities)
        return SyscallFilter(
            defaultAction: .errno(try KernelConstants.look(self.default, in: KernelConstants.errors)),
            architectures: foreignArchitectures ? architecture.withForeign : [], rules: rules)
    }

    private func cloneRules(_ capabilities: CapabilitySet) throws(ConfinementError) -> [Rule] {
        if capabilities.contains(.sysAdmin) { return [Rule(names: ["clone"], action: .allow)] }
        var all: UInt64 = 0
        var rules: [Rule] = []
        for name in clone.refusedFlags {
            let flag = try KernelConstants.look(name, in: KernelConstants.cloneFlags)
            all |= flag
            rules.append(
                Rule(names: ["clone"], action: .errno(1), conditions: [Condition(argument: 0, .masked(mask: flag, value: flag))]))
        }
        let plain = Rule(names: ["clone"], action: .allow, conditions: [Condition(argument: 0, .masked(mask: all, value: 0))])
        return [plain] + rules
    }

    private func socketRules(_ capabilities: CapabilitySet) throws(ConfinementError) -> [Rule] {
        if let refusedFamilies {
            var refused: Set<UInt32> = []
            for name in refusedFamilies { refused.insert(try KernelConstants.look(name, in: KernelConstants.families)) }
            return Condition.int(0, differsFrom: refused).map { Rule(names: ["socket"], action: .allow, conditions: [$0]) }
        }
        var rules: [Rule] = []
        var allowed: Set<UInt32> = []
        for name in sockets.families {
            let family = try KernelConstants.look(name, in: KernelConstants.families)
            allowed.insert(family)
            if name == "AF_NETLINK", !sockets.netlinkProtocols.isEmpty {
                var protocols: Set<UInt32> = []
                for name in sockets.netlinkProtocols { protocols.insert(try KernelConstants.look(name, in: KernelConstants.netlinkProtocols)) }
                rules += protocols.sorted().map {
                    Rule(names: ["socket"], action: .allow, conditions: [.int(0, equals: family), .int(2, equals: $0)])
                }
                // EPROTONOSUPPORT, as from a kernel without the subsystem.
                rules += Condition.int(2, differsFrom: protocols).map {
                    Rule(names: ["socket"], action: .errno(93), conditions: [.int(0, equals: family), $0])
                }
            } else if name.hasPrefix("AF_INET"), let protocols = sockets.internetProtocols {
                rules += try internetRules(family, protocols, isRaw: capabilities.contains(.netRaw))
            } else {
                rules.append(Rule(names: ["socket"], action: .allow, conditions: [.int(0, equals: family)]))
            }
        }
        // What a kernel without the family answers, so that programs go on without it.
        rules += Condition.int(0, differsFrom: allowed).map { Rule(names: ["socket"], action: .errno(97), conditions: [$0]) }
        rules.append(Rule(names: ["socketpair"], action: .allow, conditions: [.int(0, equals: 1)]))
        return rules
    }

    /// SCTP, DCCP and L2TP are protocols and types of the internet's own families: the kernel loads their modules for whoever asks.
    private func internetRules(_ family: UInt32, _ protocols: [String], isRaw: Bool) throws(ConfinementError) -> [Rule] {
        let ofFamily = Condition.int(0, equals: family)
        // SOCK_STREAM, SOCK_DGRAM and SOCK_RAW, whose usual protocols are known; flags are above these bits. SOCK_SEQPACKET's usual one is SCTP.
        let usual = Condition(argument: 1, .masked(mask: 0xC, value: 0))
        var rules = [Rule(names: ["socket"], action: .allow, conditions: [ofFamily, usual, .int(2, equals: 0)])]
        for name in protocols {
            let number = try KernelConstants.look(name, in: KernelConstants.internetProtocols)
            rules.append(Rule(names: ["socket"], action: .allow, conditions: [ofFamily, .int(2, equals: number)]))
        }
        let raw = Condition(argument: 1, .masked(mask: 0xF, value: 3))
        if isRaw { rules.append(Rule(names: ["socket"], action: .allow, conditions: [ofFamily, raw])) }
        return rules
    }

    private var refusedFamilies: [String]? { sockets.refusedFamilies }

    private func ioctlRules() throws(ConfinementError) -> [Rule] {
        if ioctl.refused.isEmpty { return [] }
        var refused: Set<UInt32> = []
        for name in ioctl.refused { refused.insert(try KernelConstants.look(name, in: KernelConstants.ioctls)) }
        return Condition.int(1, differsFrom: refused).map { Rule(names: ["ioctl"], action: .allow, conditions: [$0]) }
            + refused.sorted().map { Rule(names: ["ioctl"], action: .errno(1), conditions: [.int(1, equals: $0)]) }
    }

    /// Device nodes: whiteouts (character 0:0) can be made in any user namespace (kernel 5.8) and would confuse overlays.
    private func mknodRules(_ capabilities: CapabilitySet) throws(ConfinementError) -> [Rule] {
        if mknod.types.isEmpty { return [] }
        if capabilities.contains(.mknod) { return [Rule(names: ["mknod", "mknodat"], action: .allow)] }
        var rules: [Rule] = []
        for (call, argument) in [("mknod", UInt32(1)), ("mknodat", 2)] {
            for name in mknod.types {
                let type = try KernelConstants.look(name, in: KernelConstants.fileTypes)
                rules.append(
                    Rule(
                        names: [call], action: .allow,
                        conditions: [Condition(argument: argument, .masked(mask: KernelConstants.fileTypeMask, value: type))]))
            }
            for type in KernelConstants.deviceTypes {
                rules.append(
                    Rule(
                        names: [call], action: .errno(1),
                        conditions: [Condition(argument: argument, .masked(mask: KernelConstants.fileTypeMask, value: type))]))
            }
        }
        return rules
    }
}

extension SyscallFilter {
    /// The rules of Docker's default profile for a process that may hold `capabilities`.
    public static func docker(capabilities: CapabilitySet, architecture: Architecture) throws(ConfinementError) -> SyscallFilter {
        try Level.syscalls(.compat).filter(capabilities: capabilities, architecture: architecture)
    }
}
