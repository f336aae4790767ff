import Glibc

/// Interfaces and addresses of the caller's network namespace (rtnetlink(7)).
public enum NetlinkRoute {
    private static let setLink: UInt16 = 19  // RTM_SETLINK
    private static let newAddress: UInt16 = 20  // RTM_NEWADDR
    private static let getAddress: UInt16 = 22  // RTM_GETADDR
    private static let newRoute: UInt16 = 24  // RTM_NEWROUTE
    private static let getRoute: UInt16 = 26  // RTM_GETROUTE
    private static let interfaceName: UInt16 = 3  // IFLA_IFNAME
    private static let interfaceUp: UInt32 = 1  // IFF_UP
    private static let mainTable: UInt8 = 254  // RT_TABLE_MAIN
    private static let localTable: UInt8 = 255  // RT_TABLE_LOCAL
    private static let unicastRoute: UInt8 = 1  // RTN_UNICAST
    private static let localRoute: UInt8 = 2  // RTN_LOCAL

    /// An address of an interface, with the network that it is in.
    public struct InterfaceAddress: Hashable, Sendable {
        public let address: IPAddress
        /// The network's prefix length: 0…32 or 0…128.
        public let prefixLength: Int

        public init(address: IPAddress, prefixLength: Int) {
            self.address = address
            self.prefixLength = prefixLength
        }
    }

    /// Brings an interface up. The kernel gives `lo` its addresses by then.
    ///
    /// - Throws: ENODEV when there is none of that name, EPERM without CAP_NET_ADMIN over the network namespace.
    public static func bringUp(_ name: String) throws(KernelError) {
        let socket = try NetlinkSocket(.route)
        try socket.transact([bringUpRequest(name)], awaiting: 1, subject: "interface \(name)")
    }

    static func bringUpRequest(_ name: String) -> NetlinkMessage {
        // struct ifinfomsg: family, padding, type, index (0: by name), flags, mask of changed flags.
        var message = NetlinkMessage(
            type: setLink, flags: [.request, .acknowledge],
            fixedPart: [0, 0] + hostOrder(UInt16(0)) + hostOrder(Int32(0)) + hostOrder(interfaceUp) + hostOrder(interfaceUp))
        message.attribute(interfaceName, text: name)
        return message
    }

    /// Every address of every interface, up or down.
    public static func interfaceAddresses() throws(KernelError) -> [InterfaceAddress] {
        let socket = try NetlinkSocket(.route)
        // struct ifaddrmsg: family (0: all), prefix length, flags, scope, index.
        let request = NetlinkMessage(
            type: getAddress, flags: [.request, .dump], fixedPart: [0, 0, 0, 0] + hostOrder(UInt32(0)))
        let replies = try socket.dump(request, subject: "interface addresses")
        return replies.filter { $0.type == newAddress }.compactMap { interfaceAddress($0.body) }
    }

    /// Everything that this namespace delivers to itself: the addresses of its interfaces, and every range that a route of
    /// type `local` claims ("AnyIP", `ip route add local 10.1.0.0/16 dev lo`).
    public static func localDestinations() throws(KernelError) -> Set<IPPrefix> {
        var result = Set(try interfaceAddresses().map { IPPrefix($0.address) })
        for family in [IPAddress.Family.v4, .v6] {
            result.formUnion(try routes(of: family, table: localTable).compactMap { localRoute($0, family) })
        }
        return result
    }

    /// Whether packets to anywhere have a way out: a route of the main table with no destination of its own.
    public static func hasDefaultRoute(_ family: IPAddress.Family) throws(KernelError) -> Bool {
        try routes(of: family, table: mainTable).contains { isDefaultRoute($0, family) }
    }

    private static func routes(
        of family: IPAddress.Family, table: UInt8
    ) throws(KernelError) -> [ArraySlice<UInt8>] {
        let socket = try NetlinkSocket(.route)
        // struct rtmsg: family, destination length, source length, TOS, table, protocol, scope, type, flags.
        let request = NetlinkMessage(
            type: getRoute, flags: [.request, .dump],
            fixedPart: [family.number, 0, 0, 0, table, 0, 0, 0] + hostOrder(UInt32(0)))
        do throws(KernelError) {
            return try socket.dump(request, subject: "routes").filter { $0.type == newRoute }.map(\.body)
        } catch {
            // No such table or family here (IPv6 disabled): then it has no routes.
            if [ENOENT, EOPNOTSUPP, EAFNOSUPPORT].contains(error.errno) { return [] }
            throw error
        }
    }

    static func isDefaultRoute(_ body: ArraySlice<UInt8>, _ family: IPAddress.Family) -> Bool {
        var reader = NetlinkReader(body)
        guard
            reader.next(UInt8.self) == family.number, reader.next(UInt8.self) == 0, reader.take(2) != nil,
            reader.next(UInt8.self) == mainTable, reader.take(2) != nil, reader.next(UInt8.self) == unicastRoute
        else { return false }
        return true
    }

    static func interfaceAddress(_ body: ArraySlice<UInt8>) -> InterfaceAddress? {
        var reader = NetlinkReader(body)
        guard reader.next(UInt8.self) != nil, let length = reader.next(UInt8.self), reader.take(6) != nil else { return nil }
        let attributes = reader.attributes()
        // IFA_LOCAL (2) is our side of a point-to-point link, IFA_ADDRESS (1) then the other; IPv6 has mostly only the latter.
        guard let bytes = attributes[2] ?? attributes[1], let address = IPAddress(bytes: bytes) else { return nil }
        return InterfaceAddress(address: address, prefixLength: Int(length))
    }

    static func localRoute(_ body: ArraySlice<UInt8>, _ family: IPAddress.Family) -> IPPrefix? {
        var reader = NetlinkReader(body)
        guard
            reader.next(UInt8.self) == family.number, let length = reader.next(UInt8.self), reader.take(2) != nil,
            let table = reader.next(UInt8.self), reader.take(2) != nil, let type = reader.next(UInt8.self),
            reader.take(4) != nil, table == localTable, type == localRoute
        else { return nil }
        guard let bytes = reader.attributes()[1], let address = IPAddress(bytes: bytes) else { return nil }  // RTA_DST
        return IPPrefix(address, length: Int(length))
    }
}

/// Tells when the addresses of a network namespace change: the one that the subscription was made in.
public struct AddressSubscription: ~Copyable, Sendable {
    private static let addresses: UInt32 = 0x10 | 0x100  // RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
    private static let routes: UInt32 = 0x40 | 0x400  // RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE

    private let socket: NetlinkSocket

    /// - Parameter withRoutes: tell of routes too.
    public init(withRoutes: Bool = false) throws(KernelError) {
        socket = try NetlinkSocket(.route, groups: Self.addresses | (withRoutes ? Self.routes : 0))
    }

    /// Takes over what another process has subscribed to.
    public init(owning descriptor: consuming FileDescriptor) { socket = NetlinkSocket(owning: descriptor) }

    /// Gives the subscription up, to be handed to another process.
    public consuming func release() -> FileDescriptor { socket.releaseDescriptor() }

    /// Readable when there is something to `drain()`.
    public var pollDescriptor: Int32 { socket.descriptor.rawValue }

    /// Takes all notices that have arrived.
    ///
    /// - Returns: whether anything changed since the last call. Read the addresses anew then.
    @discardableResult
    public borrowing func drain() throws(KernelError) -> Bool {
        var changed = false
        while true {
            do throws(KernelError) {
                guard try socket.receive(wait: false) != nil else { return changed }
            } catch {
                // More notices than fit were lost: that is a change as well, and the socket works on.
                if error.errno != ENOBUFS { throw error }
            }
            changed = true
        }
    }
}
