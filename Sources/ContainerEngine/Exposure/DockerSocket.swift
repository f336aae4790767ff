import CLinux
import Glibc
import LinuxKernel
import StrictJSON
import TextSearch

/// Questions to a Docker daemon over its unix socket (Engine API). Only reading, and bounded: an answer has so many bytes and so many seconds.
struct DockerSocket {
    private static let maximumAnswer = 64 << 20
    private static let seconds = 20

    let path: String

    /// `DOCKER_HOST`, else the system's daemon, else the user's own.
    init(environment: [String: String]) throws(EngineError) {
        if let host = environment["DOCKER_HOST"], !host.isEmpty {
            guard host.hasPrefix("unix://") else {
                throw EngineError("DOCKER_HOST is \(host)", remedy: "only a daemon on this machine can be asked, through its unix socket")
            }
            path = String(host.dropFirst(7))
            return
        }
        let own = (environment["XDG_RUNTIME_DIR"] ?? "") + "/docker.sock"
        path = access("/var/run/docker.sock", F_OK) == 0 || access(own, F_OK) != 0 ? "/var/run/docker.sock" : own
    }

    /// The document at a path of the API; nil when there is none (404).
    func get(_ resource: String) throws(EngineError) -> JSONValue? {
        do {
            let (status, body) = try Self.split(try exchange("GET \(resource) HTTP/1.0\r\nHost: docker\r\nAccept: application/json\r\n\r\n"))
            if status == 404 { return nil }
            guard status == 200 else { throw EngineError("Docker answered \(status) to \(resource)", code: .failure) }
            return try JSONParser().parse(body)
        } catch let error as EngineError {
            throw error
        } catch let error as KernelError {
            throw unreachable(error)
        } catch {
            throw EngineError("Docker's answer to \(resource) cannot be read: \(error)", code: .failure)
        }
    }

    private func unreachable(_ error: KernelError) -> EngineError {
        switch error.errno {
        case ENOENT:
            EngineError("there is no Docker at \(path)", remedy: "start dockerd, or name its socket in DOCKER_HOST=unix://PATH", code: .failure)
        case EACCES, EPERM:
            EngineError("you may not talk to Docker at \(path)", remedy: "run this as root or as a member of the socket's group", code: .failure)
        case ECONNREFUSED: EngineError("nobody answers at \(path)", remedy: "start dockerd", code: .failure)
        case EAGAIN, ETIMEDOUT: EngineError("Docker at \(path) did not answer within \(Self.seconds) seconds", code: .failure)
        case EFBIG: EngineError("Docker's answer is longer than \(Self.maximumAnswer >> 20) MiB", code: .failure)
        default: EngineError("Docker cannot be asked at \(path): \(error.reason)", code: .failure)
        }
    }

    private func exchange(_ request: String) throws(KernelError) -> [UInt8] {
        let socket = FileDescriptor(
            owning: try retrying("socket") { Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw KernelError(call: "connect", errno: ENAMETOOLONG, subject: path)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        var patience = timeval(tv_sec: Self.seconds, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        let raw = socket.rawValue
        try retrying("setsockopt") { setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, size) }
        try retrying("setsockopt") { setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &patience, size) }
        try retrying("connect", path) {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        try socket.writeAll(Array(request.utf8))
        return try socket.readAll(limit: Self.maximumAnswer)
    }

    /// Status and body of an HTTP answer that ends with the connection; chunks are joined if the server sends some all the same.
    static func split(_ answer: [UInt8]) throws(EngineError) -> (status: Int, body: [UInt8]) {
        let mark: [UInt8] = [13, 10, 13, 10]
        guard let end = answer.indices.first(where: { $0 + 4 <= answer.count && answer[$0] == 13 && Array(answer[$0..<($0 + 4)]) == mark }) else {
            throw EngineError("Docker's answer is no HTTP", code: .failure)
        }
        let head = String(decoding: answer[..<end], as: UTF8.self)
        let words = head.prefix { $0 != "\r\n" && $0 != "\r" }.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw EngineError("Docker's answer is no HTTP", code: .failure)
        }
        let body = Array(answer[(end + 4)...])
        return (status, head.lowercased().contains("transfer-encoding: chunked") ? try joined(body) : body)
    }

    private static func joined(_ chunks: [UInt8]) throws(EngineError) -> [UInt8] {
        var body: [UInt8] = []
        var position = 0
        while let line = chunks[position...].firstIndex(of: 13), line - position <= 16 {
            let text = String(decoding: chunks[position..<line], as: UTF8.self)
            guard let length = Int(text, radix: 16), length >= 0, line + 2 + length <= chunks.count else { break }
            if length == 0 { return body }
            body += chunks[(line + 2)..<(line + 2 + length)]
            position = min(line + 2 + length + 2, chunks.count)
        }
        throw EngineError("Docker's answer is cut off", code: .failure)
    }
}
