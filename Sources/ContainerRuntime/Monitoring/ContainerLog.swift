import Glibc
import LinuxKernel
import OCISpec

/// Docker's json-file log: one JSON object per line of output, rotated by size.
///
/// The log is the host's file and never fails the container: when the disk is full, lines are dropped and counted.
struct ContainerLog: ~Copyable {
    enum Stream: String { case stdout, stderr }

    private let policy: LogPolicy
    private var file: FileDescriptor
    private var size: Int
    private var partial: [Stream: [UInt8]] = [:]
    /// Lines that could not be written.
    private(set) var dropped = 0

    /// A line without an end is written in parts of this many bytes, as Docker does.
    private static let partialLimit = 16384

    /// Opens the current file of a log, or makes it.
    static func openFile(_ policy: LogPolicy) throws(KernelError) -> FileDescriptor {
        try FileDescriptor.open(policy.path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, mode: 0o600)
    }

    /// - Parameter file: what `openFile` gave.
    init(_ policy: LogPolicy, file: consuming FileDescriptor) throws(KernelError) {
        size = Int(try file.status().st_size)
        self.policy = policy
        self.file = file
    }

    /// Logs what the payload wrote; lines without an end wait for it.
    mutating func append(_ bytes: [UInt8], _ stream: Stream) {
        var pending = partial[stream] ?? []
        var text: [UInt8] = []
        let time = Timestamp.now()
        var start = 0
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
            pending += bytes[start...index]
            add(Self.line(pending, stream, time), to: &text)
            pending.removeAll(keepingCapacity: true)
            start = index + 1
        }
        pending += bytes[start...]
        while pending.count >= Self.partialLimit {
            add(Self.line(Array(pending[..<Self.partialLimit]), stream, time), to: &text)
            pending.removeFirst(Self.partialLimit)
        }
        partial[stream] = pending.isEmpty ? nil : pending
        write(text)
    }

    /// Logs lines that never got an end.
    mutating func finish() {
        for (stream, bytes) in partial { write(Self.line(bytes, stream, Timestamp.now())) }
        partial = [:]
    }

    /// Collects lines for one write, but for no more than fits into the file.
    private mutating func add(_ line: [UInt8], to text: inout [UInt8]) {
        if size + text.count + line.count > policy.maxBytes {
            write(text)
            text.removeAll(keepingCapacity: true)
        }
        text += line
    }

    private mutating func write(_ text: [UInt8]) {
        if text.isEmpty { return }
        do {
            if size + text.count > policy.maxBytes, size > 0 { try rotate() }
            try file.writeAll(text)
            size += text.count
        } catch {
            dropped += 1
        }
    }

    private mutating func rotate() throws {
        for number in stride(from: policy.maxFiles - 1, to: 0, by: -1) {
            let older = "\(policy.path).\(number)"
            let newer = number == 1 ? policy.path : "\(policy.path).\(number - 1)"
            if rename(newer, older) != 0 && errno != ENOENT { throw KernelError.last("rename", newer) }
        }
        if policy.maxFiles <= 1 { unlink(policy.path) }
        file = try Self.openFile(policy)
        size = Int(try file.status().st_size)
    }

    /// `{"log":…,"stream":…,"time":…}` and a line feed.
    static func line(_ bytes: [UInt8], _ stream: Stream, _ time: String) -> [UInt8] {
        var text = Array(#"{"log":""#.utf8)
        text.reserveCapacity(bytes.count + 80)
        // Invalid UTF-8 becomes U+FFFD, as Docker has it: the log is JSON whatever the payload writes.
        let clean = bytes.allSatisfy { $0 < 0x80 } ? bytes : Array(String(decoding: bytes, as: UTF8.self).utf8)
        for byte in clean {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case UInt8(ascii: "\n"): text += Array("\\n".utf8)
            case UInt8(ascii: "\r"): text += Array("\\r".utf8)
            case UInt8(ascii: "\t"): text += Array("\\t".utf8)
            case 0..<0x20, 0x7f:
                let digits = Array("0123456789abcdef".utf8)
                text += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: text.append(byte)
            }
        }
        return text + Array(#"","stream":"\#(stream.rawValue)","time":"\#(time)"}"#.utf8) + [UInt8(ascii: "\n")]
    }
}

/// Wall-clock time.
enum Timestamp {
    /// Nanoseconds since the epoch.
    static func nanoseconds() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }

    /// RFC 3339 with nanoseconds, UTC: "2026-01-02T03:04:05.000000006Z".
    static func now() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func padded(_ value: Int, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(parts.tm_year + 1900)-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let time = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(padded(now.tv_nsec, 9))Z"
    }
}
