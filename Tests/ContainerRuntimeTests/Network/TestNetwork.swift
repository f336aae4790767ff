import Glibc
import LinuxKernel
import OCISpec

@testable import ContainerRuntime

/// A host and the world around it, made of namespaces of their own, and a container's namespaces beside them. Nothing of the
/// machine's own network is touched or needed.
///
///     world  192.0.2.1, fd00:2::1, 203.0.113.7, 169.254.169.254 ──veth── host  192.0.2.2, fd00:2::2, 127.0.0.1 ──pasta── container
final class TestNetwork {
    let world: Int32
    let host: Int32
    let container: Int32
    let containerUsers: Int32
    private let containerProcess: SpawnedProcess
    private var pasta: pid_t?

    init() throws {
        let (world, host) = try inNewThread {
            try Namespaces.unshare([.network])
            let world = try FileDescriptor.open("/proc/thread-self/ns/net", O_RDONLY).release()
            try Namespaces.unshare([.network])
            let host = try FileDescriptor.open("/proc/thread-self/ns/net", O_RDONLY).release()
            try run("ip link add up0 type veth peer name down0")
            try run("ip link set lo up")
            try run("ip addr add 192.0.2.2/24 dev up0")
            try run("ip addr add fd00:2::2/64 dev up0 nodad")
            // The peer goes where the world is: named by a process there.
            try inNewThread {
                try Namespaces.join(FileDescriptor(owning: dup(world)), [.network])
                let anchor = try SpawnedProcess.start("/bin/sleep", ["sleep", "60"])
                defer { _ = try? anchor.killAndWait() }
                try inNewThread {
                    try Namespaces.join(FileDescriptor(owning: dup(host)), [.network])
                    try run("ip link set down0 netns \(anchor.pid)")
                }
                for command in [
                    "link set lo up", "addr add 192.0.2.1/24 dev down0", "addr add fd00:2::1/64 dev down0 nodad",
                    "addr add 203.0.113.7/32 dev lo", "addr add 169.254.169.254/32 dev lo", "link set down0 up",
                ] { try run("ip \(command)") }
            }
            try run("ip link set up0 up")
            try run("ip route add default via 192.0.2.1")
            try run("ip -6 route add default via fd00:2::1")
            return (world, host)
        }
        self.world = world
        self.host = host
        containerProcess = try SpawnedProcess.start("/usr/bin/unshare", ["unshare", "--user", "--net", "sleep", "300"])
        let directory = "/proc/\(containerProcess.pid)"
        let own = try link("/proc/self/ns/net")
        var attempts = 0
        while try link("\(directory)/ns/net") == own && attempts < 500 {
            usleep(10_000)
            attempts += 1
        }
        for map in ["uid_map", "gid_map"] {
            try FileDescriptor.open("\(directory)/\(map)", O_WRONLY).writeAll("0 300000 65536\n".utf8)
        }
        container = try FileDescriptor.open("\(directory)/ns/net", O_RDONLY).release()
        containerUsers = try FileDescriptor.open("\(directory)/ns/user", O_RDONLY).release()
    }

    deinit {
        if let pasta { kill(pasta, SIGKILL) }
        _ = try? containerProcess.killAndWait()
        for descriptor in [world, host, container, containerUsers] { close(descriptor) }
    }

    /// Starts pasta from the host, for the container.
    ///
    /// - Parameter nameserver: the host's resolver; its resolv.conf is replaced in a mount namespace of pasta's own.
    func connect(_ network: OutboundNetwork, nameserver: String = "192.0.2.1") throws {
        let (host, container, users) = (host, container, containerUsers)
        pasta = try inNewThread {
            try Namespaces.join(FileDescriptor(owning: dup(host)), [.network])
            try Namespaces.unshare([.mount])
            try run("mount --make-rprivate /")
            try run("mount -t tmpfs none /mnt")
            try FileDescriptor.open("/mnt/resolv.conf", O_WRONLY | O_CREAT, mode: 0o644)
                .writeAll("nameserver \(nameserver)\n".utf8)
            try run("mount --bind /mnt/resolv.conf /etc/resolv.conf")
            var process = try PastaProcess.begin(
                network: network, addresses: HostAddresses.current().containerAddresses,
                userNamespace: FileDescriptor(owning: dup(users)), networkNamespace: FileDescriptor(owning: dup(container)))
            try process.waitUntilReady()
            return process.pid
        }
    }

    func hostAddresses() throws -> HostAddresses {
        try inside(host) { try HostAddresses.current() }
    }

    /// Runs `body` in a network namespace.
    func inside<Value: Sendable>(_ namespace: Int32, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
        try inNewThread {
            try Namespaces.join(FileDescriptor(owning: dup(namespace)), [.network])
            return try body()
        }
    }

    /// A listener; connections to it are completed by the kernel, nobody needs to accept.
    func listen(_ address: String, _ port: UInt16, in namespace: Int32) throws -> FileDescriptor {
        FileDescriptor(
            owning: try inside(namespace) {
                let socket = try TestSocket(address, port, SOCK_STREAM)
                try retrying("bind", address) { socket.withAddress { bind(socket.number, $0, $1) } }
                try retrying("listen", address) { Glibc.listen(socket.number, 8) }
                return socket.number
            })
    }

    /// Connects over TCP; nil, or the error number.
    func connectError(_ address: String, _ port: UInt16, from namespace: Int32) throws -> Int32? {
        try inside(namespace) { try Self.connectError(address, port) }
    }

    /// The same in the namespace that the calling thread is in.
    static func connectError(_ address: String, _ port: UInt16) throws -> Int32? {
        let socket = try TestSocket(address, port, SOCK_STREAM)
        defer { close(socket.number) }
        if socket.withAddress({ Glibc.connect(socket.number, $0, $1) }) == 0 { return nil }
        if errno != EINPROGRESS { return errno }
        var waiting = pollfd(fd: socket.number, events: Int16(POLLOUT), revents: 0)
        if poll(&waiting, 1, 3000) == 0 { return ETIMEDOUT }
        var number: Int32 = 0
        var length = socklen_t(4)
        getsockopt(socket.number, SOL_SOCKET, SO_ERROR, &number, &length)
        return number == 0 ? nil : number
    }

    /// Sends a datagram and waits for an answer; nil when none comes within a second.
    func ask(_ address: String, _ port: UInt16, _ question: String, from namespace: Int32) throws -> String? {
        try inside(namespace) {
            let socket = try TestSocket(address, port, SOCK_DGRAM)
            defer { close(socket.number) }
            // Connected: only what really comes from the address asked is taken.
            guard socket.withAddress({ Glibc.connect(socket.number, $0, $1) }) == 0 else { return nil }
            let bytes = Array(question.utf8)
            guard send(socket.number, bytes, bytes.count, 0) == bytes.count else { return nil }
            var waiting = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 1000) == 1 else { return nil }
            var buffer = [UInt8](repeating: 0, count: 512)
            let count = recv(socket.number, &buffer, buffer.count, 0)
            return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    /// Answers every datagram with "answer to " and itself, until the descriptor is closed by `stop`.
    func answer(_ address: String, _ port: UInt16, in namespace: Int32) throws -> Answerer {
        let number = try inside(namespace) {
            let socket = try TestSocket(address, port, SOCK_DGRAM)
            try retrying("bind", address) { socket.withAddress { bind(socket.number, $0, $1) } }
            return socket.number
        }
        return try Answerer(socket: number)
    }
}

/// A socket with an address to bind or connect to.
struct TestSocket: Sendable {
    let number: Int32
    private let name: [UInt8]

    init(_ text: String, _ port: UInt16, _ type: __socket_type) throws {
        guard let address = IPAddress(text) else { throw KernelError(call: "inet_pton", errno: EINVAL, subject: text) }
        let family = address.family == .v4 ? AF_INET : AF_INET6
        let start = withUnsafeBytes(of: sa_family_t(family)) { Array($0) } + [UInt8(port >> 8), UInt8(port & 0xff)]
        name =
            address.family == .v4
            ? start + address.bytes + [UInt8](repeating: 0, count: 8) : start + [0, 0, 0, 0] + address.bytes + [0, 0, 0, 0]
        let kind = Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        number = try retrying("socket", text) { socket(family, kind, 0) }
    }

    func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        name.withUnsafeBytes { raw in
            raw.baseAddress.map { body($0.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count)) } ?? -1
        }
    }
}

/// A thread that answers datagrams.
final class Answerer: Sendable {
    private let socket: Int32
    private let stopping: (read: Int32, write: Int32)
    private let thread: pthread_t

    init(socket: Int32) throws {
        self.socket = socket
        let stopping = try makePipe()
        self.stopping = stopping
        thread = try startThread {
            while true {
                var waiting = [
                    pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: stopping.read, events: Int16(POLLIN), revents: 0),
                ]
                poll(&waiting, 2, -1)
                if waiting[1].revents != 0 { return }
                var peer = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                var buffer = [UInt8](repeating: 0, count: 512)
                withUnsafeMutablePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                        let count = recvfrom(socket, &buffer, buffer.count, 0, name, &length)
                        if count < 0 { return }
                        let reply = Array("answer to ".utf8) + buffer[..<count]
                        sendto(socket, reply, reply.count, 0, name, length)
                    }
                }
            }
        }
    }

    deinit {
        close(stopping.write)
        pthread_join(thread, nil)
        close(stopping.read)
        close(socket)
    }
}

func link(_ path: String) throws -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    try retrying("readlink", path) { readlink(path, &buffer, 255) }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// Runs a program of iproute2 or util-linux in the calling thread's namespaces.
func run(_ command: String) throws {
    let words = command.split(separator: " ").map(String.init)
    let path = ["/sbin/", "/bin/", "/usr/sbin/", "/usr/bin/"].map { $0 + words[0] }.first { access($0, X_OK) == 0 }
    let (end, output) = try SpawnedProcess.run(path ?? words[0], words)
    if end != .exited(0) { throw KernelError(call: command, errno: EINVAL, subject: output) }
}

func startThread(_ body: @escaping @Sendable () -> Void) throws -> pthread_t {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(body)).toOpaque()
    let result = pthread_create(
        &thread, nil,
        { context in
            guard let context else { return nil }
            Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
            return nil
        }, context)
    if result != 0 { throw KernelError(call: "pthread_create", errno: result) }
    return thread
}

/// Where a thread leaves its result; read only after the thread was joined.
final class ResultSlot<Value: Sendable>: @unchecked Sendable { var result: Result<Value, any Error>? }

/// Runs `body` on a thread of its own, which may change its network and mount namespaces: they end with it.
func inNewThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
    let slot = ResultSlot<Value>()
    let thread = try startThread { slot.result = Result { try body() } }
    pthread_join(thread, nil)
    guard let result = slot.result else { throw KernelError(call: "pthread_join", errno: EINVAL) }
    return try result.get()
}
