import Glibc

/// A netlink message under construction: a header, a fixed part, then attributes (netlink(7)).
///
/// Numbers of the header are in host byte order; what an attribute holds is said by each call. Every attribute is padded to
/// four bytes.
public struct NetlinkMessage: Sendable, Equatable {
    /// Flags of `nlmsghdr` (linux/netlink.h).
    public struct Flags: OptionSet, Sendable, Equatable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }

        public static let request = Flags(rawValue: 0x001)
        public static let acknowledge = Flags(rawValue: 0x004)
        /// NLM_F_ROOT | NLM_F_MATCH: the whole table.
        public static let dump = Flags(rawValue: 0x300)
        public static let create = Flags(rawValue: 0x400)
        public static let exclusive = Flags(rawValue: 0x200)
        public static let append = Flags(rawValue: 0x800)
    }

    static let headerLength = 16
    static let nested: UInt16 = 0x8000  // NLA_F_NESTED

    /// The message as the kernel reads it, but for its length and sequence number, which are filled in by `encoded`.
    private var bytes: [UInt8]

    /// - Parameter fixedPart: the structure that follows the header (`ifaddrmsg`, `nfgenmsg`, …).
    public init(type: UInt16, flags: Flags, fixedPart: [UInt8]) {
        bytes = [0, 0, 0, 0]
        bytes += hostOrder(type)
        bytes += hostOrder(flags.rawValue)
        bytes += [0, 0, 0, 0] + [0, 0, 0, 0]  // sequence number; port 0: the kernel
        bytes += fixedPart
        pad()
    }

    /// An attribute of raw bytes.
    public mutating func attribute(_ type: UInt16, _ value: [UInt8]) {
        bytes += hostOrder(UInt16(4 + value.count)) + hostOrder(type) + value
        pad()
    }

    /// An attribute of text, ended by a zero byte.
    public mutating func attribute(_ type: UInt16, text: String) { attribute(type, Array(text.utf8) + [0]) }

    /// An attribute of a 32-bit number in network byte order, as nf_tables wants all numbers.
    public mutating func attribute(_ type: UInt16, bigEndian value: UInt32) { attribute(type, networkOrder(value)) }

    /// An attribute that holds attributes.
    public mutating func nest(_ type: UInt16, _ body: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        bytes += [0, 0] + hostOrder(type | NetlinkMessage.nested)
        body(&self)
        bytes.replaceSubrange(start..<start + 2, with: hostOrder(UInt16(bytes.count - start)))
    }

    /// The finished message.
    public func encoded(sequence: UInt32) -> [UInt8] {
        var result = bytes
        result.replaceSubrange(0..<4, with: hostOrder(UInt32(bytes.count)))
        result.replaceSubrange(8..<12, with: hostOrder(sequence))
        return result
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }
}

/// The bytes of a number in the byte order of this machine.
func hostOrder(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

/// The bytes of a number in network byte order.
func networkOrder(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

/// Reads numbers and attributes out of what the kernel sent. Nothing is read beyond the end.
struct NetlinkReader {
    private let bytes: ArraySlice<UInt8>
    private var offset: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        offset = bytes.startIndex
    }

    /// The next number in host byte order, or nil at the end.
    mutating func next<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        guard let part = take(MemoryLayout<Number>.size) else { return nil }
        var number = Number.zero
        withUnsafeMutableBytes(of: &number) { $0.copyBytes(from: part) }
        return number
    }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, bytes.endIndex - offset >= count else { return nil }
        defer { offset += count }
        return bytes[offset..<offset + count]
    }

    /// The attributes that follow, by type without flags; of a type that comes twice, the last.
    mutating func attributes() -> [UInt16: ArraySlice<UInt8>] {
        var result: [UInt16: ArraySlice<UInt8>] = [:]
        while let length = next(UInt16.self), let type = next(UInt16.self), length >= 4, let value = take(Int(length) - 4) {
            result[type & 0x3fff] = value
            offset = min(offset + (4 - Int(length) % 4) % 4, bytes.endIndex)
        }
        return result
    }
}

/// A netlink socket of the network namespace that it was opened in; it stays with that namespace wherever its owner goes.
///
/// The kernel checks the capabilities both of who opened it and of who sends (CVE-2014-0181).
public struct NetlinkSocket: ~Copyable, Sendable {
    public enum Family: Int32, Sendable {
        case route = 0  // NETLINK_ROUTE
        case netfilter = 12  // NETLINK_NETFILTER
    }

    /// One message from the kernel.
    struct Reply {
        var type: UInt16
        var flags: UInt16
        var sequence: UInt32
        var body: ArraySlice<UInt8>
    }

    static let errorType: UInt16 = 2  // NLMSG_ERROR
    static let doneType: UInt16 = 3  // NLMSG_DONE
    static let dumpInterrupted: UInt16 = 0x10  // NLM_F_DUMP_INTR

    private static let afNetlink: Int32 = 16
    private static let solNetlink: Int32 = 270
    private static let shortAcknowledgements: Int32 = 10  // NETLINK_CAP_ACK: an error does not repeat the request
    private static let strictChecks: Int32 = 12  // NETLINK_GET_STRICT_CHK: filters of a dump are honoured (Linux 4.20)

    /// The socket, to wait on with poll(2) or to hand to another process.
    public let descriptor: FileDescriptor

    /// Takes a socket over that another process opened in its network namespace.
    public init(owning descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

    /// Opens a socket in the caller's network namespace.
    ///
    /// - Parameter groups: a mask of multicast groups (RTMGRP_*) to be told about; 0 for none.
    public init(_ family: Family, groups: UInt32 = 0) throws(KernelError) {
        let number = try retrying("socket", "netlink") {
            socket(Self.afNetlink, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), family.rawValue)
        }
        let opened = FileDescriptor(owning: number)
        var one: Int32 = 1
        for option in [Self.shortAcknowledgements, Self.strictChecks] {
            try retrying("setsockopt", "netlink") { setsockopt(number, Self.solNetlink, option, &one, 4) }
        }
        // struct sockaddr_nl: family, padding, port (0: the kernel chooses), groups.
        let address = hostOrder(UInt16(Self.afNetlink)) + [0, 0] + hostOrder(UInt32(0)) + hostOrder(groups)
        try retrying("bind", "netlink") {
            address.withUnsafeBytes { raw in
                guard let base = raw.baseAddress else { return Int32(-1) }
                return bind(number, base.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
            }
        }
        descriptor = opened
    }

    /// Gives the socket up.
    public consuming func releaseDescriptor() -> FileDescriptor { descriptor }

    /// Sends messages in one datagram, numbered from 1. What an exchange that failed left unread is thrown away first: it must
    /// not be taken for an answer to this one.
    borrowing func send(_ messages: [NetlinkMessage]) throws(KernelError) {
        while try receive(wait: false) != nil {}
        var datagram: [UInt8] = []
        for (index, message) in messages.enumerated() { datagram += message.encoded(sequence: UInt32(index + 1)) }
        try retrying("send", "netlink") { Glibc.send(descriptor.rawValue, datagram, datagram.count, 0) }
    }

    /// Receives one datagram, which may hold several messages.
    ///
    /// - Parameter wait: false answers nil at once when nothing has arrived.
    borrowing func receive(wait: Bool = true) throws(KernelError) -> [Reply]? {
        let limit = 65536
        let flags = (wait ? 0 : Int32(MSG_DONTWAIT)) | Int32(MSG_TRUNC)
        let raw = descriptor.rawValue
        let bytes: [UInt8]
        do throws(KernelError) {
            bytes = try [UInt8](ofAtMost: limit) { buffer throws(KernelError) in
                let length = try retrying("recv", "netlink") { recv(raw, buffer.baseAddress, limit, flags) }
                guard length <= limit else { throw KernelError(call: "recv", errno: EMSGSIZE, subject: "netlink") }
                return length
            }
        } catch {
            if !wait && error.errno == EAGAIN { return nil }
            throw error
        }
        return try Self.messages(in: bytes[...])
    }

    /// Splits a datagram into its messages.
    static func messages(in datagram: ArraySlice<UInt8>) throws(KernelError) -> [Reply] {
        var result: [Reply] = []
        var rest = datagram
        while !rest.isEmpty {
            var reader = NetlinkReader(rest)
            guard
                let length = reader.next(UInt32.self), let type = reader.next(UInt16.self), let flags = reader.next(UInt16.self),
                let sequence = reader.next(UInt32.self), reader.next(UInt32.self) != nil,
                length >= NetlinkMessage.headerLength, let body = reader.take(Int(length) - NetlinkMessage.headerLength)
            else { throw KernelError(call: "recv", errno: EBADMSG, subject: "netlink") }
            result.append(Reply(type: type, flags: flags, sequence: sequence, body: body))
            rest = rest.dropFirst((Int(length) + 3) & ~3)
        }
        return result
    }

    /// The error number that an NLMSG_ERROR carries; 0 is an acknowledgement.
    static func errorNumber(_ reply: Reply) -> Int32 {
        var reader = NetlinkReader(reply.body)
        guard let number = reader.next(Int32.self) else { return EBADMSG }
        return -number
    }

    /// Sends messages of which each asks for an acknowledgement, and waits for all of them.
    ///
    /// - Throws: the first error that the kernel reports, with `subject`.
    public borrowing func transact(_ messages: [NetlinkMessage], awaiting count: Int, subject: String) throws(KernelError) {
        try send(messages)
        var outstanding = count
        while outstanding > 0 {
            guard let replies = try receive() else { continue }
            for reply in replies where reply.type == Self.errorType {
                let number = Self.errorNumber(reply)
                if number != 0 { throw KernelError(call: "netlink", errno: number, subject: subject) }
                outstanding -= 1
            }
        }
    }

    /// Asks for a whole table, again when it changed while it was read.
    borrowing func dump(_ request: NetlinkMessage, subject: String) throws(KernelError) -> [Reply] {
        for _ in 0..<16 {
            try send([request])
            var result: [Reply] = []
            var interrupted = false
            var done = false
            while !done {
                guard let replies = try receive() else { continue }
                for reply in replies {
                    interrupted = interrupted || reply.flags & Self.dumpInterrupted != 0
                    switch reply.type {
                    case Self.doneType: done = true
                    case Self.errorType:
                        throw KernelError(call: "netlink", errno: Self.errorNumber(reply), subject: subject)
                    default: result.append(reply)
                    }
                }
            }
            if !interrupted { return result }
        }
        throw KernelError(call: "netlink", errno: EBUSY, subject: subject)
    }
}
