import AsyncHTTPClient
import FoundationEssentials
import TextSearch

/// Proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in either case.
struct ProxySettings: Sendable {
    private let encrypted: HTTPClient.Configuration.Proxy?
    private let plain: HTTPClient.Configuration.Proxy?
    private let exceptions: [Substring]

    init(environment: [String: String]) {
        func value(_ name: String) -> String { environment[name.lowercased()] ?? environment[name] ?? "" }
        encrypted = Self.proxy(value("HTTPS_PROXY"))
        // With REQUEST_METHOD set, HTTP_PROXY may be a header of somebody's request (httpoxy, CVE-2016-5385).
        plain = environment["REQUEST_METHOD"] == nil ? Self.proxy(value("HTTP_PROXY")) : nil
        exceptions = value("NO_PROXY").lowercased().split { $0 == "," || $0 == " " }
    }

    /// The proxy for an origin; this machine itself is never asked through one.
    func proxy(for origin: RegistryOrigin) -> HTTPClient.Configuration.Proxy? {
        guard !origin.isLoopback else { return nil }
        for exception in exceptions {
            if exception == "*" { return nil }
            let name = exception.hasPrefix(".") ? exception.dropFirst() : exception
            if origin.host == name || origin.host.hasSuffix(".\(name)") || "\(origin.host):\(origin.port)" == name { return nil }
        }
        return origin.isEncrypted ? encrypted : plain
    }

    private static func proxy(_ text: String) -> HTTPClient.Configuration.Proxy? {
        guard !text.isEmpty, let url = URL(string: text.contains("://") ? text : "http://\(text)"), let host = url.host(),
            !host.isEmpty
        else { return nil }
        let user = url.user(percentEncoded: false)
        let authorization = user.map { name in
            HTTPClient.Authorization.basic(username: name, password: url.password(percentEncoded: false) ?? "")
        }
        return .server(host: host, port: url.port ?? 80, authorization: authorization)
    }
}
