import CLinux
import Glibc

/// A pair of connected sockets that keep message boundaries (unix(7), SOCK_SEQPACKET).
public struct SocketPair: ~Copyable {
    public let first: FileDescriptor
    public let second: FileDescriptor

    public init() throws(KernelError) {
        var pair: [Int32] = [-1, -1]
        let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try retrying("socketpair") { socketpair(AF_UNIX, kind, 0, &pair) }
        first = FileDescriptor(owning: pair[0])
        second = FileDescriptor(owning: pair[1])
    }

    /// Gives both ends to the caller.
    public consuming func ends() -> (Int32, Int32) {
        (first.release(), second.release())
    }
}

/// A pipe; both ends close-on-exec.
public func makePipe() throws(KernelError) -> (read: Int32, write: Int32) {
    var pair: [Int32] = [-1, -1]
    try retrying("pipe2") { cl_pipe2(&pair, O_CLOEXEC) }
    return (pair[0], pair[1])
}

extension FileDescriptor {
    /// Sends one message. - Throws: EPIPE when the peer is gone; no signal is raised.
    public borrowing func sendMessage(_ bytes: [UInt8]) throws(KernelError) {
        let raw = rawValue
        try retrying("send") { bytes.withUnsafeBytes { send(raw, $0.baseAddress, bytes.count, Int32(MSG_NOSIGNAL)) } }
    }

    /// Sends one message together with a descriptor (SCM_RIGHTS).
    public borrowing func sendMessage(_ bytes: [UInt8], with descriptor: borrowing FileDescriptor) throws(KernelError) {
        let raw = rawValue
        let other = descriptor.rawValue
        try retrying("sendmsg") { bytes.withUnsafeBytes { cl_send_descriptor(raw, $0.baseAddress, bytes.count, other) } }
    }

    /// Receives one message of at most `limit` bytes; nil when the peer has closed.
    public borrowing func receiveMessage(limit: Int = 65536) throws(KernelError) -> (bytes: [UInt8], descriptor: Int32)? {
        var received: Int32 = -1
        let raw = rawValue
        let bytes = try [UInt8](ofAtMost: limit) { buffer throws(KernelError) in
            try retrying("recvmsg") { cl_receive_descriptor(raw, buffer.baseAddress, limit, &received) }
        }
        if bytes.isEmpty && received == -1 { return nil }
        return (bytes, received)
    }
}
