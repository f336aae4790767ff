import CLinux
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// Only canaries that the request names are connected to.
    static let network: Group = [
        ("net-metadata", reaching(.metadata, .tcp)),
        ("net-host-loopback", reaching(.loopback, .tcp)),
        ("net-host-address", reaching(.host, .tcp)),
        ("net-peer-tcp", reaching(.peer, .tcp)),
        ("net-peer-udp", reaching(.peer, .udp)),
        ("net-dns", askResolver),
        ("net-host-view", seeHostInterfaces),
        ("net-arp", hearFrames),
    ]

    /// How long one canary is waited for, in milliseconds: packets that are dropped are not answered.
    private static let patience: Int32 = 1000

    private static func reaching(_ role: Endpoint.Role, _ transport: Endpoint.Transport) -> Attempt {
        { situation in
            let endpoints = situation.facts.endpoints.filter { $0.role == role && $0.transport == transport }
            guard !endpoints.isEmpty else { return .inconclusive("the request names no canary of this kind") }
            var last = Finding.inconclusive("no canary has an address")
            for endpoint in endpoints {
                guard let address = IPAddress(endpoint.address) else { return .inconclusive("“\(endpoint.address)” is no address") }
                let finding = reach(SocketAddress.of(address, port: endpoint.port), address.family, endpoint, situation.facts.endpointWord)
                if finding.outcome == .reached { return finding }
                last = finding
            }
            return last
        }
    }

    private static func reach(_ address: SocketAddress, _ family: IPAddress.Family, _ endpoint: Endpoint, _ word: String) -> Finding {
        let what = "\(endpoint.address) port \(endpoint.port)"
        let kind = endpoint.transport == .tcp ? SOCK_STREAM : SOCK_DGRAM
        let file = socket(family == .v4 ? AF_INET : AF_INET6, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        if file < 0 { return .denied(errno, "a socket for \(what)") }
        defer { close(file) }
        var reply = address.with { Reply(connect(file, $0, $1)) }
        if reply.errno == EINPROGRESS {
            guard wait(file, POLLOUT) else { return Finding(.held, errno: ETIMEDOUT, "\(what) does not answer") }
            var number: Int32 = 0
            var length = socklen_t(4)
            reply = getsockopt(file, SOL_SOCKET, SO_ERROR, &number, &length) == 0 ? Reply(errno: number) : Reply(errno: errno)
        }
        if !reply.succeeded { return .denied(reply.errno, what) }
        if endpoint.transport == .udp {
            let sent = Array("coffer-probe".utf8)
            if send(file, sent, sent.count, Int32(MSG_NOSIGNAL)) < 0 { return .denied(errno, what) }
        }
        guard wait(file, POLLIN) else { return Finding(.held, errno: ETIMEDOUT, "\(what) took the connection, and the canary did not answer") }
        var buffer = [UInt8](repeating: 0, count: 256)
        let length = recv(file, &buffer, buffer.count, 0)
        if length < 0 { return .denied(errno, what) }
        return buffer[..<length].starts(with: Array(word.utf8)) && !word.isEmpty
            ? .reached("the canary on \(what) answered") : .held("\(what) is somebody else, or nobody")
    }

    private static func wait(_ file: Int32, _ events: Int32) -> Bool {
        var waiting = pollfd(fd: file, events: Int16(events), revents: 0)
        return poll(&waiting, 1, patience) == 1
    }

    /// One question for the canary's name; who answers it, if anybody, is seen outside.
    private static func askResolver(_ situation: Situation) -> Finding {
        guard let name = situation.facts.dnsName else { return .inconclusive("the request names no name to ask for") }
        let servers = (text(of: "/etc/resolv.conf") ?? "").split(separator: "\n").compactMap { line -> IPAddress? in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.first == "nameserver" && words.count > 1 ? IPAddress(String(words[1])) : nil
        }
        guard !servers.isEmpty else { return .held("no resolver is named in /etc/resolv.conf") }
        // Identifier, recursion desired, one question; the name's labels; type A, class IN.
        var question: [UInt8] = [0x43, 0x46, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { question += [UInt8(truncatingIfNeeded: min(label.utf8.count, 63))] + label.utf8.prefix(63) }
        question += [0, 0, 1, 0, 1]
        var denial: Int32?
        var asked: [String] = []
        for server in servers.prefix(3) {
            let file = socket(server.family == .v4 ? AF_INET : AF_INET6, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            if file < 0 { return .denied(errno, "a socket for a resolver") }
            defer { close(file) }
            let sent = SocketAddress.of(server, port: 53).with { address, length in
                connect(file, address, length) != 0 ? Reply(-1) : Reply(send(file, question, question.count, Int32(MSG_NOSIGNAL)))
            }
            if sent.succeeded { asked.append("\(server)") } else { denial = sent.errno }
            if sent.succeeded && wait(file, POLLIN) { return .tried("\(server) answered a question for \(name)") }
        }
        if asked.isEmpty { return .denied(denial ?? ENETUNREACH, "a question for \(name)") }
        return .tried("\(asked.joined(separator: ", ")) did not answer a question for \(name)")
    }

    /// By its namespace, and by a /sys that is of another one.
    private static func seeHostInterfaces(_ situation: Situation) -> Finding {
        guard let host = situation.facts.namespaces["net"] else {
            return .inconclusive("the request does not say which network namespace is the host's")
        }
        let shown = names(in: "/sys/class/net").filter { linkStatus(of: "/sys/class/net/\($0)")?.isKind(S_IFLNK) == true }
        if let own = fileIdentity(of: "/proc/self/ns/net"), own.inode == host {
            return .reached("its network is the host's: \(shown.joined(separator: ", "))")
        }
        let own = (text(of: "/proc/net/dev") ?? "").split(separator: "\n").dropFirst(2).compactMap { line in
            line.split(separator: ":").first.map { $0.drop { $0 == " " } }
        }
        let others = shown.filter { name in !own.contains { $0 == name } }
        if !own.isEmpty && !others.isEmpty {
            return .reached("/sys/class/net shows interfaces of another network: \(others.joined(separator: ", "))")
        }
        return .held("it sees \(own.isEmpty ? "no interfaces" : own.joined(separator: ", "))")
    }

    private static func hearFrames(_ situation: Situation) -> Finding {
        // SOCK_RAW for ETH_P_ARP, in network order; nothing is read.
        socketMade("a packet socket for ARP", 17, 3, Int32(UInt16(0x0806).bigEndian))(situation)
    }
}
