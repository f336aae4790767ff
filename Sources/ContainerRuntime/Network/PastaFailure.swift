import CLinux
import Glibc
import LinuxKernel
import OCISpec
import TextSearch

/// Why a container got no outbound network: one sentence with the remedy.
public struct PastaFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }

    /// Finds the sentence for what pasta said. It names causes only roughly ("Failed to bind any port"), so what it failed at
    /// is tried again here to learn the kernel's reason.
    static func explaining(_ output: String, network: OutboundNetwork) -> PastaFailure {
        if output.contains("Failed to bind") {
            let reasons = network.ports.compactMap(bindFailure)
            if let first = reasons.first { return first }
        }
        if output.contains("Overlapping port") {
            return PastaFailure(
                "this version of pasta publishes a host port on one address only: leave one of them, or install a newer passt")
        }
        if output.contains("tun socket") || output.contains("/dev/net/tun") { return tunFailure() }
        if output.contains("External interface not usable") || output.contains("No external routable interface") {
            return PastaFailure(
                "the host has no default route, so there is nowhere to connect to: connect it, or use --network none")
        }
        if output.contains("user namespace") || output.contains("unshare") {
            return PastaFailure(
                "pasta may not use user namespaces (\(lastLine(output))): allow them for \(network.pastaPath), for example with "
                    + "the AppArmor profile of the package passt")
        }
        let said = lastLine(output)
        return PastaFailure(said.isEmpty ? "pasta failed without a word" : "pasta failed: \(said)")
    }

    static func notFound(_ path: String) -> PastaFailure {
        PastaFailure("pasta not found at \(path): install the package passt, or use --network none")
    }

    /// Binds the port as pasta does, to see why it cannot be.
    ///
    /// - Returns: nil when it can be bound.
    static func bindFailure(_ port: OutboundNetwork.PublishedPort) -> PastaFailure? {
        guard let address = IPAddress(port.hostAddress) else {
            return PastaFailure("\(port.hostAddress) is not an IP address: publish ports as ADDRESS:HOSTPORT:PORT")
        }
        let number = tryBinding(address, port: port.hostPort, stream: port.transport == .tcp)
        let place = "port \(port.hostPort) on \(address)"
        switch number {
        case 0: return nil
        case EADDRINUSE:
            return PastaFailure("\(place) is already in use: stop what listens there, or publish another port")
        case EACCES:
            return PastaFailure(
                "\(place) may only be bound by root: publish a port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start")
        case EADDRNOTAVAIL:
            return PastaFailure("\(address) is not an address of this host: publish port \(port.hostPort) on another")
        default:
            return PastaFailure("\(place) cannot be bound: \(String(cString: strerror(number)))")
        }
    }

    /// - Returns: the error number of bind(2) or listen(2), or 0.
    private static func tryBinding(_ address: IPAddress, port: UInt16, stream: Bool) -> Int32 {
        let family = address.family == .v4 ? AF_INET : AF_INET6
        let kind = Int32(stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let number = socket(family, kind, 0)
        if number < 0 { return errno }
        let descriptor = FileDescriptor(owning: number)
        var one: Int32 = 1
        guard setsockopt(descriptor.rawValue, SOL_SOCKET, SO_REUSEADDR, &one, 4) == 0 else { return errno }
        // struct sockaddr_in: family, port, address, zeroes; sockaddr_in6: family, port, flow, address, scope.
        let start = withUnsafeBytes(of: sa_family_t(family)) { Array($0) } + [UInt8(port >> 8), UInt8(port & 0xff)]
        let name =
            address.family == .v4
            ? start + address.bytes + [UInt8](repeating: 0, count: 8) : start + [0, 0, 0, 0] + address.bytes + [0, 0, 0, 0]
        let bound = name.withUnsafeBytes { raw in
            raw.baseAddress.map { bind(descriptor.rawValue, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count)) }
        }
        guard bound == 0 else { return errno }
        return stream && listen(descriptor.rawValue, 1) != 0 ? errno : 0
    }

    private static func tunFailure() -> PastaFailure {
        let path = "/dev/net/tun"
        do {
            let device = try FileDescriptor.open(path, O_RDWR)
            try device.close()
            return PastaFailure("\(path) can be opened, but pasta could make no interface with it: load the kernel module tun")
        } catch {
            let remedy =
                error.errno == EACCES || error.errno == EPERM
                ? "let users open it (chmod 0666 \(path))" : "load the kernel module (modprobe tun)"
            return PastaFailure("\(path) cannot be opened: \(error.reason): \(remedy)")
        }
    }

    /// The last line that says something about the network. What pasta cannot send to syslog is of no interest.
    private static func lastLine(_ output: String) -> String {
        let lines = output.split(separator: "\n").filter { !$0.contains("to syslog") && !$0.contains("Don't run as root") }
        return lines.last.map(String.init) ?? ""
    }
}
