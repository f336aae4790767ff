import Glibc
import Testing

@testable import LinuxKernel

/// Bytes are those of a little-endian machine; both supported architectures are.
@Suite struct NetlinkTests {
    @Test func bringingAnInterfaceUpIsOneMessage() {
        let bytes = NetlinkRoute.bringUpRequest("lo").encoded(sequence: 1)
        #expect(
            bytes == [
                40, 0, 0, 0, 19, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0,  // length, RTM_SETLINK, REQUEST|ACK, sequence, port
                0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,  // ifinfomsg: flags IFF_UP, changed IFF_UP
                7, 0, 3, 0, 0x6c, 0x6f, 0, 0,  // IFLA_IFNAME "lo\0", padded
            ])
    }

    @Test func nestedAttributesCountTheirPadding() {
        var message = NetlinkMessage(type: 1, flags: [], fixedPart: [])
        message.nest(4) {
            $0.attribute(1, [9])
            $0.attribute(2, bigEndian: 0x0102_0304)
        }
        #expect(
            Array(message.encoded(sequence: 0)[16...]) == [20, 0, 4, 0x80, 5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4])
    }

    @Test func anAddressIsTakenFromTheLocalAttribute() throws {
        // ifaddrmsg AF_INET /30 on interface 2; IFA_ADDRESS is the peer, IFA_LOCAL is ours.
        let body: [UInt8] =
            [2, 30, 0, 0, 2, 0, 0, 0] + [8, 0, 1, 0, 10, 0, 0, 1] + [8, 0, 2, 0, 10, 0, 0, 2]
        let address = try #require(NetlinkRoute.interfaceAddress(body[...]))
        #expect(address.address == IPAddress(10, 0, 0, 2))
        #expect(address.prefixLength == 30)
        #expect(NetlinkRoute.interfaceAddress([2, 30, 0]) == nil)
        #expect(NetlinkRoute.interfaceAddress([2, 30, 0, 0, 2, 0, 0, 0, 200, 0, 2, 0, 10]) == nil)
    }

    @Test func aLinkIsReadAndItsMaster() throws {
        // ifinfomsg of device 5, up; IFLA_IFNAME "v0\0", IFLA_MASTER 7.
        let fixed: [UInt8] = [0, 0, 1, 0, 5, 0, 0, 0, 0x43, 0x10, 0, 0, 0, 0, 0, 0]
        let link = try #require(NetworkLinks.link((fixed + [7, 0, 3, 0, 0x76, 0x30, 0, 0] + [8, 0, 10, 0, 7, 0, 0, 0])[...]))
        #expect(link == NetworkLink(index: 5, name: "v0", isUp: true, isLoopback: false, master: 7))
        let loopback = try #require(NetworkLinks.link(([0, 0, 4, 3, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0] + [7, 0, 3, 0, 0x6c, 0x6f, 0, 0])[...]))
        #expect(loopback == NetworkLink(index: 1, name: "lo", isUp: false, isLoopback: true, master: 0))
        #expect(NetworkLinks.link(fixed[...]) == nil, "no name")
        #expect(NetworkLinks.link(fixed.dropLast()) == nil)
    }

    @Test func onlyAddressesThatStayEverywhereAreKept() throws {
        // IFA_LOCAL and IFA_ADDRESS 10.0.0.2, IFA_LABEL, IFA_FLAGS: permanent, secondary, no prefix route.
        let attributes: [UInt8] =
            [8, 0, 1, 0, 10, 0, 0, 2] + [8, 0, 2, 0, 10, 0, 0, 2] + [7, 0, 3, 0, 0x76, 0x30, 0, 0] + [8, 0, 8, 0, 0x81, 2, 0, 0]
        func address(flags: UInt8, scope: UInt8, index: UInt8, _ rest: [UInt8]) -> PermanentAddress? {
            NetworkLinks.permanentAddress(([2, 24, flags, scope, index, 0, 0, 0] + rest)[...], of: 5)
        }
        let kept = try #require(address(flags: 0x80, scope: 0, index: 5, attributes))
        #expect(kept == PermanentAddress(family: 2, prefixLength: 24, flags: 0x200, attributes: [1: [10, 0, 0, 2], 2: [10, 0, 0, 2]]))
        #expect(address(flags: 0x80, scope: 0, index: 6, attributes) == nil, "another device's")
        #expect(address(flags: 0x80, scope: 254, index: 5, attributes) == nil, "the host's own")
        #expect(address(flags: 0, scope: 0, index: 5, Array(attributes.prefix(16))) == nil, "one that runs out")
        #expect(
            Array(NetworkLinks.addition(of: kept, to: 9).encoded(sequence: 1)[4...]) == [
                20, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0,  // RTM_NEWADDR, REQUEST|ACK|CREATE|EXCL, sequence, port
                2, 24, 0, 0, 9, 0, 0, 0,  // ifaddrmsg
                8, 0, 1, 0, 10, 0, 0, 2, 8, 0, 2, 0, 10, 0, 0, 2, 8, 0, 8, 0, 0, 2, 0, 0,
            ])
    }

    @Test func theMachineHasALoopbackDevice() throws {
        #expect(try NetworkLinks().all().contains { $0.isLoopback && $0.name == "lo" })
    }

    @Test func onlyLocalRoutesOfTheLocalTableCount() {
        func body(table: UInt8, type: UInt8) -> ArraySlice<UInt8> {
            [2, 16, 0, 0, table, 0, 0, type, 0, 0, 0, 0] + [8, 0, 1, 0, 10, 1, 0, 0]
        }
        #expect(NetlinkRoute.localRoute(body(table: 255, type: 2), .v4)?.description == "10.1.0.0/16")
        #expect(NetlinkRoute.localRoute(body(table: 254, type: 2), .v4) == nil)
        #expect(NetlinkRoute.localRoute(body(table: 255, type: 3), .v4) == nil)
        #expect(NetlinkRoute.localRoute(body(table: 255, type: 2), .v6) == nil)
    }

    @Test func aDefaultRouteHasNoDestination() {
        func body(length: UInt8, table: UInt8, type: UInt8) -> ArraySlice<UInt8> {
            [2, length, 0, 0, table, 0, 0, type, 0, 0, 0, 0] + [8, 0, 5, 0, 10, 1, 0, 1]
        }
        #expect(NetlinkRoute.isDefaultRoute(body(length: 0, table: 254, type: 1), .v4))
        #expect(!NetlinkRoute.isDefaultRoute(body(length: 8, table: 254, type: 1), .v4))
        #expect(!NetlinkRoute.isDefaultRoute(body(length: 0, table: 255, type: 1), .v4))
        #expect(!NetlinkRoute.isDefaultRoute(body(length: 0, table: 254, type: 7), .v4))  // RTN_UNREACHABLE
        #expect(!NetlinkRoute.isDefaultRoute(body(length: 0, table: 254, type: 1), .v6))
    }

    @Test func aDatagramIsSplitAndACutOneIsRefused() throws {
        let one = NetlinkMessage(type: 20, flags: [], fixedPart: [1, 2, 3, 4]).encoded(sequence: 7)
        let both = try NetlinkSocket.messages(in: (one + one)[...])
        #expect(both.map(\.sequence) == [7, 7])
        #expect(both.map { Array($0.body) } == [[1, 2, 3, 4], [1, 2, 3, 4]])
        #expect(throws: KernelError.self) { try NetlinkSocket.messages(in: one.dropLast()) }
        #expect(throws: KernelError.self) { try NetlinkSocket.messages(in: [0, 0, 0, 0, 0, 0, 0, 0]) }
    }

    @Test func anErrorCarriesItsNumber() {
        let body = hostOrder(Int32(-EPERM))
        #expect(NetlinkSocket.errorNumber(.init(type: 2, flags: 0, sequence: 1, body: body[...])) == EPERM)
        #expect(NetlinkSocket.errorNumber(.init(type: 2, flags: 0, sequence: 1, body: [])) == EBADMSG)
    }

    @Test func theMachineHasLoopback() throws {
        #expect(try NetlinkRoute.localDestinations().contains { $0.first.isLoopback })
    }

    @Test func anInterfaceThatIsNotThereIsNamed() {
        #expect(throws: KernelError(call: "netlink", errno: geteuid() == 0 ? ENODEV : EPERM, subject: "interface no-such")) {
            try NetlinkRoute.bringUp("no-such")
        }
    }
}

@Suite struct NfTablesTests {
    @Test func aBatchIsFramed() {
        var batch = NfTablesBatch(table: "t")
        batch.addTable()
        let messages = batch.datagram.map { $0.encoded(sequence: 0) }
        #expect(messages.count == 3)
        #expect(messages[0] == [20, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
        // NFT_MSG_NEWTABLE, REQUEST|ACK|CREATE, family inet, NFTA_TABLE_NAME.
        #expect(
            messages[1] == [28, 0, 0, 0, 0, 10, 5, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 6, 0, 1, 0, 0x74, 0, 0, 0])
        #expect(messages[2][4] == 0x11)
    }

    @Test func aComparisonIsANamedExpression() {
        var list = NetlinkMessage(type: 0, flags: [], fixedPart: [])
        NfTablesExpression.require(.notEqual, [2]).append(to: &list)
        #expect(
            Array(list.encoded(sequence: 0)[16...]) == [
                44, 0, 1, 0x80,  // NFTA_LIST_ELEM
                8, 0, 1, 0, 0x63, 0x6d, 0x70, 0,  // NFTA_EXPR_NAME "cmp"
                32, 0, 2, 0x80,  // NFTA_EXPR_DATA
                8, 0, 1, 0, 0, 0, 0, 1,  // register 1
                8, 0, 2, 0, 0, 0, 0, 1,  // NFT_CMP_NEQ
                12, 0, 3, 0x80, 5, 0, 1, 0, 2, 0, 0, 0,  // the value
            ])
    }

    @Test func manyIntervalsAreSplitOverMessages() throws {
        let prefixes = (0..<1200).map { IPPrefix(IPAddress(10, UInt8($0 / 250), UInt8($0 % 250), 1)) }
        var batch = NfTablesBatch(table: "t")
        batch.setIntervals(AddressInterval.covering(prefixes, of: .v4), of: "s")
        // Begin, flush, three parts, end; no attribute may be longer than its 16-bit length can say.
        #expect(batch.datagram.count == 6)
        #expect(batch.datagram.allSatisfy { $0.encoded(sequence: 0).count < 65_536 })
    }
}
