/// One expression of an nf_tables rule. A rule's expressions run in order; the first comparison that fails ends the rule.
///
/// Values pass through register 1. Numbers are those of linux/netfilter/nf_tables.h.
public struct NfTablesExpression: Sendable, Equatable {
    /// What the packet's metadata offers (`enum nft_meta_keys`).
    public enum Metadata: UInt32, Sendable {
        case outputInterfaceName = 7
        /// NFPROTO_IPV4 (2) or NFPROTO_IPV6 (10), one byte.
        case networkProtocol = 15
        /// IPPROTO_*, one byte.
        case transportProtocol = 16
    }

    /// Which header of the packet bytes are read from (`enum nft_payload_bases`).
    public enum Header: UInt32, Sendable {
        case network = 1
        case transport = 2
    }

    /// How a value is compared (`enum nft_cmp_ops`). Order is that of the bytes.
    public enum Comparison: UInt32, Sendable {
        case equal = 0
        case notEqual = 1
        case atMost = 3
        case atLeast = 5
    }

    private static let register: UInt32 = 1
    private static let verdictRegister: UInt32 = 0
    private static let valueAttribute: UInt16 = 1
    private static let verdictAttribute: UInt16 = 2

    private let name: String
    private var body: NestedAttributes

    func append(to list: inout NetlinkMessage) {
        list.nest(1) {
            $0.attribute(1, text: name)
            $0.nest(2) { message in body.write(&message) }
        }
    }

    /// Loads metadata.
    public static func load(_ key: Metadata) -> NfTablesExpression {
        NfTablesExpression(name: "meta", body: [.number(1, register), .number(2, key.rawValue)])
    }

    /// Loads `length` bytes (1…16) of a header from `offset` on.
    public static func load(_ header: Header, offset: UInt32, length: UInt32) -> NfTablesExpression {
        NfTablesExpression(
            name: "payload",
            body: [.number(1, register), .number(2, header.rawValue), .number(3, offset), .number(4, length)])
    }

    /// Loads the direction of the packet within its connection: 0 as the connection was opened, 1 the reply.
    public static let loadConnectionDirection = NfTablesExpression(name: "ct", body: [.number(1, register), .number(2, 1)])

    /// Goes on only if the loaded bytes compare so.
    public static func require(_ comparison: Comparison, _ value: [UInt8]) -> NfTablesExpression {
        NfTablesExpression(
            name: "cmp",
            body: [.number(1, register), .number(2, comparison.rawValue), .nest(3, [.bytes(valueAttribute, value)])])
    }

    /// Clears the bits that `mask` does not have.
    public static func mask(_ mask: [UInt8]) -> NfTablesExpression {
        NfTablesExpression(
            name: "bitwise",
            body: [
                .number(1, register), .number(2, register), .number(3, UInt32(mask.count)),
                .nest(4, [.bytes(valueAttribute, mask)]),
                .nest(5, [.bytes(valueAttribute, mask.map { _ in 0 })]),
            ])
    }

    /// Goes on only if the loaded bytes are in the set.
    public static func requireMember(of set: String) -> NfTablesExpression {
        NfTablesExpression(name: "lookup", body: [.text(1, set), .number(2, register)])
    }

    /// Lets the packet pass.
    public static let accept = NfTablesExpression(
        name: "immediate", body: [.number(1, verdictRegister), .nest(2, [.nest(verdictAttribute, [.number(1, 1)])])])

    /// Drops the packet and tells the sender at once, "communication administratively prohibited": a program inside gets
    /// an error and does not wait for a time-out.
    public static let reject = NfTablesExpression(
        name: "reject", body: [.number(1, 2), .bytes(2, [3])])  // NFT_REJECT_ICMPX_UNREACH, _ADMIN_PROHIBITED
}

/// Attributes as a value, written out when the message is built.
private struct NestedAttributes: Sendable, Equatable, ExpressibleByArrayLiteral {
    indirect enum Attribute: Sendable, Equatable {
        case number(UInt16, UInt32)
        case bytes(UInt16, [UInt8])
        case text(UInt16, String)
        case nest(UInt16, [Attribute])
    }

    private let attributes: [Attribute]

    init(arrayLiteral elements: Attribute...) { attributes = elements }

    func write(_ message: inout NetlinkMessage) { Self.write(attributes, to: &message) }

    private static func write(_ attributes: [Attribute], to message: inout NetlinkMessage) {
        for attribute in attributes {
            switch attribute {
            case .number(let type, let value): message.attribute(type, bigEndian: value)
            case .bytes(let type, let value): message.attribute(type, value)
            case .text(let type, let value): message.attribute(type, text: value)
            case .nest(let type, let inner): message.nest(type) { write(inner, to: &$0) }
            }
        }
    }
}
