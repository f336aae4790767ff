import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// Everyone who is attached to a container: the command that started it, and later ones through `attach.sock`.
struct AttachServer: ~Copyable {
    /// One connected client. A class, because a descriptor cannot be in an array by value.
    final class Client {
        let descriptor: FileDescriptor
        /// Packets that the client has not taken yet.
        var queue: [[UInt8]] = []
        /// It holds the payload's stdin: when it goes, so does that.
        var sendsInput = false

        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private let listener: FileDescriptor
    private(set) var clients: [Client]
    /// A client with more packets than this holds the payload's output back, as a full pipe would.
    static let queueLimit = 64

    var listenerDescriptor: Int32 { listener.rawValue }

    /// Listens on `attach.sock` in the working directory (a relative name: the whole path may be longer than the 108 bytes
    /// of a socket address).
    static func listen(starter: consuming FileDescriptor) throws -> AttachServer {
        let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let listener = FileDescriptor(owning: try retrying("socket") { socket(AF_UNIX, kind, 0) })
        unlink("attach.sock")
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: "attach.sock".utf8) }
        let raw = listener.rawValue
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        try retrying("bind", "attach.sock") {
            withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, length) } }
        }
        try retrying("listen", "attach.sock") { Glibc.listen(raw, 16) }
        return AttachServer(listener: listener, clients: [Client(starter)])
    }

    private init(listener: consuming FileDescriptor, clients: [Client]) {
        self.listener = listener
        self.clients = clients
    }

    /// Takes a new client. Only the monitor's own user may attach (rule R12); the directory is 0700 besides.
    mutating func accept() throws {
        let raw = listener.rawValue
        let accepted = Glibc.accept(raw, nil, nil)
        if accepted < 0 { return }  // gone again
        let descriptor = FileDescriptor(owning: accepted)
        try retrying("fcntl") { cl_fcntl(accepted, F_SETFD, Int(FD_CLOEXEC)) }
        guard cl_peer_user(accepted) == Int64(geteuid()) else { return }
        clients.append(Client(descriptor))
    }

    /// Sends to everyone, as far as they take it now.
    mutating func broadcast(_ frame: AttachFrame.FromMonitor) throws {
        if clients.isEmpty { return }
        broadcast(packet: try frame.encoded())
    }

    /// Sends a packet that is encoded already.
    mutating func broadcast(packet: [UInt8]) {
        for client in clients { client.queue.append(packet) }
        flush()
    }

    /// Whether a client is too slow for more output.
    var isCongested: Bool { clients.contains { $0.queue.count > Self.queueLimit } }

    /// Sends what waits; a client that is gone is forgotten.
    mutating func flush() {
        clients.removeAll { client in
            while let packet = client.queue.first {
                let sent = packet.withUnsafeBytes {
                    send(client.descriptor.rawValue, $0.baseAddress, packet.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                }
                if sent >= 0 {
                    client.queue.removeFirst()
                } else if errno == EAGAIN || errno == EINTR {
                    return false
                } else {
                    return true
                }
            }
            return false
        }
    }

    mutating func remove(_ client: Client) { clients.removeAll { $0 === client } }
}
