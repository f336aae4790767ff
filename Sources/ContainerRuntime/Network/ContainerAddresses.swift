import LinuxKernel

/// The addresses that a container with an outbound network gets.
///
/// Pasta would give it the host's own. Then "the host" and "myself" were one address inside, and nothing could close the one
/// without the other; so every container gets private addresses of its own. All containers get the same ones, each in a
/// network namespace of its own: nothing joins them.
public struct ContainerAddresses: Sendable, Equatable {
    /// The interface's name inside.
    public static let interfaceName = "eth0"
    /// Where pasta answers DNS queries for the host's resolver. Link-local, so that no real network routes it elsewhere.
    public static let dnsForward = IPAddress(169, 254, 1, 1)

    /// Networks of four addresses to choose from: the network's, the gateway's, the container's, broadcast.
    private static let candidates: [IPPrefix] = [
        IPAddress(10, 201, 173, 0), IPAddress(172, 29, 173, 0), IPAddress(192, 168, 173, 0), IPAddress(198, 18, 173, 0),
    ].compactMap { IPPrefix($0, length: 30) }

    /// fd63:6f66:6665:72::/64, a unique local network (RFC 4193).
    private static let ipv6Network: [UInt8] = [0xfd, 0x63, 0x6f, 0x66, 0x66, 0x65, 0, 0x72, 0, 0, 0, 0, 0, 0, 0]

    public let ipv4: IPAddress
    /// The prefix length of `ipv4`.
    public let ipv4PrefixLength: Int
    public let ipv4Gateway: IPAddress
    /// Nil where the host itself has no IPv6 beyond its links.
    public let ipv6: IPAddress?
    public let ipv6Gateway: IPAddress?

    /// Chooses addresses that are in no network of the host, so that all of those stay reachable.
    ///
    /// - Parameter host: the host's addresses, with their networks.
    public init(avoiding host: [NetlinkRoute.InterfaceAddress]) {
        let networks = host.compactMap { IPPrefix($0.address, length: $0.prefixLength) }
        let free = Self.candidates.first { candidate in !networks.contains { $0.length > 0 && $0.overlaps(candidate) } }
        let network = (free ?? Self.candidates[0]).first.bytes
        ipv4 = IPAddress(network[0], network[1], network[2], network[3] + 2)
        ipv4Gateway = IPAddress(network[0], network[1], network[2], network[3] + 1)
        ipv4PrefixLength = 30
        let hostHasIPv6 = host.contains { $0.address.family == .v6 && !$0.address.isLoopback && !$0.address.isLinkLocal }
        ipv6 = hostHasIPv6 ? IPAddress(bytes: Self.ipv6Network + [2]) : nil
        ipv6Gateway = hostHasIPv6 ? IPAddress(bytes: Self.ipv6Network + [1]) : nil
    }

    /// Where pasta answers DNS queries when the host has only IPv6 name servers.
    var ipv6DNSForward: IPAddress? { ipv6 == nil ? nil : IPAddress(bytes: Self.ipv6Network + [0x53]) }

    /// The gateways. Pasta would map them to the host's loopback, but for `--no-map-gw`.
    public var gateways: [IPAddress] { [ipv4Gateway] + (ipv6Gateway.map { [$0] } ?? []) }
}
