/// One published port: `-p [IP:][HOST]:CONTAINER[/PROTOCOL]`.
public struct PortMapping: Sendable, Equatable, Codable {
    public enum TransportProtocol: String, Sendable, Codable { case tcp, udp }

    /// The host address the user named, or nil for the default, 127.0.0.1.
    public var hostAddress: String?
    /// nil asks for any free port.
    public var hostPort: UInt16?
    public var containerPort: UInt16
    public var transport: TransportProtocol

    public init(hostAddress: String?, hostPort: UInt16?, containerPort: UInt16, transport: TransportProtocol) {
        self.hostAddress = hostAddress
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.transport = transport
    }

    /// The address that is bound: what the user named, else the loopback address.
    public var boundAddress: String { hostAddress ?? "127.0.0.1" }

    /// Parses one `-p` value; a range gives one mapping per port.
    ///
    /// - Throws: `EngineError` that names the value.
    public static func parse(_ text: String) throws(EngineError) -> [PortMapping] {
        var rest = Substring(text)
        var transport = TransportProtocol.tcp
        if let slash = rest.lastIndex(of: "/") {
            let name = rest[rest.index(after: slash)...].lowercased()
            guard let value = TransportProtocol(rawValue: name) else {
                throw EngineError("invalid proto: \(name) in '\(text)'", remedy: "publish tcp or udp")
            }
            transport = value
            rest = rest[..<slash]
        }
        let (address, host, container) = try split(rest, of: text)
        let containerPorts = try range(container, of: text)
        var hostPorts: ClosedRange<UInt16>?
        if let host, !host.isEmpty { hostPorts = try range(host, of: text) }
        if let hostPorts, hostPorts.count != containerPorts.count {
            throw EngineError("invalid ranges specified for container and host ports: '\(text)'", remedy: "give both the same length")
        }
        return containerPorts.enumerated().map { offset, port in
            PortMapping(
                hostAddress: address, hostPort: hostPorts.map { $0.lowerBound + UInt16(offset) }, containerPort: port,
                transport: transport)
        }
    }

    /// Address, host port and container port, from the right: an IPv6 address in brackets may hold colons itself.
    private static func split(_ value: Substring, of text: String) throws(EngineError) -> (String?, Substring?, Substring) {
        guard let last = value.lastIndex(of: ":"), value.last != "]" else { return (nil, nil, value) }
        let container = value[value.index(after: last)...]
        let front = value[..<last]
        guard let middle = front.lastIndex(of: ":"), front.last != "]" else {
            if front.first == "[" || front.contains(".") {
                throw EngineError("invalid port: '\(text)'", remedy: "write IP:HOSTPORT:CONTAINERPORT")
            }
            return (nil, front, container)
        }
        var address = front[..<middle]
        if address.first == "[", address.last == "]" { address = address.dropFirst().dropLast() }
        guard isNetworkAddress(String(address)) else { throw EngineError("invalid IP address: \(address) in '\(text)'") }
        return (String(address), front[front.index(after: middle)...], container)
    }

    private static func range(_ value: Substring, of text: String) throws(EngineError) -> ClosedRange<UInt16> {
        let ends = value.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = ends.first.flatMap({ UInt16($0) }), let last = ends.last.flatMap({ UInt16($0) }), first > 0,
            first <= last
        else { throw EngineError("invalid containerPort or hostPort: '\(value)' in '\(text)'", remedy: "ports are 1…65535") }
        return first...last
    }
}
