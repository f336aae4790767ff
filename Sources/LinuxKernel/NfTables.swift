import Glibc

/// Changes to nf_tables of one network namespace, applied by the kernel all together or not at all (one "batch").
///
/// Spoken over netlink, so that no `nft` program is needed and nothing is parsed. Numbers are those of
/// linux/netfilter/nf_tables.h.
public struct NfTablesBatch: Sendable, Equatable {
    /// Where a base chain sits in the path of a packet.
    public enum Hook: UInt32, Sendable {
        case output = 3  // NF_INET_LOCAL_OUT
    }

    /// What a packet that no rule decided on comes to.
    public enum Policy: UInt32, Sendable {
        case drop = 0
        case accept = 1
    }

    private static let batchBegin: UInt16 = 0x10
    private static let batchEnd: UInt16 = 0x11
    private static let subsystem: UInt16 = 10  // NFNL_SUBSYS_NFTABLES
    private static let familyInet: UInt8 = 1  // NFPROTO_INET: IPv4 and IPv6 in one table
    /// Elements per message: an attribute holds at most 65,535 bytes, and an interval takes two elements of 40 at most.
    private static let intervalsPerMessage = 500

    private enum Message: UInt16 {
        case newTable = 0
        case newChain = 3
        case newRule = 6
        case newSet = 9
        case newSetElements = 12
        case deleteSetElements = 14
    }

    private let table: String
    private var messages: [NetlinkMessage] = []
    private var sets: UInt32 = 0

    /// - Parameter table: the name of the table of family `inet` that all changes are made in.
    public init(table: String) { self.table = table }

    /// Adds the table.
    public mutating func addTable() {
        append(.newTable, [.create]) { _ in }
    }

    /// Adds a set of address ranges; `setIntervals` fills it.
    public mutating func addIntervalSet(_ name: String, of family: IPAddress.Family) {
        sets += 1
        let number = sets
        append(.newSet, [.create]) {
            $0.attribute(2, text: name)
            $0.attribute(3, bigEndian: 4)  // NFT_SET_INTERVAL
            $0.attribute(4, bigEndian: family == .v4 ? 7 : 8)  // nft's own type numbers, for its listings
            $0.attribute(5, bigEndian: UInt32(family.length))
            $0.attribute(10, bigEndian: number)  // NFTA_SET_ID, unique within the batch
        }
    }

    /// Puts exactly these ranges into a set, whatever it held.
    public mutating func setIntervals(_ intervals: [AddressInterval], of name: String) {
        append(.deleteSetElements, []) {  // without elements: all of them
            $0.attribute(2, text: name)
        }
        var rest = intervals[...]
        while !rest.isEmpty {
            let part = rest.prefix(Self.intervalsPerMessage)
            rest = rest.dropFirst(part.count)
            append(.newSetElements, [.create]) {
                $0.attribute(2, text: name)
                $0.nest(3) { list in
                    for interval in part { Self.appendElements(of: interval, to: &list) }
                }
            }
        }
    }

    /// Adds a chain that sees every packet at `hook`.
    public mutating func addChain(_ name: String, at hook: Hook, policy: Policy) {
        append(.newChain, [.create]) {
            $0.attribute(3, text: name)
            $0.nest(4) {
                $0.attribute(1, bigEndian: hook.rawValue)
                $0.attribute(2, bigEndian: 0)  // priority "filter"
            }
            $0.attribute(5, bigEndian: policy.rawValue)
            $0.attribute(7, text: "filter")
        }
    }

    /// Adds a rule at the end of a chain.
    public mutating func addRule(to chain: String, _ expressions: [NfTablesExpression]) {
        append(.newRule, [.create, .append]) {
            $0.attribute(2, text: chain)
            $0.nest(4) { list in
                for expression in expressions { expression.append(to: &list) }
            }
        }
    }

    /// Applies all changes to the network namespace of `socket`.
    ///
    /// - Throws: EPERM without CAP_NET_ADMIN over the namespace; ENOENT, EOPNOTSUPP where the kernel lacks what a rule needs.
    ///   Nothing is changed then.
    public func commit(on socket: borrowing NetlinkSocket) throws(KernelError) {
        try socket.transact(
            datagram, awaiting: messages.count, subject: "nf_tables table inet \(table)")
    }

    /// All messages, framed as a batch.
    var datagram: [NetlinkMessage] {
        // struct nfgenmsg: family, version, resource ID (for a batch: the subsystem).
        let frame = [0, 0] + networkOrder(Self.subsystem)
        return [NetlinkMessage(type: Self.batchBegin, flags: .request, fixedPart: frame)] + messages
            + [NetlinkMessage(type: Self.batchEnd, flags: .request, fixedPart: frame)]
    }

    private mutating func append(_ kind: Message, _ flags: NetlinkMessage.Flags, _ body: (inout NetlinkMessage) -> Void) {
        var message = NetlinkMessage(
            type: Self.subsystem << 8 | kind.rawValue, flags: flags.union([.request, .acknowledge]),
            fixedPart: [Self.familyInet, 0, 0, 0])
        message.attribute(1, text: table)  // NFTA_*_TABLE is 1 in every kind of message
        body(&message)
        messages.append(message)
    }

    /// An interval is its first address, and the one after its last with a flag. One that reaches the family's last address
    /// has no end.
    private static func appendElements(of interval: AddressInterval, to list: inout NetlinkMessage) {
        list.nest(1) { $0.nest(1) { $0.attribute(1, interval.first) } }
        guard let end = interval.end else { return }
        list.nest(1) {
            $0.nest(1) { $0.attribute(1, end) }
            $0.attribute(3, bigEndian: 1)  // NFT_SET_ELEM_INTERVAL_END
        }
    }
}

/// A contiguous range of addresses of one family.
public struct AddressInterval: Sendable, Equatable {
    /// The lowest address, in network byte order.
    public let first: [UInt8]
    /// The address after the highest, or nil when the highest is the family's last.
    public let end: [UInt8]?

    /// The fewest intervals that cover the prefixes of `family`, in order and without overlap, as the kernel wants them.
    public static func covering(_ prefixes: some Sequence<IPPrefix>, of family: IPAddress.Family) -> [AddressInterval] {
        let ranges = prefixes.filter { $0.first.family == family }
            .map { (first: $0.first.bytes, last: $0.lastBytes) }
            .sorted { $0.first.lexicographicallyPrecedes($1.first) }
        var result: [AddressInterval] = []
        for range in ranges {
            let end = successor(of: range.last)
            guard let previous = result.last else {
                result.append(AddressInterval(first: range.first, end: end))
                continue
            }
            guard let previousEnd = previous.end else { break }  // all the rest is covered
            if previousEnd.lexicographicallyPrecedes(range.first) {
                result.append(AddressInterval(first: range.first, end: end))
            } else if end.map({ previousEnd.lexicographicallyPrecedes($0) }) ?? true {
                result[result.count - 1] = AddressInterval(first: previous.first, end: end)
            }
        }
        return result
    }

    /// The next address, or nil after the last.
    private static func successor(of address: [UInt8]) -> [UInt8]? {
        var result = address
        for index in result.indices.reversed() {
            result[index] &+= 1
            if result[index] != 0 { return result }
        }
        return nil
    }
}
