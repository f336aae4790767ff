import Glibc
import LinuxKernel
import OCISpec

/// Every address under which the host's own services answer, as the host's network namespace knows them now.
public struct HostAddresses: Sendable, Equatable {
    /// What the host delivers to itself: interface addresses, and ranges that local routes claim.
    public let destinations: Set<IPPrefix>
    /// Interface addresses with the networks that they are in.
    public let interfaces: [NetlinkRoute.InterfaceAddress]

    /// Reads them. To be called in the host's network namespace.
    public static func current() throws(KernelError) -> HostAddresses {
        HostAddresses(
            destinations: try NetlinkRoute.localDestinations(), interfaces: try NetlinkRoute.interfaceAddresses())
    }

    /// What a container on this host gets.
    public var containerAddresses: ContainerAddresses { ContainerAddresses(avoiding: interfaces) }
}

/// A container's network, as it is set up from inside its network namespace.
public enum ContainerNetwork {
    /// Brings `lo` up, with 127.0.0.1 and ::1.
    public static func configureLoopback() throws(KernelError) { try NetlinkRoute.bringUp("lo") }

    /// Waits until pasta has given the container its addresses and default routes. To be called in the container's network
    /// namespace.
    ///
    /// This comes before `PastaProcess.waitUntilReady`, by about two thirds of the time that pasta takes: published ports are
    /// bound by now, and what the payload sends waits in the interface's queue until pasta has filled its tables. The monitor
    /// waits for the rest and ends the container should that fail.
    ///
    /// - Parameters:
    ///   - addresses: what pasta was told to configure.
    ///   - timeout: milliseconds, each time that something changes.
    /// - Throws: ETIMEDOUT.
    public static func waitUntilConfigured(_ addresses: ContainerAddresses, timeout: Int32 = 10_000) throws(KernelError) {
        let subscription = try AddressSubscription(withRoutes: true)
        var waiting = pollfd(fd: subscription.pollDescriptor, events: Int16(POLLIN), revents: 0)
        while true {
            var complete = try NetlinkRoute.hasDefaultRoute(.v4)
            if addresses.ipv6 != nil && complete { complete = try NetlinkRoute.hasDefaultRoute(.v6) }
            if complete { return }
            if try retrying("poll", "network", { poll(&waiting, 1, timeout) }) == 0 {
                throw KernelError(call: "poll", errno: ETIMEDOUT, subject: "the container's network")
            }
            try subscription.drain()
        }
    }

    /// Closes the host to the container. To be called in the container's network namespace by a process of its outer user
    /// namespace, before the payload's namespace is made.
    ///
    /// - Returns: the rules; hand their descriptor to the monitor (`EgressRules.release()`), which keeps them current.
    /// - Throws: `KernelError`: the container must not start then.
    public static func closeHost(
        _ host: HostAddresses, network: OutboundNetwork
    ) throws(KernelError) -> EgressRules {
        let rules = try EgressRules()
        try rules.install(
            hostAddresses: closedDestinations(host), dnsForward: network.dnsForwardAddress.flatMap { IPAddress($0) },
            allowReplies: network.publishesDatagramsBeyondLoopback)
        return rules
    }

    /// Closes the host's addresses of now instead of those before.
    public static func update(_ rules: borrowing EgressRules, _ host: HostAddresses) throws(KernelError) {
        try rules.replace(hostAddresses: closedDestinations(host))
    }

    /// The host's addresses, and the gateways: were pasta to map these to the host's loopback, they would be closed still.
    private static func closedDestinations(_ host: HostAddresses) -> Set<IPPrefix> {
        host.destinations.union(host.containerAddresses.gateways.map { IPPrefix($0) })
    }
}

extension OutboundNetwork {
    /// Whether an answer over UDP may have to go to an address of the host: TCP needs no rule for that.
    var publishesDatagramsBeyondLoopback: Bool {
        ports.contains { $0.transport == .udp && !(IPAddress($0.hostAddress)?.isLoopback ?? false) }
    }
}
