import Glibc

/// A network device as its network namespace knows it.
public struct NetworkLink: Sendable, Equatable {
    public let index: Int32
    public let name: String
    /// Set up by whoever administers it (IFF_UP).
    public let isUp: Bool
    public let isLoopback: Bool
    /// The device that it is a port of (a bridge, a bond), by index; 0 for none.
    public let master: Int32
}

/// An address that does not run out (IFA_F_PERMANENT) and means the same everywhere (RT_SCOPE_UNIVERSE), in the kernel's own words:
/// what is written back is what was read.
public struct PermanentAddress: Sendable, Equatable {
    let family: UInt8
    let prefixLength: UInt8
    /// Those that an administrator gives; the kernel finds out about the others.
    let flags: UInt32
    /// Address, peer, broadcast address, lifetimes and metric, those that it has.
    let attributes: [UInt16: [UInt8]]
}

/// The devices of one network namespace. A value of this type stays with that namespace, like the socket that it holds.
public struct NetworkLinks: ~Copyable, Sendable {
    private static let newLink: UInt16 = 16  // RTM_NEWLINK
    private static let getLink: UInt16 = 18  // RTM_GETLINK
    private static let setLink: UInt16 = 19  // RTM_SETLINK
    private static let newAddress: UInt16 = 20  // RTM_NEWADDR
    private static let getAddress: UInt16 = 22  // RTM_GETADDR
    private static let interfaceName: UInt16 = 3  // IFLA_IFNAME
    private static let masterDevice: UInt16 = 10  // IFLA_MASTER
    private static let namespaceFile: UInt16 = 28  // IFLA_NET_NS_FD
    private static let extensionMask: UInt16 = 29  // IFLA_EXT_MASK
    private static let withoutStatistics: UInt32 = 8  // RTEXT_FILTER_SKIP_STATS
    private static let interfaceUp: UInt32 = 1  // IFF_UP
    private static let loopback: UInt32 = 8  // IFF_LOOPBACK
    private static let addressFlags: UInt16 = 8  // IFA_FLAGS
    private static let permanent: UInt32 = 0x80  // IFA_F_PERMANENT
    /// IFA_F_NODAD, _HOMEADDRESS, _MANAGETEMPADDR, _NOPREFIXROUTE and _MCAUTOJOIN.
    private static let givenFlags: UInt32 = 0x712
    /// IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_CACHEINFO and IFA_RT_PRIORITY. A label would keep the old name.
    private static let keptAttributes: [UInt16] = [1, 2, 4, 6, 9]

    private let socket: NetlinkSocket

    /// The caller's own network namespace.
    public init() throws(KernelError) { socket = try NetlinkSocket(.route) }

    /// Another one, in which the caller stands for as long as it takes to open a socket there.
    ///
    /// - Parameter own: the caller's network namespace, to return to.
    public init(of namespace: borrowing FileDescriptor, returningTo own: borrowing FileDescriptor) throws(KernelError) {
        try Namespaces.join(namespace, [.network])
        let opened: NetlinkSocket
        do throws(KernelError) {
            opened = try NetlinkSocket(.route)
        } catch {
            try Namespaces.join(own, [.network])
            throw error
        }
        try Namespaces.join(own, [.network])
        socket = opened
    }

    /// All devices.
    public borrowing func all() throws(KernelError) -> [NetworkLink] {
        var request = NetlinkMessage(type: Self.getLink, flags: [.request, .dump], fixedPart: Self.interface(0))
        request.attribute(Self.extensionMask, hostOrder(Self.withoutStatistics))
        return try socket.dump(request, subject: "network devices").filter { $0.type == Self.newLink }.compactMap { Self.link($0.body) }
    }

    /// Asks for no change at all: what the kernel says to it, it would say to any.
    ///
    /// - Throws: EPERM without CAP_NET_ADMIN over this namespace, ENODEV when there is no such device.
    public borrowing func checkRights(over link: NetworkLink) throws(KernelError) {
        try change(link.index, "network device \(link.name)") { _ in }
    }

    /// Moves a device to another network namespace, where it is down, without addresses, and has this name.
    ///
    /// An error does not say where the device is: the kernel moves first, and may then find the name taken.
    public borrowing func move(_ index: Int32, to namespace: borrowing FileDescriptor, as name: String) throws(KernelError) {
        let file = namespace.rawValue
        try change(index, "network device \(name)") {
            $0.attribute(Self.namespaceFile, hostOrder(UInt32(bitPattern: file)))
            $0.attribute(Self.interfaceName, text: name)
        }
    }

    public borrowing func setUp(_ index: Int32) throws(KernelError) {
        let message = NetlinkMessage(type: Self.setLink, flags: [.request, .acknowledge], fixedPart: Self.interface(index, up: true))
        try socket.transact([message], awaiting: 1, subject: "network device \(index)")
    }

    /// Makes a device a port of another one.
    public borrowing func setMaster(of index: Int32, to master: Int32) throws(KernelError) {
        try change(index, "network device \(index)") { $0.attribute(Self.masterDevice, hostOrder(UInt32(bitPattern: master))) }
    }

    /// The addresses that a device keeps wherever it goes, in the kernel's order: an IPv4 network's first one stays its first.
    public borrowing func permanentAddresses(of index: Int32) throws(KernelError) -> [PermanentAddress] {
        // struct ifaddrmsg: family (0: all), prefix length, flags, scope, index.
        let request = NetlinkMessage(type: Self.getAddress, flags: [.request, .dump], fixedPart: [0, 0, 0, 0] + hostOrder(UInt32(0)))
        let replies = try socket.dump(request, subject: "addresses of network devices")
        return replies.filter { $0.type == Self.newAddress }.compactMap { Self.permanentAddress($0.body, of: index) }
    }

    public borrowing func add(_ address: PermanentAddress, to index: Int32) throws(KernelError) {
        try socket.transact([Self.addition(of: address, to: index)], awaiting: 1, subject: "address of network device \(index)")
    }

    private borrowing func change(_ index: Int32, _ subject: String, _ attributes: (inout NetlinkMessage) -> Void) throws(KernelError) {
        var message = NetlinkMessage(type: Self.setLink, flags: [.request, .acknowledge], fixedPart: Self.interface(index))
        attributes(&message)
        try socket.transact([message], awaiting: 1, subject: subject)
    }

    /// struct ifinfomsg: family, padding, type, index, flags, mask of changed flags.
    private static func interface(_ index: Int32, up: Bool = false) -> [UInt8] {
        let flags = hostOrder(up ? interfaceUp : 0)
        return [0, 0] + hostOrder(UInt16(0)) + hostOrder(index) + flags + flags
    }

    static func link(_ body: ArraySlice<UInt8>) -> NetworkLink? {
        var reader = NetlinkReader(body)
        guard reader.take(4) != nil, let index = reader.next(Int32.self), let flags = reader.next(UInt32.self), reader.take(4) != nil else {
            return nil
        }
        let attributes = reader.attributes()
        guard let name = attributes[interfaceName]?.prefix(while: { $0 != 0 }) else { return nil }
        var master: Int32 = 0
        if let bytes = attributes[masterDevice] {
            var value = NetlinkReader(bytes)
            master = value.next(Int32.self) ?? 0
        }
        return NetworkLink(
            index: index, name: String(decoding: name, as: UTF8.self), isUp: flags & interfaceUp != 0, isLoopback: flags & loopback != 0,
            master: master)
    }

    static func permanentAddress(_ body: ArraySlice<UInt8>, of index: Int32) -> PermanentAddress? {
        var reader = NetlinkReader(body)
        guard
            let family = reader.next(UInt8.self), let length = reader.next(UInt8.self), let short = reader.next(UInt8.self),
            let scope = reader.next(UInt8.self), reader.next(Int32.self) == index
        else { return nil }
        let attributes = reader.attributes()
        var flags = UInt32(short)
        if let bytes = attributes[addressFlags] {
            var value = NetlinkReader(bytes)
            flags = value.next(UInt32.self) ?? flags
        }
        guard scope == 0, flags & permanent != 0 else { return nil }
        var kept: [UInt16: [UInt8]] = [:]
        for type in keptAttributes { kept[type] = attributes[type].map { Array($0) } }
        return PermanentAddress(family: family, prefixLength: length, flags: flags & givenFlags, attributes: kept)
    }

    static func addition(of address: PermanentAddress, to index: Int32) -> NetlinkMessage {
        var message = NetlinkMessage(
            type: newAddress, flags: [.request, .acknowledge, .create, .exclusive],
            fixedPart: [address.family, address.prefixLength, 0, 0] + hostOrder(index))
        for type in keptAttributes { if let bytes = address.attributes[type] { message.attribute(type, bytes) } }
        message.attribute(addressFlags, hostOrder(address.flags))
        return message
    }
}
