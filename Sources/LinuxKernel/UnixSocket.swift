import CLinux
import Glibc

/// Sockets with a name in the file system (unix(7)). Never abstract ones: those have no permissions (rule R12, CVE-2020-15257).
public enum UnixSocket {
    public enum Kind: Sendable { case stream, sequencedPackets, datagrams }

    /// Listens on a new socket file (0600 by the directory that it is in).
    public static func listen(_ name: String, in directory: borrowing FileDescriptor) throws(KernelError) -> FileDescriptor {
        let listener = try make(.sequencedPackets)
        let raw = listener.rawValue
        try withAddress(name, directory) { address, length throws(KernelError) in
            try retrying("bind", name) { bind(raw, address, length) }
        }
        try retrying("listen", name) { Glibc.listen(raw, 1) }
        return listener
    }

    /// A new socket file that everybody who sees it may send datagrams to.
    public static func receiver(_ name: String, in directory: borrowing FileDescriptor) throws(KernelError) -> FileDescriptor {
        let receiver = try make(.datagrams)
        let raw = receiver.rawValue
        // By the mask and not afterwards by name: who may write to the directory could have put another file there.
        let mask = umask(0o111)
        defer { umask(mask) }
        try withAddress(name, directory) { address, length throws(KernelError) in
            try retrying("bind", name) { bind(raw, address, length) }
        }
        return receiver
    }

    /// Connects to the socket file `name` in an open directory.
    public static func connect(_ name: String, in directory: borrowing FileDescriptor, _ kind: Kind) throws(KernelError) -> FileDescriptor {
        let socket = try make(kind)
        let raw = socket.rawValue
        try withAddress(name, directory) { address, length throws(KernelError) in
            try retrying("connect", name) { Glibc.connect(raw, address, length) }
        }
        return socket
    }

    /// Connects to a socket file of the host by its path.
    public static func connect(_ path: String, _ kind: Kind) throws(KernelError) -> FileDescriptor {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        do {
            return try connect(name, in: try FileDescriptor.open(directory, RootDirectory.pathOnly | O_DIRECTORY), kind)
        } catch {
            throw KernelError(call: error.call, errno: error.errno, subject: path)
        }
    }

    /// Waits for one connection.
    public static func accept(_ listener: borrowing FileDescriptor) throws(KernelError) -> FileDescriptor {
        let raw = listener.rawValue
        let accepted = FileDescriptor(owning: try retrying("accept") { Glibc.accept(raw, nil, nil) })
        let descriptor = accepted.rawValue
        try retrying("fcntl") { cl_fcntl(descriptor, F_SETFD, Int(FD_CLOEXEC)) }
        return accepted
    }

    private static func make(_ kind: Kind) throws(KernelError) -> FileDescriptor {
        let type =
            switch kind {
            case .stream: SOCK_STREAM
            case .sequencedPackets: SOCK_SEQPACKET
            case .datagrams: SOCK_DGRAM
            }
        return FileDescriptor(owning: try retrying("socket") { socket(AF_UNIX, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0) })
    }

    /// A socket address has room for 107 bytes: the directory goes by its descriptor, so that only the name counts.
    private static func withAddress(
        _ name: String, _ directory: borrowing FileDescriptor, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(KernelError) -> Void
    ) throws(KernelError) {
        let path = "/proc/self/fd/\(directory.rawValue)/\(name)"
        var address = sockaddr_un()
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < room else { throw KernelError(call: "bind", errno: ENAMETOOLONG, subject: name) }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        try withUnsafePointer(to: &address) { pointer throws(KernelError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { rebound throws(KernelError) in try body(rebound, length) }
        }
    }
}
