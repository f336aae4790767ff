import Foundation
import Glibc
import Synchronization

/// A server on loopback that answers as a test tells it to, byte for byte: what no honest registry would send.
final class LyingRegistry: Sendable {
    struct Request: Sendable {
        let method: String
        /// With the query.
        let target: String
        /// Names in lower case.
        let headers: [String: String]
        let body: String

        var path: String { String(target.prefix { $0 != "?" }) }
    }

    /// What is sent for a request, after which the connection is closed.
    struct Response: Sendable {
        var status = 200
        var headers: [String: String] = [:]
        var body: [UInt8] = []
        /// Sent in place of the body's length.
        var declaredLength: Int?
        /// Sends the body again and again until the client has enough.
        var isEndless = false
        /// Milliseconds before the answer.
        var delay = 0

        static func json(_ text: String, type: String = "application/json", status: Int = 200) -> Response {
            Response(status: status, headers: ["Content-Type": type], body: Array(text.utf8))
        }
    }

    typealias Handler = @Sendable (Request) -> Response

    let port: UInt16
    private let listener: Int32
    private let state = Mutex<[Request]>([])
    private let handler: Handler

    var requests: [Request] { state.withLock { $0 } }
    var name: String { "127.0.0.1:\(port)" }

    init(_ handler: @escaping Handler) throws {
        self.handler = handler
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = self.listener
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard bound else { throw POSIXError(.EADDRNOTAVAIL) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                Thread.detachNewThread { [self] in
                    serve(connection)
                    close(connection)
                }
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func serve(_ connection: Int32) {
        guard let request = receive(connection) else { return }
        state.withLock { $0.append(request) }
        let response = handler(request)
        usleep(UInt32(response.delay) * 1000)
        var head = "HTTP/1.1 \(response.status) Status\r\nConnection: close\r\n"
        for (name, value) in response.headers { head += "\(name): \(value)\r\n" }
        if !response.isEndless { head += "Content-Length: \(response.declaredLength ?? response.body.count)\r\n" }
        guard send(Array("\(head)\r\n".utf8), connection) else { return }
        repeat {
            guard send(response.body, connection) else { return }
        } while response.isEndless
        shutdown(connection, Int32(SHUT_WR))
    }

    private func receive(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        func more() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(connection, &buffer, buffer.count)
            bytes += buffer.prefix(max(0, count))
            return count > 0
        }
        while !String(decoding: bytes, as: UTF8.self).contains("\r\n\r\n") {
            guard more(), bytes.count < 1 << 16 else { return nil }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.components(separatedBy: "\r\n\r\n")[0].components(separatedBy: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        let start = text.components(separatedBy: "\r\n\r\n")[0].utf8.count + 4
        while bytes.count < start + length { guard more() else { break } }
        let words = lines[0].split(separator: " ").map(String.init)
        guard words.count == 3 else { return nil }
        return Request(
            method: words[0], target: words[1], headers: headers, body: String(decoding: bytes[start...], as: UTF8.self))
    }

    private func send(_ bytes: [UInt8], _ connection: Int32) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            offset += count
        }
        return true
    }
}
