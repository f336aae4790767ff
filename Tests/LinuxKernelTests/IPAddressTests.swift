import Testing

@testable import LinuxKernel

@Suite struct IPAddressTests {
    @Test(arguments: ["192.0.2.1", "0.0.0.0", "fd00::2", "::1", "::"])
    func textRoundTrips(text: String) throws {
        #expect(try #require(IPAddress(text)).description == text)
    }

    @Test(arguments: ["", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", "fe80::1%eth0", "192.0.2.1/24", "0x7f.1"])
    func whatIsNoAddressIsRefused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func loopbackAndLinkLocalAreKnown() throws {
        #expect(try #require(IPAddress("127.8.9.1")).isLoopback)
        #expect(try #require(IPAddress("::1")).isLoopback)
        #expect(try !#require(IPAddress("::2")).isLoopback)
        #expect(try #require(IPAddress("169.254.169.254")).isLinkLocal)
        #expect(try #require(IPAddress("febf::1")).isLinkLocal)
        #expect(try !#require(IPAddress("fec0::1")).isLinkLocal)
    }

    @Test func prefixesMaskTheirAddress() throws {
        let prefix = try #require(IPPrefix(IPAddress(10, 1, 2, 255), length: 30))
        #expect(prefix.description == "10.1.2.252/30")
        #expect(prefix.lastBytes == [10, 1, 2, 255])
        #expect(prefix.contains(IPAddress(10, 1, 2, 253)))
        #expect(!prefix.contains(IPAddress(10, 1, 2, 251)))
        #expect(!prefix.contains(try #require(IPAddress("::1"))))
        #expect(IPPrefix(IPAddress(10, 1, 2, 3), length: 33) == nil)
        #expect(try #require(IPPrefix(IPAddress(10, 1, 2, 3), length: 0)).contains(IPAddress(192, 0, 2, 1)))
    }
}

@Suite struct AddressIntervalTests {
    private func intervals(_ prefixes: [String]) throws -> [String] {
        let values = try prefixes.map { text in
            let parts = text.split(separator: "/").map(String.init)
            let address = try #require(IPAddress(parts[0]))
            let length = try #require(Int(parts[1]))
            return try #require(IPPrefix(address, length: length))
        }
        return AddressInterval.covering(values, of: .v4).map { interval in
            "\(interval.first.map { String($0) }.joined(separator: "."))-\(interval.end.map { $0.map { String($0) }.joined(separator: ".") } ?? "")"
        }
    }

    @Test func overlapsAndNeighboursBecomeOne() throws {
        #expect(
            try intervals(["10.0.0.2/32", "10.0.0.0/31", "10.0.0.3/32", "127.0.0.0/8", "127.0.0.1/32", "fd00::2/128"])
                == ["10.0.0.0-10.0.0.4", "127.0.0.0-128.0.0.0"])
    }

    @Test func theLastAddressHasNoEnd() throws {
        #expect(try intervals(["255.255.255.255/32"]) == ["255.255.255.255-"])
        #expect(try intervals(["0.0.0.0/0", "10.0.0.0/8"]) == ["0.0.0.0-"])
    }
}
