import CLinux
import Confinement
import ContainerRuntime
import Glibc
import ImageStore
import LinuxKernel
import Probe

/// What probes are allowed to reach: files, sockets and a process that are there for this alone, as the caller.
final class ProbeCanaries {
    /// Host paths.
    let directory: String
    let file: String
    let socket: String
    /// A file of the caller's.
    let callerFile: String
    /// Shared by those who race, and where their links lead.
    let raceDirectory: String
    let racePrize: String
    /// An empty root for targets whose image is not Coffer's.
    let emptyRoot: String
    private(set) var facts = ProbeFacts()
    private let process: SpawnedProcess
    /// Its end is how the canary learns that we are gone.
    private let lifeline: FileDescriptor

    static let rootDirectories = ["bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "tmp", "usr", "var"]

    init(_ session: ProbeSession) throws(EngineError) {
        let path = session.path + "/canary"
        (directory, file, socket) = (path + "/directory", path + "/file", path + "/socket")
        (callerFile, emptyRoot) = (path + "/caller", path + "/root")
        (raceDirectory, racePrize) = (path + "/race", path + "/prize")
        do {
            try Self.makeFiles(path, [directory, raceDirectory, racePrize], [file, callerFile])
            // It belongs to the twins' root, as an image's does.
            try TreeOperations().makeOverlayDirectories(
                [emptyRoot] + Self.rootDirectories.map { [emptyRoot] in emptyRoot + "/" + $0 },
                owner: session.engine.root.isRootful ? 0 : try session.range().start)
            facts.namespaces = try Self.namespaces()
            facts.hostDirectories = Self.hostDirectories()
            facts.abstractSocket = "coffer-probe-\(session.record.id.prefix(16))"
            facts.callerFile = TwinBuilder.callerFile
            // Where whoever calls has none, or may not ask, there is none to be found.
            let keyring = cl_keyctl_session()
            if keyring > 0 { facts.sessionKeyring = Int32(truncatingIfNeeded: keyring) }
            let abstract = try Self.listener(AF_UNIX, Self.unixAddress("\0" + (facts.abstractSocket ?? "")))
            let named = try Self.listener(AF_UNIX, Self.unixAddress(Self.short(socket, below: path)))
            // Whoever finds it may connect, as to the worst of those that it stands for.
            try retrying("chmod", socket) { [socket] in chmod(socket, 0o666) }
            let local = try Self.listener(AF_INET, Self.internetAddress(IPAddress("127.0.0.1")))
            facts.endpoints.append(Endpoint(.loopback, address: "127.0.0.1", port: try Self.port(of: local)))
            var listeners = [abstract.rawValue, named.rawValue, local.rawValue]
            var outer = FileDescriptor.none
            if let address = try Self.hostAddress() {
                outer = try Self.listener(AF_INET, Self.internetAddress(address))
                facts.endpoints.append(Endpoint(.host, address: "\(address)", port: try Self.port(of: outer)))
                listeners.append(outer.rawValue)
            }
            let (ours, theirs) = try SocketPair().ends()
            lifeline = FileDescriptor(owning: ours)
            let other = FileDescriptor(owning: theirs)
            process = try SpawnedProcess.start(
                try InstalledProgram.ownPath(), ["coffer", "internal", "probe-canary", facts.endpointWord],
                descriptors: [other.rawValue, nil, nil] + listeners.map { $0 })
            facts.hostProcess = HostProcess(pid: process.pid, name: "coffer")
            _ = consume outer
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("the canaries cannot be put out: \(error)")
        }
    }

    /// Takes the canaries in.
    func close() throws(EngineError) {
        do {
            try process.killAndWait()
        } catch {
            throw EngineError("the canary process \(process.pid) cannot be ended: \(error)")
        }
    }

    private static func makeFiles(_ path: String, _ directories: [String], _ files: [String]) throws {
        try retrying("mkdir", path) { mkdir(path, 0o711) }
        for directory in directories {
            try retrying("mkdir", directory) { mkdir(directory, 0o755) }
            // Whoever has an ID in the container may write where a volume is writable.
            try retrying("chmod", directory) { chmod(directory, 0o777) }
        }
        for name in files {
            let file = try FileDescriptor.open(name, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
            try file.writeAll(Array("canary\n".utf8))
            try file.close()
        }
    }

    // MARK: Facts

    private static let namespaceNames = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"]

    private static func namespaces() throws(KernelError) -> [String: UInt64] {
        var result: [String: UInt64] = [:]
        for name in namespaceNames {
            var status = stat()
            if stat("/proc/self/ns/\(name)", &status) == 0 {
                result[name] = UInt64(status.st_ino)
            } else if errno != ENOENT {
                throw .last("stat", name)
            }
        }
        return result
    }

    private static func hostDirectories() -> [HostDirectory] {
        ["/", "/boot", "/etc", "/home", "/root", "/usr", "/var", "/var/lib", "/var/log"].compactMap { path in
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
            return HostDirectory(path: path, device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        }
    }

    /// An address of the host that is neither its loopback nor link-local.
    private static func hostAddress() throws -> IPAddress? {
        try HostAddresses.current().interfaces.map(\.address).first { address in
            let text = "\(address)"
            return text.contains(".") && !text.hasPrefix("127.") && !text.hasPrefix("169.254.")
        }
    }

    // MARK: Sockets

    /// A path that fits into a socket address: below the working directory's /proc entry would be another way, so the directory is opened.
    private static func short(_ socket: String, below directory: String) throws(KernelError) -> String {
        let handle = try FileDescriptor.open(directory, RootDirectory.pathOnly | O_DIRECTORY)
        let raw = handle.release()
        return "/proc/self/fd/\(raw)/\(socket.split(separator: "/").last ?? "")"
    }

    private static func unixAddress(_ path: String) -> [UInt8] {
        var address = [UInt8](repeating: 0, count: 2) + Array(path.utf8)
        let family = UInt16(AF_UNIX)
        (address[0], address[1]) = (UInt8(truncatingIfNeeded: family), UInt8(family >> 8))
        // Pathname addresses end with a zero byte, abstract ones count every byte.
        if path.utf8.first != 0 { address.append(0) }
        return address
    }

    private static func internetAddress(_ address: IPAddress?) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 16)
        bytes[0] = UInt8(AF_INET)
        for (index, part) in "\(address.map { "\($0)" } ?? "127.0.0.1")".split(separator: ".").enumerated() where index < 4 {
            bytes[4 + index] = UInt8(part) ?? 0
        }
        return bytes
    }

    private static func listener(_ family: Int32, _ address: [UInt8]) throws(KernelError) -> FileDescriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = FileDescriptor(owning: try retrying("socket") { Glibc.socket(family, kind, 0) })
        let raw = socket.rawValue
        try retrying("bind") {
            address.withUnsafeBytes { bytes -> Int32 in
                guard let base = bytes.bindMemory(to: sockaddr.self).baseAddress else { return -1 }
                return bind(raw, base, socklen_t(address.count))
            }
        }
        try retrying("listen") { Glibc.listen(raw, 64) }
        return socket
    }

    private static func port(of socket: borrowing FileDescriptor) throws(KernelError) -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let raw = socket.rawValue
        try retrying("getsockname") {
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
            }
        }
        return UInt16(bigEndian: address.sin_port)
    }
}

/// `internal probe-canary WORD`: answers whoever connects to one of its listeners (descriptors 3 and up) with the word, until standard input ends.
public enum ProbeCanary {
    public static func serve(_ word: String) -> Int32 {
        var polls = [pollfd(fd: 0, events: Int16(POLLIN), revents: 0)]
        for descriptor in Int32(3)..<16 where fcntl(descriptor, F_GETFD) != -1 {
            polls.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        }
        let bytes = Array(word.utf8)
        while true {
            if poll(&polls, nfds_t(polls.count), -1) < 0 {
                if errno == EINTR { continue }
                return 125
            }
            if polls[0].revents != 0 { return 0 }
            for entry in polls.dropFirst() where entry.revents & Int16(POLLIN) != 0 {
                let peer = accept(entry.fd, nil, nil)
                if peer < 0 { continue }
                if bytes.withUnsafeBytes({ send(peer, $0.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }) < bytes.count {
                    errno = 0
                }
                close(peer)
            }
        }
    }
}
