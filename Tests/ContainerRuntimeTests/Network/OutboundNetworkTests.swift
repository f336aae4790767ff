import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ContainerRuntime

/// The network of a container for real, with canaries: what must be closed is shown to be reachable without the rules.
@Suite(
    .serialized,
    .enabled("needs root, pasta and iproute2") {
        geteuid() == 0 && access("/usr/bin/pasta", X_OK) == 0 && access("/sbin/ip", X_OK) == 0
    })
struct OutboundNetworkTests {
    private func network(
        _ ports: [OutboundNetwork.PublishedPort] = [], forward: String? = "169.254.1.1", pasta: String = "/usr/bin/pasta"
    ) -> OutboundNetwork {
        OutboundNetwork(ports: ports, pastaPath: pasta, dnsForwardAddress: forward, closeHost: true)
    }

    private func port(
        _ address: String, _ host: UInt16, _ container: UInt16,
        _ transport: OutboundNetwork.PublishedPort.TransportProtocol = .tcp
    ) -> OutboundNetwork.PublishedPort {
        .init(hostAddress: address, hostPort: host, containerPort: container, transport: transport)
    }

    /// Installs the rules in the container; the socket stays open and works from outside, as the monitor uses it.
    private func close(_ host: HostAddresses, in test: TestNetwork, _ network: OutboundNetwork) throws -> EgressRules {
        EgressRules(
            owning: FileDescriptor(
                owning: try test.inside(test.container) {
                    try ContainerNetwork.configureLoopback()
                    return try ContainerNetwork.closeHost(host, network: network).release().release()
                }))
    }

    private let hostCanaries = ["192.0.2.2", "fd00:2::2", "169.254.169.254"]

    @Test func theHostAndItsMetadataServiceAreClosedAndTheWorldIsOpen() throws {
        let test = try TestNetwork()
        let onHost = try test.listen("192.0.2.2", 7001, in: test.host)
        let onHostIPv6 = try test.listen("fd00:2::2", 7001, in: test.host)
        let metadata = try test.listen("169.254.169.254", 7001, in: test.world)
        let loopback = try test.listen("127.0.0.1", 7001, in: test.host)
        let world = try test.listen("203.0.113.7", 7001, in: test.world)
        let worldIPv6 = try test.listen("fd00:2::1", 7001, in: test.world)
        try test.connect(network())
        for canary in hostCanaries {
            #expect(try test.connectError(canary, 7001, from: test.container) == nil, "\(canary) must be open without rules")
        }
        let host = try test.hostAddresses()
        let rules = try close(host, in: test, network())
        for canary in hostCanaries {
            // Refused at once, not left to time out.
            let reasons = [EHOSTUNREACH, EACCES]
            #expect(reasons.contains(try test.connectError(canary, 7001, from: test.container) ?? 0), "\(canary)")
        }
        for gateway in host.containerAddresses.gateways + [IPAddress(127, 0, 0, 1)] {
            #expect(try test.connectError("\(gateway)", 7001, from: test.container) != nil, "\(gateway)")
        }
        #expect(try test.connectError("203.0.113.7", 7001, from: test.container) == nil)
        #expect(try test.connectError("fd00:2::1", 7001, from: test.container) == nil)
        withExtendedLifetime(rules) {}
        for descriptor in [onHost.rawValue, onHostIPv6.rawValue, metadata.rawValue, loopback.rawValue, world.rawValue, worldIPv6.rawValue] {
            #expect(descriptor > 2)
        }
    }

    @Test func anAddressThatTheHostGetsLaterIsClosedToo() throws {
        let test = try TestNetwork()
        try test.connect(network())
        let rules = try close(try test.hostAddresses(), in: test, network())
        let subscription = try test.inside(test.host) { try SubscriptionBox() }
        #expect(try !subscription.changed())
        try test.inside(test.host) { try run("ip addr add 192.0.2.77/24 dev up0") }
        let late = try test.listen("192.0.2.77", 7001, in: test.host)
        #expect(try test.connectError("192.0.2.77", 7001, from: test.container) == nil)
        #expect(try subscription.changed())
        try ContainerNetwork.update(rules, try test.hostAddresses())
        #expect(try test.connectError("192.0.2.77", 7001, from: test.container) == EHOSTUNREACH)
        #expect(try test.connectError("192.0.2.2", 7001, from: test.container) == EHOSTUNREACH)
        #expect(late.rawValue > 2)
    }

    @Test func anUpdateThatFailsDoesNotCountForTheNext() throws {
        let test = try TestNetwork()
        let host = try test.hostAddresses()
        let rules = try EgressRules(
            owning: FileDescriptor(owning: test.inside(test.container) { try EgressRules().release().release() }))
        // No table yet: every message of the batch is answered with an error.
        for _ in 0..<2 {
            #expect(throws: KernelError(call: "netlink", errno: ENOENT, subject: "nf_tables table inet coffer")) {
                try ContainerNetwork.update(rules, host)
            }
        }
        try rules.install(hostAddresses: host.destinations, dnsForward: nil)
        try ContainerNetwork.update(rules, host)
    }

    @Test func aRangeThatALocalRouteClaimsIsClosed() throws {
        let test = try TestNetwork()
        try test.inside(test.host) { try run("ip route add local 198.51.100.0/24 dev lo") }
        let canary = try test.listen("198.51.100.9", 7001, in: test.host)
        try test.connect(network())
        #expect(try test.connectError("198.51.100.9", 7001, from: test.container) == nil)
        let rules = try close(try test.hostAddresses(), in: test, network())
        #expect(try test.connectError("198.51.100.9", 7001, from: test.container) == EHOSTUNREACH)
        withExtendedLifetime(rules) {}
        #expect(canary.rawValue > 2)
    }

    @Test func namesResolveWhereTheHostsResolverIsALoopbackStub() throws {
        let test = try TestNetwork()
        let stub = try test.answer("127.0.0.53", 53, in: test.host)
        try test.connect(network(), nameserver: "127.0.0.53")
        let rules = try close(try test.hostAddresses(), in: test, network())
        #expect(try test.ask("169.254.1.1", 53, "who?", from: test.container) == "answer to who?")
        #expect(try test.ask("169.254.1.1", 54, "who?", from: test.container) == nil)
        #expect(try test.ask("169.254.169.254", 53, "who?", from: test.container) == nil)
        withExtendedLifetime((stub)) {}
        withExtendedLifetime(rules) {}
    }

    @Test func publishedPortsLeadInAndOnlyWhereTheyAreBound() throws {
        let test = try TestNetwork()
        let service = try test.listen("0.0.0.0", 80, in: test.container)
        let published = network([port("127.0.0.1", 8080, 80), port("192.0.2.2", 8081, 80), port("192.0.2.2", 5353, 5353, .udp)])
        try test.connect(published)
        let rules = try close(try test.hostAddresses(), in: test, published)
        let names = try test.answer("0.0.0.0", 5353, in: test.container)
        #expect(try test.connectError("127.0.0.1", 8080, from: test.host) == nil)
        #expect(try test.connectError("192.0.2.2", 8080, from: test.world) == ECONNREFUSED)
        #expect(try test.connectError("192.0.2.2", 8081, from: test.world) == nil)
        #expect(try test.ask("192.0.2.2", 5353, "who?", from: test.world) == "answer to who?")
        // The host itself, by its own address: the answer goes to a closed address, and passes as an answer.
        #expect(try test.ask("192.0.2.2", 5353, "me?", from: test.host) == "answer to me?")
        withExtendedLifetime(names) {}
        withExtendedLifetime(rules) {}
        #expect(service.rawValue > 2)
    }

    @Test func datagramsToAPortPublishedOnLoopbackAreAnsweredWithoutTracking() throws {
        let test = try TestNetwork()
        let published = network([port("127.0.0.1", 5353, 5353, .udp)])
        try test.connect(published)
        let rules = try close(try test.hostAddresses(), in: test, published)
        let names = try test.answer("0.0.0.0", 5353, in: test.container)
        #expect(try test.ask("127.0.0.1", 5353, "who?", from: test.host) == "answer to who?")
        #expect(try test.ask("192.0.2.2", 5353, "who?", from: test.world) == nil)
        withExtendedLifetime(names) {}
        withExtendedLifetime(rules) {}
    }

    /// The container's loopback must lead nowhere. Pasta of March 2023 opened UDP ports 818 to 828 on it, towards the host's
    /// loopback, when 5353 was published as 53.
    @Test func pastaListensOnNothingInsideTheContainer() throws {
        let test = try TestNetwork()
        let higher = port("127.0.0.1", 5300, 5353, .udp)
        let lower = port("127.0.0.1", 5353, 53, .udp)
        var published = [port("127.0.0.1", 8080, 80), port("192.0.2.2", 8443, 443), higher]
        if try PastaCapability.lowersDatagramPorts("/usr/bin/pasta") {
            published.append(lower)
        } else {
            let failure = #expect(throws: PastaFailure.self) { try test.connect(network([lower])) }
            #expect(failure?.description.contains("container port 53/udp as the higher port 5353") == true)
        }
        try test.connect(network(published))
        let sockets = try test.inside(test.container) {
            try ["tcp", "tcp6", "udp", "udp6"].flatMap { table in
                String(decoding: try readFile("/proc/thread-self/net/\(table)"), as: UTF8.self)
                    .split(separator: "\n").dropFirst().map(String.init)
            }
        }
        // Sockets that pasta keeps for connections to come are not bound, so the tables are empty.
        #expect(sockets.isEmpty)
    }

    @Test func theContainerKnowsByItselfWhenItsNetworkIsThere() throws {
        let test = try TestNetwork()
        let world = try test.listen("203.0.113.7", 7001, in: test.world)
        let addresses = try test.hostAddresses().containerAddresses
        #expect(throws: KernelError(call: "poll", errno: ETIMEDOUT, subject: "the container's network")) {
            try test.inside(test.container) { try ContainerNetwork.waitUntilConfigured(addresses, timeout: 1) }
        }
        // It waits before pasta starts, and connects at once, maybe before pasta reads its first packet.
        let container = test.container
        let waiter = ResultSlot<Int32>()
        let thread = try startThread {
            waiter.result = Result {
                try inNewThread {
                    try Namespaces.join(FileDescriptor(owning: dup(container)), [.network])
                    try ContainerNetwork.waitUntilConfigured(addresses)
                    return try TestNetwork.connectError("203.0.113.7", 7001) ?? 0
                }
            }
        }
        try test.connect(network())
        pthread_join(thread, nil)
        #expect(try waiter.result?.get() == 0)
        #expect(world.rawValue > 2)
    }

    @Test func failuresAreOneSentence() throws {
        let test = try TestNetwork()
        let taken = try test.listen("127.0.0.1", 8080, in: test.host)
        func failure(_ network: OutboundNetwork) throws -> String {
            do {
                try test.connect(network)
                return "started"
            } catch let error as PastaFailure {
                return error.description
            }
        }
        #expect(
            try failure(network([port("127.0.0.1", 8080, 80)]))
                == "port 8080 on 127.0.0.1 is already in use: stop what listens there, or publish another port")
        #expect(
            try failure(network([port("203.0.113.9", 8080, 80)]))
                == "203.0.113.9 is not an address of this host: publish port 8080 on another")
        #expect(
            try failure(network(pasta: "/nonexistent/pasta"))
                == "pasta not found at /nonexistent/pasta: install the package passt, or use --network none")
        // Newer versions start all the same, and connect what there is.
        try test.inside(test.host) {
            try run("ip route del default")
            try run("ip -6 route del default")
        }
        let offline = try failure(network())
        #expect(offline == "started" || offline.hasPrefix("the host has no default route"))
        #expect(taken.rawValue > 2)
    }
}

/// A subscription that can be kept in a `Sendable` place.
final class SubscriptionBox: Sendable {
    private let subscription: AddressSubscription
    init() throws { subscription = try AddressSubscription() }
    func changed() throws -> Bool { try subscription.drain() }
}
