import Glibc
import LinuxKernel

/// How clients reach a monitor that runs already.
enum MonitorConnection {
    /// Connects to a container's `attach.sock`.
    ///
    /// A socket's address holds at most 107 bytes, and state roots may be deeper: the path goes through /proc/self/fd.
    static func open(_ directory: ContainerDirectory) throws(KernelError) -> FileDescriptor {
        let parent = try FileDescriptor.open(directory.path, RootDirectory.pathOnly | O_DIRECTORY)
        let path = "/proc/self/fd/\(parent.rawValue)/attach.sock"
        let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = FileDescriptor(owning: try retrying("socket") { Glibc.socket(AF_UNIX, kind, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        try retrying("connect", directory.attachSocket) {
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket.rawValue, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        return socket
    }
}
