import CLinux
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let sockets: Group =
        services.map { ($0.id, connecting($0.paths)) } + [
            ("sock-mounted", connectToMounted),
            ("sock-abstract", connectToAbstract),
            ("sock-abstract-view", seeAbstract),
        ] + families.map { ($0.id, makingSocket($0.kinds)) } + [
            ("sock-mptcp", { socketMade("socket(IPPROTO_MPTCP)", AF_INET, Int32(SOCK_STREAM.rawValue), 262)($0).asInformation }),
            ("sock-netlink-crypto", makeNetlinkSocket),
        ]

    // MARK: Services

    /// Where services of the host listen. They are connected to, and nothing is said.
    private static let services: [(id: String, paths: [String])] = [
        ("engine-docker", ["/run/docker.sock", "/var/run/docker.sock", "/run/user/*/docker.sock", "/run/docker/containerd/containerd.sock"]),
        ("engine-containerd", ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"]),
        ("engine-podman", ["/run/podman/podman.sock", "/var/run/podman/podman.sock", "/run/user/*/podman/podman.sock"]),
        ("engine-crio", ["/run/crio/crio.sock", "/var/run/crio/crio.sock"]),
        ("engine-buildkit", ["/run/buildkit/buildkitd.sock", "/run/user/*/buildkit/buildkitd.sock"]),
        (
            "engine-kubelet",
            ["/var/lib/kubelet/device-plugins/kubelet.sock", "/var/lib/kubelet/pod-resources/kubelet.sock", "/var/lib/kubelet/*/*.sock"]
        ),
        (
            "engine-other",
            [
                "/var/lib/lxd/unix.socket", "/var/snap/lxd/common/lxd/unix.socket", "/var/lib/incus/unix.socket", "/run/libvirt/libvirt-sock",
                "/run/cri-dockerd.sock", "/run/systemd/machine/io.systemd.Machine",
            ]
        ),
        ("sock-dbus", ["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", "/run/user/*/bus"]),
        (
            "sock-systemd",
            [
                "/run/systemd/private", "/run/systemd/notify", "/run/systemd/journal/socket", "/run/systemd/journal/stdout",
                "/run/user/*/systemd/private",
            ]
        ),
        ("sock-display", ["/tmp/.X11-unix/X*", "/run/user/*/wayland-*", "/run/user/*/pulse/native", "/run/user/*/pipewire-*"]),
        ("sock-agent", ["/run/user/*/gnupg/S.gpg-agent", "/root/.gnupg/S.gpg-agent", "/run/user/*/keyring/ssh", "/tmp/ssh-*/agent.*"]),
    ]

    private static func connecting(_ patterns: [String]) -> Attempt {
        { situation in
            var found = patterns.flatMap(paths(matching:))
            // Where the agents say they are.
            if patterns.contains(where: { $0.hasPrefix("/tmp/ssh-") }) {
                found += situation.environment.filter { $0.hasPrefix("SSH_AUTH_SOCK=") }.map { String($0.dropFirst(14)) }
            }
            return connectToFirst(found, patterns[0])
        }
    }

    private static func connectToFirst(_ paths: [String], _ what: String) -> Finding {
        var denial: Int32 = ENOENT
        for path in paths {
            let reply = connectTo(path)
            if reply.succeeded { return .reached("something listens on \(path), and was connected to") }
            if reply.errno != ENOENT { denial = reply.errno }
        }
        return .denied(denial, what)
    }

    /// Whatever kind of socket listens there.
    private static func connectTo(_ path: String) -> Reply {
        var reply = Reply(errno: ENOENT)
        guard status(of: path)?.isKind(S_IFSOCK) == true, let address = SocketAddress.unix(Array(path.utf8)) else { return reply }
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            let file = socket(AF_UNIX, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            if file < 0 { return Reply(file) }
            defer { close(file) }
            reply = address.with { Reply(connect(file, $0, $1)) }
            // EAGAIN: it listens, and its queue is full.
            if reply.errno == EAGAIN { return Reply(errno: 0) }
            if reply.errno != EPROTOTYPE { return reply }
        }
        return reply
    }

    private static func connectToMounted(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let found = mounts.map(\.target).filter { status(of: $0)?.isKind(S_IFSOCK) == true }
        return found.isEmpty ? .held("no mount is a socket") : connectToFirst(found, "\(found.count) mounted sockets")
    }

    private static func connectToAbstract(_ situation: Situation) -> Finding {
        guard let name = situation.facts.abstractSocket, let address = SocketAddress.unix([0] + Array(name.utf8)) else {
            return .inconclusive("the request names no abstract socket")
        }
        let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if file < 0 { return .denied(errno, "socket(AF_UNIX)") }
        defer { close(file) }
        return address.with { Reply(connect(file, $0, $1)) }.whenItSucceeds("connecting to @\(name)")
    }

    private static func seeAbstract(_ situation: Situation) -> Finding {
        guard let name = situation.facts.abstractSocket else { return .inconclusive("the request names no abstract socket") }
        guard let list = text(of: "/proc/net/unix", limit: 16 << 20) else { return .denied(errno, "/proc/net/unix") }
        return list.split(separator: "\n").contains { $0.hasSuffix(" @\(name)") }
            ? .reached("/proc/net/unix shows @\(name)") : .held("/proc/net/unix does not show @\(name)")
    }

    // MARK: Families

    private typealias Kind = (family: Int32, type: Int32, number: Int32)

    private static let families: [(id: String, kinds: [Kind])] = [
        ("sock-vsock", [(40, 1, 0)]),
        ("sock-alg", [(38, 5, 0)]),
        ("sock-packet", [(17, 3, 0), (17, 2, 0)]),
        ("sock-key", [(15, 3, 2)]),
        ("sock-rds", [(21, 5, 0)]),
        ("sock-tipc", [(30, 5, 0)]),
        ("sock-rxrpc", [(33, 2, 2)]),
        ("sock-can", [(29, 3, 1)]),
        ("sock-bluetooth", [(31, 3, 1), (31, 5, 0)]),
        ("sock-smc", [(43, 1, 0)]),
        ("sock-xdp", [(44, 3, 0)]),
        ("sock-kcm", [(41, 5, 0)]),
        ("sock-nfc", [(39, 5, 0), (39, 3, 1)]),
        ("sock-qipcrtr", [(42, 2, 0)]),
        ("sock-llc", [(26, 1, 0), (9, 5, 0), (3, 5, 0), (8, 2, 0), (20, 2, 0), (35, 2, 0), (37, 5, 0), (36, 2, 0)]),
        ("sock-mctp", [(45, 2, 0)]),
        ("sock-sctp", [(2, 1, 132)]),
        ("sock-dccp", [(2, 6, 33)]),
    ]

    private static func makingSocket(_ kinds: [Kind]) -> Attempt {
        { situation in
            var denial: Int32 = EAFNOSUPPORT
            for kind in kinds {
                let file = socket(kind.family, kind.type | Int32(SOCK_CLOEXEC.rawValue), kind.number)
                if file >= 0 {
                    close(file)
                    return .reached("a socket of family \(kind.family) was made")
                }
                // Of AF_INET, another protocol would have to be there.
                if errno == ESOCKTNOSUPPORT && kind.family != AF_INET { return .reached("family \(kind.family) is there, and refused only the type") }
                if errno != EAFNOSUPPORT { denial = errno }
            }
            return Finding.denied(denial, "socket(\(kinds[0].family), …)").unlessMissing(situation)
        }
    }

    /// iSCSI, connector, SCSI transport, RDMA, crypto, SMC.
    private static func makeNetlinkSocket(_ situation: Situation) -> Finding {
        var denial: Int32 = EPROTONOSUPPORT
        for number: Int32 in [8, 11, 18, 20, 21, 22] {
            let file = socket(16, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), number)
            if file >= 0 {
                close(file)
                return .reached("a netlink socket of protocol \(number) was made")
            }
            if errno != EPROTONOSUPPORT { denial = errno }
        }
        return Finding.denied(denial, "netlink sockets").unlessMissing(situation)
    }
}

/// An address for bind(2) and connect(2), as bytes.
struct SocketAddress {
    private var bytes: [UInt8]

    /// nil when the path is longer than an address can be. An abstract name starts with a zero byte.
    static func unix(_ path: [UInt8]) -> SocketAddress? {
        guard path.count <= 107 else { return nil }
        return SocketAddress(bytes: family(AF_UNIX) + path + (path.first == 0 ? [] : [0]))
    }

    static func v4(_ address: [UInt8], port: UInt16) -> SocketAddress {
        SocketAddress(bytes: family(AF_INET) + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port)] + address + [UInt8](repeating: 0, count: 8))
    }

    static func v6(_ address: [UInt8], port: UInt16) -> SocketAddress {
        SocketAddress(bytes: family(AF_INET6) + [UInt8(port >> 8), UInt8(truncatingIfNeeded: port), 0, 0, 0, 0] + address + [0, 0, 0, 0])
    }

    static func of(_ address: IPAddress, port: UInt16) -> SocketAddress {
        address.family == .v4 ? v4(address.bytes, port: port) : v6(address.bytes, port: port)
    }

    private static func family(_ number: Int32) -> [UInt8] { withUnsafeBytes(of: UInt16(number)) { Array($0) } }

    func with(_ body: (UnsafePointer<sockaddr>?, socklen_t) -> Reply) -> Reply {
        bytes.withUnsafeBytes { body($0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count)) }
    }
}
