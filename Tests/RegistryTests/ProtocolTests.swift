import Testing

@testable import Registry

@Suite struct ProtocolTests {
    @Test(
        arguments: [
            (#"Bearer realm="https://a.example/t",service="x",scope="a:b,c:d""#, [["bearer", "https://a.example/t", "x", "a:b,c:d"]]),
            (#"Basic realm="a \"b\" c""#, [["basic", #"a "b" c"#, "", ""]]),
            (#"Negotiate, Basic realm=plain"#, [["negotiate", "", "", ""], ["basic", "plain", "", ""]]),
            (#"BEARER Realm = "r" , SERVICE="s""#, [["bearer", "r", "s", ""]]),
            (#"Bearer realm="open"#, [["bearer", "open", "", ""]]),
            ("", []), (", , ", []), ("\"", []),
        ] as [(String, [[String]])])
    func parsesChallenges(header: String, expected: [[String]]) {
        let found = AuthenticationChallenge.parse(header).map { challenge in
            [challenge.scheme] + ["realm", "service", "scope"].map { challenge.parameters[$0] ?? "" }
        }
        #expect(found == expected)
    }

    @Test func originsAreCompared() throws {
        let hub = try #require(RegistryOrigin(registry: "docker.io", scheme: "https"))
        #expect(hub.description == "https://registry-1.docker.io")
        let local = try #require(RegistryOrigin(registry: "[::1]:5000", scheme: "http"))
        #expect(local.host == "::1" && local.port == 5000 && local.isLoopback && local.description == "http://[::1]:5000")
        #expect(RegistryOrigin(registry: "Quay.IO:443", scheme: "https") == RegistryOrigin(registry: "quay.io", scheme: "https"))
        for name in ["localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80"] {
            #expect(RegistryOrigin(registry: name, scheme: "http")?.isLoopback == true)
        }
        // Names that only look like this machine.
        for name in ["127.0.0.1.evil.example", "localhost.evil.example", "127.1", "127.0.0.256", "1270.0.0.1", "0.0.0.0"] {
            #expect(RegistryOrigin(registry: name, scheme: "http")?.isLoopback != true)
        }
    }

    @Test func retriesAreBounded() {
        let policy = RetryPolicy(attempts: 4, attemptsInAll: 9, firstDelay: 100, longestDelay: 300)
        for _ in 0..<50 {
            #expect((75...100).contains(policy.delay(afterFailures: 1, retryAfter: nil) ?? -1))
            #expect((150...200).contains(policy.delay(afterFailures: 2, retryAfter: nil) ?? -1))
            #expect((225...300).contains(policy.delay(afterFailures: 3, retryAfter: nil) ?? -1))
        }
        #expect(policy.delay(afterFailures: 4, retryAfter: nil) == nil)
        #expect(policy.delay(afterFailures: 1, retryAfter: 1) == nil)
        #expect(RetryPolicy().delay(afterFailures: 1, retryAfter: 7) == 7000)
        #expect(RetryPolicy().delay(afterFailures: 1, retryAfter: -7) == 0)
    }

    @Test func proxiesComeFromTheEnvironment() throws {
        let settings = ProxySettings(environment: [
            "HTTPS_PROXY": "http://user:p%40ss@proxy.example:3128", "http_proxy": "other.example:8080",
            "NO_PROXY": "inside.example,.dot.example,exact.example:5000",
        ])
        func proxy(_ name: String, _ scheme: String = "https") throws -> String? {
            try settings.proxy(for: #require(RegistryOrigin(registry: name, scheme: scheme))).map { "\($0.host):\($0.port)" }
        }
        #expect(try proxy("quay.io") == "proxy.example:3128")
        #expect(try proxy("quay.io", "http") == "other.example:8080")
        for name in ["inside.example", "x.inside.example", "dot.example", "a.dot.example", "exact.example:5000", "localhost:5000"] {
            #expect(try proxy(name) == nil)
        }
        #expect(try proxy("exact.example") == "proxy.example:3128")
        #expect(try proxy("notinside.example") == "proxy.example:3128")
        let everywhere = ProxySettings(environment: ["HTTPS_PROXY": "http://p", "NO_PROXY": "*"])
        let quay = try #require(RegistryOrigin(registry: "quay.io", scheme: "https"))
        #expect(everywhere.proxy(for: quay) == nil)
        let httpoxy = ProxySettings(environment: ["HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"])
        let plain = try #require(RegistryOrigin(registry: "quay.io", scheme: "http"))
        #expect(httpoxy.proxy(for: plain) == nil)
    }
}
