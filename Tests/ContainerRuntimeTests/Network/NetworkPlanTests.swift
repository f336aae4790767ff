import LinuxKernel
import OCISpec
import Testing

@testable import ContainerRuntime

private func host(_ addresses: [(String, Int)]) throws -> HostAddresses {
    let interfaces = try addresses.map { text, length in
        NetlinkRoute.InterfaceAddress(address: try #require(IPAddress(text)), prefixLength: length)
    }
    return HostAddresses(destinations: Set(interfaces.map { IPPrefix($0.address) }), interfaces: interfaces)
}

@Suite struct ContainerAddressesTests {
    @Test func everythingThatIsAlwaysClosedIsThere() {
        #expect(EgressRules.alwaysClosed.count == 9)
    }

    @Test func theHostsNetworksAreAvoided() throws {
        #expect(try host([("192.0.2.2", 24)]).containerAddresses.ipv4.description == "10.201.173.2")
        #expect(try host([("10.1.2.3", 8)]).containerAddresses.ipv4.description == "172.29.173.2")
        #expect(
            try host([("10.1.2.3", 8), ("172.29.0.1", 16), ("192.168.173.9", 24)]).containerAddresses.ipv4.description
                == "198.18.173.2")
        #expect(try host([("192.0.2.2", 24)]).containerAddresses.ipv4Gateway.description == "10.201.173.1")
    }

    @Test func ipv6ComesOnlyWithTheHosts() throws {
        #expect(try host([("192.0.2.2", 24), ("::1", 128), ("fe80::1", 64)]).containerAddresses.ipv6 == nil)
        #expect(try host([("2001:db8::1", 64)]).containerAddresses.ipv6?.description == "fd63:6f66:6665:72::2")
    }
}

@Suite struct PastaArgumentsTests {
    private func vector(_ ports: [OutboundNetwork.PublishedPort], forward: String? = nil) throws -> String {
        PastaArguments.vector(
            network: OutboundNetwork(ports: ports, pastaPath: "/usr/bin/pasta", dnsForwardAddress: forward, closeHost: true),
            addresses: try host([("192.0.2.2", 24)]).containerAddresses, identity: .nobody
        ).joined(separator: " ")
    }

    @Test func nothingLeadsInOrToTheHostByDefault() throws {
        let arguments = try vector([])
        #expect(arguments.hasSuffix("--runas 65534:65534 -t none -u none -T none -U none"))
        #expect(arguments.contains(" --no-map-gw "))
        #expect(arguments.contains(" --address 10.201.173.2 --netmask 30 --gateway 10.201.173.1 --ipv4-only "))
        #expect(!arguments.contains("--dns"))
    }

    @Test func eachPortIsAnOptionOfItsOwn() throws {
        let arguments = try vector(
            [
                .init(hostAddress: "127.0.0.1", hostPort: 8080, containerPort: 80, transport: .tcp),
                .init(hostAddress: "::1", hostPort: 8443, containerPort: 443, transport: .tcp),
                .init(hostAddress: "0.0.0.0", hostPort: 53, containerPort: 5353, transport: .udp),
            ], forward: "169.254.1.1")
        #expect(
            arguments.hasSuffix(
                "--dns-forward 169.254.1.1 -t 127.0.0.1/8080:80 -t ::1/8443:443 -u 0.0.0.0/53:5353 -T none -U none"))
    }

    @Test func theProcessIDIsTheLastCompleteLine() {
        #expect(PastaProcess.processID(in: Array("123\n".utf8)) == 123)
        #expect(PastaProcess.processID(in: Array("Couldn't get any nameserver address\n77\n".utf8)) == 77)
        for text in ["", "12", "12\nx\n", "0\n", "-4\n", "\n"] { #expect(PastaProcess.processID(in: Array(text.utf8)) == nil) }
    }

    @Test func onlyDatagramsToTheHostItselfNeedTracking() {
        func tracks(_ address: String, _ transport: OutboundNetwork.PublishedPort.TransportProtocol) -> Bool {
            OutboundNetwork(
                ports: [.init(hostAddress: address, hostPort: 1, containerPort: 1, transport: transport)], pastaPath: "",
                dnsForwardAddress: nil, closeHost: true
            ).publishesDatagramsBeyondLoopback
        }
        #expect(!tracks("127.0.0.1", .udp))
        #expect(!tracks("0.0.0.0", .tcp))
        #expect(tracks("0.0.0.0", .udp))
    }
}

@Suite struct PastaFailureTests {
    private let network = OutboundNetwork(ports: [], pastaPath: "/usr/bin/pasta", dnsForwardAddress: nil, closeHost: true)

    @Test(arguments: [
        ("Couldn't create user namespace: Operation not permitted\n", "pasta may not use user namespaces ("),
        ("External interface not usable\n", "the host has no default route"),
        ("Overlapping port specifier 192.0.2.2/80:80\n", "this version of pasta publishes a host port on one address only"),
        ("Failed to send 9 bytes to syslog\nsomething new\nFailed to send 3 bytes to syslog\n", "pasta failed: something new"),
        ("", "pasta failed without a word"),
    ])
    func whatPastaSaysBecomesASentence(output: String, start: String) {
        #expect(PastaFailure.explaining(output, network: network).description.hasPrefix(start))
    }
}

@Suite struct ResolverPlanTests {
    private func plan(_ text: String, _ addresses: [(String, Int)] = [("192.0.2.2", 24)]) throws -> ResolverPlan {
        ResolverPlan(configuration: Array(text.utf8), host: try host(addresses))
    }

    @Test func aServerThatIsReachableIsNamedAsItIs() throws {
        let plan = try plan("# comment\nnameserver 192.0.2.1\nnameserver\t198.51.100.1\nsearch example.org\noptions edns0\n")
        #expect(plan.forward == nil)
        #expect(plan.text == "nameserver 192.0.2.1\nnameserver 198.51.100.1\nsearch example.org\noptions edns0\n")
    }

    @Test func aStubOnLoopbackIsForwarded() throws {
        let plan = try plan("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
        #expect(plan.forward == IPAddress(169, 254, 1, 1))
        #expect(plan.text == "nameserver 169.254.1.1\noptions edns0 trust-ad\nsearch .\n")
    }

    @Test func aServerOnAnAddressOfTheHostIsForwarded() throws {
        let plan = try plan("nameserver 192.0.2.2\nnameserver 198.51.100.1\n")
        #expect(plan.nameservers.map(\.description) == ["169.254.1.1", "198.51.100.1"])
    }

    @Test func aServerThatPastaForwardsToIsNotNamedBesideIt() throws {
        let plan = try plan("nameserver ::1\nnameserver 198.51.100.1\nnameserver 198.51.100.2\n", [("2001:db8::1", 64)])
        #expect(plan.nameservers.map(\.description) == ["169.254.1.1", "198.51.100.2"])
    }

    @Test func onlyIPv6ServersAreForwardedOverIPv6() throws {
        #expect(try plan("nameserver ::1\n", [("2001:db8::1", 64)]).text == "nameserver fd63:6f66:6665:72::53\n")
        #expect(try plan("nameserver ::1\n").nameservers.isEmpty)
        #expect(try plan("").nameservers.isEmpty)
    }
}
