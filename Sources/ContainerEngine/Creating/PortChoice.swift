import Glibc
import LinuxKernel

/// Host ports of a container, made definite before anything else exists.
enum PortChoice {
    /// Fills in free ports where none was named, and checks that named ones are free.
    ///
    /// Between this look and pasta's own bind another program can take a port; pasta then says so, and the start fails.
    static func settle(_ ports: [PortMapping]) throws(EngineError) -> [PortMapping] {
        var result: [PortMapping] = []
        for port in ports {
            var port = port
            let bound = try probe(port)
            port.hostPort = port.hostPort ?? bound
            if result.contains(where: { $0.hostPort == port.hostPort && $0.transport == port.transport && $0.boundAddress == port.boundAddress }) {
                throw EngineError("port \(describe(port)) is published twice", remedy: "name each host port once")
            }
            result.append(port)
        }
        return result
    }

    private static func describe(_ port: PortMapping) -> String {
        let address = port.boundAddress.contains(":") ? "[\(port.boundAddress)]" : port.boundAddress
        return "\(address):\(port.hostPort ?? 0)/\(port.transport.rawValue)"
    }

    private static func probe(_ port: PortMapping) throws(EngineError) -> UInt16 {
        do {
            let isV6 = port.boundAddress.contains(":")
            let kind = port.transport == .tcp ? Int32(SOCK_STREAM.rawValue) : Int32(SOCK_DGRAM.rawValue)
            let descriptor = try retrying("socket") { Glibc.socket(isV6 ? AF_INET6 : AF_INET, kind | Int32(SOCK_CLOEXEC.rawValue), 0) }
            let socket = FileDescriptor(owning: descriptor)
            // As pasta binds: a TCP connection that is still closing does not block the port.
            var one: Int32 = port.transport == .tcp ? 1 : 0
            setsockopt(socket.rawValue, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
            return try isV6 ? bindV6(socket, port) : bindV4(socket, port)
        } catch {
            switch error.errno {
            case EADDRINUSE:
                throw EngineError(
                    "Bind for \(describe(port)) failed: port is already allocated",
                    remedy: "stop what listens there, or publish another port with -p")
            case EADDRNOTAVAIL:
                throw EngineError("cannot publish \(describe(port)): this machine has no address \(port.boundAddress)")
            case EACCES:
                throw EngineError(
                    "cannot publish \(describe(port)): only root may bind ports below 1024 here",
                    remedy: "publish a higher port, or lower net.ipv4.ip_unprivileged_port_start")
            default: throw EngineError("cannot publish \(describe(port)): \(error.reason)")
            }
        }
    }

    private static func bindV4(_ socket: borrowing FileDescriptor, _ port: PortMapping) throws(KernelError) -> UInt16 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = (port.hostPort ?? 0).bigEndian
        inet_pton(AF_INET, port.boundAddress, &address.sin_addr)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        try bindSocket(socket, &address, size)
        return UInt16(bigEndian: address.sin_port)
    }

    private static func bindV6(_ socket: borrowing FileDescriptor, _ port: PortMapping) throws(KernelError) -> UInt16 {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = (port.hostPort ?? 0).bigEndian
        inet_pton(AF_INET6, port.boundAddress, &address.sin6_addr)
        let size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        try bindSocket(socket, &address, size)
        return UInt16(bigEndian: address.sin6_port)
    }

    /// Binds, and fills the address that was bound in.
    private static func bindSocket<Address>(
        _ socket: borrowing FileDescriptor, _ address: inout Address, _ size: socklen_t
    ) throws(KernelError) {
        let raw = socket.rawValue
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                var length = size
                return Glibc.bind(raw, pointer, size) == 0 && getsockname(raw, pointer, &length) == 0
            }
        }
        if !result { throw .last("bind") }
    }
}
