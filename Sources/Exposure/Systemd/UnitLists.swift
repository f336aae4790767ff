/// `SystemCallFilter=`: an allow-list or a deny-list, whichever the first line says.
public struct SyscallList: Sendable, Equatable {
    public private(set) var isAllowList = false
    /// Calls of the list; true when only an error number was chosen for a call that an allow-list names.
    public private(set) var calls: [String: Bool] = [:]
    public private(set) var isSet = false

    mutating func assign(_ value: String, _ groups: SystemdSyscalls) {
        if value.isEmpty {
            self = SyscallList()
            return
        }
        let inverted = value.hasPrefix("~")
        if !isSet {
            isSet = true
            isAllowList = !inverted
            if isAllowList { for call in groups.members(of: "@default") { calls[call] = false } }
        }
        for word in (inverted ? value.dropFirst() : Substring(value)).split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            // A number or name of an error after a colon; what is none makes systemd pass the word over.
            if parts.count == 2, !ErrorName.isKnown(parts[1]) { continue }
            for call in groups.members(of: String(parts[0])) {
                if inverted == isAllowList {
                    calls[call] = nil
                } else if calls[call] != false {
                    // What is once let through plainly stays so, whatever error is named for it (measured, 252).
                    calls[call] = parts.count == 2
                }
            }
        }
    }

    /// Whether the program can make the call.
    public func lets(_ call: String) -> Bool {
        if !isSet { return true }
        guard let errorOnly = calls[call] else { return !isAllowList }
        return isAllowList ? !errorOnly : false
    }
}

/// Names and numbers that may stand after the colon in `SystemCallFilter=call:ERROR`.
enum ErrorName {
    static func isKnown(_ text: Substring) -> Bool {
        if text == "kill" { return true }
        if let number = UInt16(text) { return number > 0 && number <= 4095 }
        return text.first == "E" && text.count > 2 && text.utf8.allSatisfy { (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) }
    }
}

/// `RestrictAddressFamilies=`
public struct FamilyList: Sendable, Equatable {
    public private(set) var isAllowList = false
    public private(set) var families: Set<String> = []
    private var isSet = false

    mutating func assign(_ value: String) {
        if value.isEmpty {
            self = FamilyList()
            return
        }
        if value == "none" {
            self = FamilyList()
            isAllowList = true
            return
        }
        let inverted = value.hasPrefix("~")
        if !isSet {
            isSet = true
            isAllowList = !inverted
        }
        for word in words(inverted ? String(value.dropFirst()) : value) {
            guard let family = Self.canonical(word) else { continue }
            if inverted != isAllowList { families.insert(family) } else { families.remove(family) }
        }
    }

    /// Whether systemd counts a family as shut out. It asks no more than whether the list names one of a row's families,
    /// whatever the list does to the others.
    public func excludes(_ row: FamilyRow) -> Bool {
        let named = families.contains { FamilyRow($0) == row }
        return named ? !isAllowList : isAllowList
    }

    private static func canonical(_ name: String) -> String? {
        guard name.hasPrefix("AF_") else { return nil }
        let short = String(name.dropFirst(3))
        return switch short {
        case "LOCAL", "FILE": "UNIX"
        case "ROUTE": "NETLINK"
        default: Self.known.contains(short) ? short : nil
        }
    }

    /// linux/socket.h, as of Linux 6.1.
    private static let known: Set<String> = [
        "UNIX", "INET", "AX25", "IPX", "APPLETALK", "NETROM", "BRIDGE", "ATMPVC", "X25", "INET6", "ROSE", "DECnet", "NETBEUI",
        "SECURITY", "KEY", "NETLINK", "PACKET", "ASH", "ECONET", "ATMSVC", "RDS", "SNA", "IRDA", "PPPOX", "WANPIPE", "LLC", "IB",
        "MPLS", "CAN", "TIPC", "BLUETOOTH", "IUCV", "RXRPC", "ISDN", "PHONET", "IEEE802154", "CAIF", "ALG", "NFC", "VSOCK",
        "KCM", "QIPCRTR", "SMC", "XDP", "MCTP",
    ]
}

/// The groups in which systemd's model counts address families.
public enum FamilyRow: Sendable, Equatable {
    case internet, unix, netlink, packet, other

    init(_ family: String) {
        self =
            switch family {
            case "INET", "INET6": .internet
            case "UNIX": .unix
            case "NETLINK": .netlink
            case "PACKET": .packet
            default: .other
            }
    }
}

/// An address and how many of its leading bits count.
public struct AddressPrefix: Sendable, Hashable {
    public let bytes: [UInt8]
    public let length: Int

    public init(bytes: [UInt8], length: Int) {
        self.length = length
        var masked = bytes
        for index in masked.indices {
            let kept = min(8, max(0, length - index * 8))
            masked[index] &= kept == 0 ? 0 : UInt8(truncatingIfNeeded: 0xFF << (8 - kept))
        }
        self.bytes = masked
    }

    public var isEverything: Bool { length == 0 }
    /// Of 127.0.0.0/8 or ::1, as systemd asks: by the address, not by the length.
    public var isLoopback: Bool { bytes.count == 4 ? bytes[0] == 127 : bytes == [UInt8](repeating: 0, count: 15) + [1] }

    /// A word of `IPAddressAllow=`: an address with or without a length, or a name of several; empty for what is none.
    static func parse(_ word: String) -> [AddressPrefix] {
        switch word {
        case "any": return [AddressPrefix(bytes: [0, 0, 0, 0], length: 0), v6([], 0)]
        case "localhost": return [AddressPrefix(bytes: [127, 0, 0, 0], length: 8), v6([], 128, last: 1)]
        case "link-local": return [AddressPrefix(bytes: [169, 254, 0, 0], length: 16), v6([0xFE, 0x80], 64)]
        case "multicast": return [AddressPrefix(bytes: [224, 0, 0, 0], length: 4), v6([0xFF], 8)]
        default: break
        }
        let parts = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let bytes = version4(first) ?? version6(first) else { return [] }
        guard parts.count == 2 else { return [AddressPrefix(bytes: bytes, length: bytes.count * 8)] }
        guard let length = Int(parts[1]), (0...bytes.count * 8).contains(length) else { return [] }
        return [AddressPrefix(bytes: bytes, length: length)]
    }

    private static func v6(_ head: [UInt8], _ length: Int, last: UInt8 = 0) -> AddressPrefix {
        AddressPrefix(bytes: head + [UInt8](repeating: 0, count: 15 - head.count) + [last], length: length)
    }

    private static func version4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { UInt8($0) }
        return parts.count == 4 && bytes.count == 4 ? bytes : nil
    }

    private static func version6(_ text: Substring) -> [UInt8]? {
        guard text.contains(":") else { return nil }
        var halves: [[UInt8]] = [[]]
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (position, part) in parts.enumerated() {
            if part.isEmpty {
                if position == 0 || position == parts.count - 1 { continue }
                halves.append([])
                continue
            }
            guard let number = UInt16(part, radix: 16) else { return nil }
            halves[halves.count - 1] += [UInt8(number >> 8), UInt8(number & 0xFF)]
        }
        if text.hasPrefix("::") || text.hasSuffix("::"), halves.count == 1 {
            halves = text.hasPrefix("::") ? [[], halves[0]] : [halves[0], []]
        }
        let given = halves.reduce(0) { $0 + $1.count }
        if halves.count == 1 { return given == 16 ? halves[0] : nil }
        guard halves.count == 2, given < 16 else { return nil }
        return halves[0] + [UInt8](repeating: 0, count: 16 - given) + halves[1]
    }
}
