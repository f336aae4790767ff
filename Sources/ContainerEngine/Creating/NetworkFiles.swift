import ContainerRuntime
import Glibc
import LinuxKernel
import OCISpec

/// The files that are mounted on /etc/hosts, /etc/hostname and /etc/resolv.conf.
struct NetworkFiles {
    let hosts: String
    let hostname: String
    let resolver: String
    /// Where pasta answers the container's queries, when the host's resolver cannot be reached from inside.
    let dnsForwardAddress: String?

    init(_ details: ContainerDetails) throws(EngineError) {
        let request = details.request
        hostname = details.hostname + "\n"
        var forward: String?
        var address: String?
        let explicit = Self.lines(request)
        do {
            switch details.network {
            case .none: resolver = explicit ?? ""
            case .host: resolver = try explicit ?? Self.hostResolver()
            case .outbound:
                let host = try HostAddresses.current()
                let plan = ResolverPlan(configuration: try Self.hostResolverBytes(), host: host)
                address = "\(host.containerAddresses.ipv4)"
                if explicit == nil { forward = plan.forward.map { "\($0)" } }
                resolver = explicit ?? plan.text
            }
        } catch {
            throw EngineError("the host's addresses cannot be read: \(error)")
        }
        dnsForwardAddress = forward
        hosts = Self.hostsText(request, details.hostname, address: address)
    }

    private static func hostsText(_ request: RunRequest, _ name: String, address: String?) -> String {
        var lines = [
            "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", "fe00::\tip6-localnet", "ff00::\tip6-mcastprefix",
            "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters",
        ]
        lines += request.extraHosts.map { "\($0.address)\t\($0.name)" }
        if !name.isEmpty { lines.append("\(address ?? "127.0.1.1")\t\(name)") }
        return lines.map { $0 + "\n" }.joined()
    }

    /// What --dns, --dns-search and --dns-option say; nil when they say no server.
    private static func lines(_ request: RunRequest) -> String? {
        guard !request.dnsServers.isEmpty else { return nil }
        var text = request.dnsServers.map { "nameserver \($0)\n" }.joined()
        if !request.dnsSearch.isEmpty, request.dnsSearch != ["."] { text += "search \(request.dnsSearch.joined(separator: " "))\n" }
        if !request.dnsOptions.isEmpty { text += "options \(request.dnsOptions.joined(separator: " "))\n" }
        return text
    }

    private static func hostResolverBytes() throws(KernelError) -> [UInt8] {
        do {
            return try readFile("/etc/resolv.conf", limit: 1 << 16)
        } catch {
            // A host without name servers: its containers have none either.
            if error.errno == ENOENT { return [] }
            throw error
        }
    }

    private static func hostResolver() throws(KernelError) -> String { String(decoding: try hostResolverBytes(), as: UTF8.self) }
}

/// The program `pasta` of the package passt.
enum PastaProgram {
    /// - Throws: `EngineError` when it is not installed.
    static func locate() throws(EngineError) -> String {
        for directory in ["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin"] where access("\(directory)/pasta", X_OK) == 0 {
            return directory + "/pasta"
        }
        throw EngineError(
            "the network needs the program pasta, which is not installed",
            remedy: "install the package passt, or use --network none")
    }
}
