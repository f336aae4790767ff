import Glibc

/// Whether the text is an IPv4 or IPv6 address (inet_pton(3)); never a lookup.
public func isNetworkAddress(_ text: String) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 16)
    return inet_pton(AF_INET, text, &buffer) == 1 || inet_pton(AF_INET6, text, &buffer) == 1
}

/// One `--add-host NAME:ADDRESS` (or `NAME=ADDRESS`).
public struct HostEntry: Sendable, Equatable, Codable {
    public let name: String
    public let address: String

    /// - Throws: `EngineError` that names the value.
    public init(parsing text: String) throws(EngineError) {
        guard let separator = text.firstIndex(where: { $0 == ":" || $0 == "=" }), separator != text.startIndex else {
            throw EngineError("bad format for add-host: '\(text)'", remedy: "write NAME:ADDRESS")
        }
        name = String(text[..<separator])
        var value = text[text.index(after: separator)...]
        if value.first == "[", value.last == "]" { value = value.dropFirst().dropLast() }
        address = String(value)
        if value == "host-gateway" {
            throw EngineError("add-host cannot use 'host-gateway'", remedy: "a container does not reach its host here; name an address")
        }
        guard isNetworkAddress(address) else { throw EngineError("invalid IP address in add-host: '\(address)'") }
        guard name.utf8.allSatisfy(HostName.allows) else { throw EngineError("invalid host name in add-host: '\(name)'") }
    }
}

/// Host names as `sethostname` and /etc/hosts can hold them.
public enum HostName {
    static func allows(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// - Throws: `EngineError` for a name that is empty, longer than 64 bytes (HOST_NAME_MAX) or has other characters.
    public static func validated(_ name: String) throws(EngineError) -> String {
        guard !name.isEmpty, name.utf8.count <= 64, name.utf8.allSatisfy(allows), name.first != "-" else {
            throw EngineError("invalid hostname: '\(name)'", remedy: "use at most 64 letters, digits, '-' and '.'")
        }
        return name
    }
}
