import LinuxKernel
import OCISpec

/// The command line of pasta(1), for the version of Debian 12 (March 2023) and every newer one.
enum PastaArguments {
    /// The whole argument vector, the program's name included.
    ///
    /// The namespaces to join are its standard input and output, and its PID goes to standard error: a descriptor names one
    /// namespace for good, where `/proc/PID/ns` would need ptrace access and may by then be another process's. Newer versions
    /// close every other descriptor when they start.
    ///
    /// - Parameter identity: user and group to become, or nil to stay.
    static func vector(
        network: OutboundNetwork, addresses: ContainerAddresses, identity: PastaIdentity?
    ) -> [String] {
        var result = [
            "pasta", "--quiet",
            "--userns", "/proc/self/fd/0", "--netns", "/proc/self/fd/1", "--pid", "/proc/self/fd/2",
            // The namespaces are no files whose removal could be watched. The monitor ends pasta.
            "--no-netns-quit",
            "--config-net", "--ns-ifname", ContainerAddresses.interfaceName,
            // Without this the gateway's address leads to the host's loopback.
            "--no-map-gw",
            // Nothing is asked of these inside: addresses are set by --config-net.
            "--no-dhcp", "--no-dhcpv6", "--no-ra",
            "--address", "\(addresses.ipv4)", "--netmask", "\(addresses.ipv4PrefixLength)",
            "--gateway", "\(addresses.ipv4Gateway)",
        ]
        if let address = addresses.ipv6, let gateway = addresses.ipv6Gateway {
            result += ["--address", "\(address)", "--gateway", "\(gateway)"]
        } else {
            result.append("--ipv4-only")
        }
        if let identity { result += ["--runas", "\(identity.user):\(identity.group)"] }
        if let server = network.dnsForwardAddress { result += ["--dns-forward", server] }
        result += publishing(network.ports, .tcp, option: "-t") + publishing(network.ports, .udp, option: "-u")
        // From the container's loopback to the host's: never.
        return result + ["-T", "none", "-U", "none"]
    }

    /// One option for each port: of several in one option, pasta takes any one that can be bound for success.
    private static func publishing(
        _ ports: [OutboundNetwork.PublishedPort], _ transport: OutboundNetwork.PublishedPort.TransportProtocol, option: String
    ) -> [String] {
        let chosen = ports.filter { $0.transport == transport }
        return chosen.isEmpty ? [option, "none"] : chosen.flatMap { [option, specification($0)] }
    }

    static func specification(_ port: OutboundNetwork.PublishedPort) -> String {
        "\(port.hostAddress)/\(port.hostPort):\(port.containerPort)"
    }
}

/// A user and group ID of the initial or the owner user namespace.
struct PastaIdentity: Sendable, Equatable {
    var user: UInt32
    var group: UInt32

    /// nobody, as which nothing is owned.
    static let nobody = PastaIdentity(user: 65534, group: 65534)
    static let root = PastaIdentity(user: 0, group: 0)
}
