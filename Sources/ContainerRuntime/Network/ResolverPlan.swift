import LinuxKernel

/// How names are resolved in a container with an outbound network: its resolv.conf(5), and what pasta forwards.
///
/// A server that a container may reach is named as it is: then both UDP and TCP work. One that is closed to it, which the
/// stub of systemd-resolved on 127.0.0.53 is, is reached through the address on which pasta takes queries, over UDP. Pasta
/// rewrites the sender of every answer of the server that it forwards to, so such a server is not named beside it.
public struct ResolverPlan: Sendable, Equatable {
    /// At most three, as resolv.conf(5) has it; empty when the host names none that can be used.
    public let nameservers: [IPAddress]
    /// What `OutboundNetwork.dnsForwardAddress` must be: one of `nameservers`, or nil when nothing needs forwarding.
    public let forward: IPAddress?
    /// The host's `search` and `options` lines.
    private let otherLines: [String]

    /// - Parameters:
    ///   - configuration: the host's /etc/resolv.conf. It decides which server pasta forwards to as well, which reads it too.
    ///   - host: addresses that are closed to the container.
    public init(configuration: [UInt8], host: HostAddresses) {
        let lines = String(decoding: configuration, as: UTF8.self).split(separator: "\n").map {
            $0.split { $0 == " " || $0 == "\t" || $0 == "\r" }
        }
        let named = lines.filter { $0.count > 1 && $0[0] == "nameserver" }.map { String($0[1]) }
        let closed = EgressRules.alwaysClosed + host.destinations
        let servers = named.compactMap { IPAddress($0) }
        let open = servers.filter { server in !closed.contains { $0.contains(server) } }
        otherLines = lines.filter { $0.first == "search" || $0.first == "options" }.map { $0.joined(separator: " ") }
        guard let first = servers.first, first != open.first else {
            forward = nil
            nameservers = Array(open.prefix(3))
            return
        }
        // Pasta forwards to the first server of the family that its own address has.
        let hasIPv4 = servers.contains { $0.family == .v4 }
        let address = hasIPv4 ? ContainerAddresses.dnsForward : host.containerAddresses.ipv6DNSForward
        let target = servers.first { $0.family == address?.family }
        forward = address
        nameservers = Array(((address.map { [$0] } ?? []) + open.filter { $0 != target }).prefix(3))
    }

    /// The container's resolv.conf.
    public var text: String {
        (nameservers.map { "nameserver \($0)" } + otherLines).map { $0 + "\n" }.joined()
    }
}
