import CLinux
import Glibc
import LinuxKernel

/// A call that the other side refused, in its own words.
struct DBusCallError: Error, CustomStringConvertible {
    /// "org.freedesktop.systemd1.UnitExists"…
    let name: String
    let message: String
    var description: String { message.isEmpty ? name : message }
}

/// A connection to a message bus: exactly what asking systemd for a scope needs.
struct DBusConnection: ~Copyable {
    private let socket: FileDescriptor
    private var received: [UInt8] = []
    private var serial: UInt32 = 0
    /// Signals that came while a reply was waited for.
    private var signals: [DBusMessage] = []
    /// Seconds that any one answer may take. systemd answers in milliseconds, unless it is busy with a reload.
    private static let patience = 25

    /// Connects and introduces itself.
    ///
    /// - Parameter path: the bus's unix socket.
    static func open(socket path: String) throws -> DBusConnection {
        var connection = DBusConnection(connected: try connect(path))
        try connection.authenticate()
        try connection.call("Hello", of: "org.freedesktop.DBus", on: "/org/freedesktop/DBus", to: "org.freedesktop.DBus")
        return connection
    }

    private init(connected: consuming FileDescriptor) { socket = connected }

    private static func connect(_ path: String) throws(KernelError) -> FileDescriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = FileDescriptor(owning: try retrying("socket") { Glibc.socket(AF_UNIX, kind, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw KernelError(call: "connect", errno: ENAMETOOLONG, subject: path)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let raw = socket.rawValue
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        try retrying("connect", path) {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(raw, $0, size) }
            }
        }
        return socket
    }

    /// SASL's EXTERNAL without an identity: the bus takes the one that the kernel vouches for. Naming it would be wrong in a user namespace,
    /// where this process does not know its own number.
    private mutating func authenticate() throws {
        try send(Array("\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".utf8))
        var lines: [String] = []
        while lines.count < 2 {
            guard let end = received.firstIndex(of: UInt8(ascii: "\n")) else {
                try receive()
                continue
            }
            let line = String(decoding: received[..<end].filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
            received.removeSubrange(...end)
            lines.append(line)
            if line.hasPrefix("REJECTED") || line.hasPrefix("ERROR") { throw DBusFormatError(description: "the bus refuses this user") }
        }
        guard lines[0].hasPrefix("DATA"), lines[1].hasPrefix("OK ") else { throw DBusFormatError(description: "the bus answers \(lines)") }
    }

    private borrowing func send(_ bytes: [UInt8]) throws(KernelError) {
        var offset = 0
        let raw = socket.rawValue
        while offset < bytes.count {
            offset += try retrying("send") {
                bytes.withUnsafeBytes { Glibc.send(raw, $0.baseAddress.map { $0 + offset }, bytes.count - offset, Int32(MSG_NOSIGNAL)) }
            }
        }
    }

    private mutating func receive() throws {
        var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
        if try retrying("poll", "", { poll(&entry, 1, Int32(Self.patience * 1000)) }) == 0 {
            throw DBusFormatError(description: "the bus has not answered for \(Self.patience) seconds")
        }
        let part = try socket.read(upTo: 65536)
        if part.isEmpty { throw DBusFormatError(description: "the bus has closed the connection") }
        received += part
    }

    private mutating func next() throws -> DBusMessage {
        while true {
            if received.count >= DBusMessage.fixedHeader {
                let length = try DBusMessage.length(ofHeader: received)
                if received.count >= length {
                    let message = try DBusMessage(decoding: Array(received[..<length]))
                    received.removeSubrange(..<length)
                    return message
                }
            }
            try receive()
        }
    }

    /// Calls a method and waits for its reply; what else comes meanwhile is kept.
    @discardableResult
    mutating func call(
        _ member: String, of interface: String, on path: String, to destination: String, signature: String = "",
        _ body: (inout DBusWriter) -> Void = { writer in }
    ) throws -> DBusMessage {
        serial += 1
        var message = DBusMessage(call: member, of: interface, on: path, to: destination, serial: serial)
        message.signature = signature
        var writer = DBusWriter()
        body(&writer)
        message.body = writer.bytes
        try send(message.encoded())
        while true {
            let answer = try next()
            switch answer.kind {
            case .signal: signals.append(answer)
            case .reply where answer.replySerial == serial: return answer
            case .error where answer.replySerial == serial:
                var reader = DBusReader(answer.body)
                throw DBusCallError(name: answer.errorName, message: answer.signature.hasPrefix("s") ? try reader.string() : "")
            default: break
            }
        }
    }

    /// The next signal, one that came before included.
    mutating func nextSignal() throws -> DBusMessage {
        if !signals.isEmpty { return signals.removeFirst() }
        while true {
            let message = try next()
            if message.kind == .signal { return message }
        }
    }
}
