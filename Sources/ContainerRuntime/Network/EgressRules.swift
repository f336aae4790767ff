import LinuxKernel

/// What a container may not send to: the host's loopback and own addresses, and link-local ones (cloud metadata).
///
/// The rules sit in the container's own network namespace, which belongs to its outer user namespace: the payload, in the
/// inner one, has no capability over them. They close what pasta would open, since pasta connects from the host's side, where
/// 127.0.0.1 and every address of the host is the host itself.
///
/// A value of this type holds a netlink socket of the container's network namespace. Whoever holds it can replace the host's
/// addresses later from outside of that namespace, given CAP_NET_ADMIN over the outer user namespace (netlink(7)): the child
/// makes it, the monitor keeps it.
public struct EgressRules: ~Copyable, Sendable {
    /// What is closed besides the host's addresses. Multicast reaches services of the host by the group that they joined;
    /// 0.0.0.0 and :: mean the host's loopback to connect(2); IPv4-mapped addresses are all of IPv4 again.
    static let alwaysClosed: [IPPrefix] = [
        ("0.0.0.0", 8), ("127.0.0.0", 8), ("169.254.0.0", 16), ("224.0.0.0", 4), ("255.255.255.255", 32),
        ("::", 127), ("::ffff:0:0", 96), ("fe80::", 10), ("ff00::", 8),
    ].compactMap { text, length in IPAddress(text).flatMap { IPPrefix($0, length: length) } }

    static let table = "coffer"
    private static let chain = "output"
    private static let setIPv4 = "closed4"
    private static let setIPv6 = "closed6"

    private let socket: NetlinkSocket

    /// Opens the network namespace that the caller is in.
    public init() throws(KernelError) { socket = try NetlinkSocket(.netfilter) }

    /// Takes over a socket that the container's child opened.
    public init(owning descriptor: consuming FileDescriptor) { socket = NetlinkSocket(owning: descriptor) }

    /// Gives the socket up, to hand it to the monitor.
    public consuming func release() -> FileDescriptor { socket.releaseDescriptor() }

    /// Installs all rules, in one step.
    ///
    /// - Parameters:
    ///   - hostAddresses: what `NetlinkRoute.localDestinations()` said in the host's network namespace.
    ///   - dnsForward: the address on which pasta answers DNS queries; its port 53 stays open, wherever it lies.
    ///   - allowReplies: let answers pass to whoever opened the connection, the host included. Needed where a UDP port is
    ///     published on an address of the host that is not loopback. It costs connection tracking, so it is off otherwise.
    /// - Throws: `KernelError` when the kernel takes not all of it: then nothing is installed, and the container must not start.
    public borrowing func install(
        hostAddresses: some Sequence<IPPrefix>, dnsForward: IPAddress?, allowReplies: Bool = false
    ) throws(KernelError) {
        try Self.installation(hostAddresses, dnsForward, allowReplies).commit(on: socket)
    }

    /// Replaces the host's addresses. The kernel switches from the old set to the new in one step: at no time is one open.
    public borrowing func replace(hostAddresses: some Sequence<IPPrefix>) throws(KernelError) {
        var batch = NfTablesBatch(table: Self.table)
        Self.fill(&batch, Array(hostAddresses))
        try batch.commit(on: socket)
    }

    static func installation(
        _ hostAddresses: some Sequence<IPPrefix>, _ dnsForward: IPAddress?, _ allowReplies: Bool
    ) -> NfTablesBatch {
        var batch = NfTablesBatch(table: table)
        batch.addTable()
        batch.addIntervalSet(setIPv4, of: .v4)
        batch.addIntervalSet(setIPv6, of: .v6)
        fill(&batch, Array(hostAddresses))
        batch.addChain(chain, at: .output, policy: .accept)
        batch.addRule(to: chain, [.load(.outputInterfaceName), .require(.equal, interfaceName("lo")), .accept])
        if allowReplies {
            batch.addRule(to: chain, [.loadConnectionDirection, .require(.equal, [1]), .accept])
        }
        batch.addRule(to: chain, establishedTCP + [.accept])
        if let dnsForward { batch.addRule(to: chain, destination(dnsForward) + udpPort(53) + [.accept]) }
        batch.addRule(to: chain, neighbourDiscovery + [.accept])
        batch.addRule(to: chain, destination(.v4) + [.requireMember(of: setIPv4), .reject])
        batch.addRule(to: chain, destination(.v6) + [.requireMember(of: setIPv6), .reject])
        return batch
    }

    private static func fill(_ batch: inout NfTablesBatch, _ hostAddresses: [IPPrefix]) {
        let closed = alwaysClosed + hostAddresses
        batch.setIntervals(AddressInterval.covering(closed, of: .v4), of: setIPv4)
        batch.setIntervals(AddressInterval.covering(closed, of: .v6), of: setIPv6)
    }

    /// TCP but for the packet that opens a connection (SYN without ACK): answers to a published port pass, new connections
    /// do not, and no connection needs to be tracked. Pasta resets a segment that belongs to no connection.
    private static let establishedTCP: [NfTablesExpression] = [
        .load(.transportProtocol), .require(.equal, [6]),
        .load(.transport, offset: 13, length: 1), .mask([0x12]), .require(.notEqual, [0x02]),
    ]

    /// ICMPv6 types 133…136 (RFC 4861): without them nothing is found on an IPv6 link. Pasta answers them by itself.
    private static let neighbourDiscovery: [NfTablesExpression] = [
        .load(.networkProtocol), .require(.equal, [10]),
        .load(.transportProtocol), .require(.equal, [58]),
        .load(.transport, offset: 0, length: 1), .require(.atLeast, [133]), .require(.atMost, [136]),
    ]

    /// Loads the destination address of packets of one family.
    private static func destination(_ family: IPAddress.Family) -> [NfTablesExpression] {
        family == .v4
            ? [.load(.networkProtocol), .require(.equal, [2]), .load(.network, offset: 16, length: 4)]
            : [.load(.networkProtocol), .require(.equal, [10]), .load(.network, offset: 24, length: 16)]
    }

    private static func destination(_ address: IPAddress) -> [NfTablesExpression] {
        destination(address.family) + [.require(.equal, address.bytes)]
    }

    private static func udpPort(_ port: UInt16) -> [NfTablesExpression] {
        [
            .load(.transportProtocol), .require(.equal, [17]),
            .load(.transport, offset: 2, length: 2), .require(.equal, [UInt8(port >> 8), UInt8(port & 0xff)]),
        ]
    }

    /// An interface's name as the kernel compares it: 16 bytes, zero-filled.
    private static func interfaceName(_ name: String) -> [UInt8] {
        let bytes = Array(name.utf8.prefix(15))
        return bytes + [UInt8](repeating: 0, count: 16 - bytes.count)
    }
}
