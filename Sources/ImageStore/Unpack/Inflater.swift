import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// A process that decompresses one stream into a pipe: `internal inflate ALGORITHM`.
///
/// The decompressors are C libraries fed by strangers: their process may read descriptor 0, write descriptor 1 and end,
/// and has no file, no network and no other call. It also keeps a second core busy while the first one writes files.
struct Inflater {
    private let process: SpawnedProcess
    /// The child writes one sentence here when it fails.
    private let complaints: SharedDescriptor
    /// The uncompressed stream.
    let output: SharedDescriptor

    /// F_SETPIPE_SZ (fcntl(2)), which glibc shows to C under _GNU_SOURCE only.
    private static let setPipeSize: Int32 = 1031

    /// Starts decompressing.
    ///
    /// - Parameters:
    ///   - algorithm: a `MediaType.Compression`, or `InflateProgram.detect`.
    ///   - source: the compressed stream, read from its current offset on.
    /// - Returns: the process, with the end of the pipe to read from.
    static func start(
        _ program: String, _ algorithm: String, _ source: borrowing FileDescriptor
    ) throws(KernelError) -> Inflater {
        let (readEnd, writeEnd) = try makePipe()
        let output = FileDescriptor(owning: readEnd)
        let input = FileDescriptor(owning: writeEnd)
        // As large as an unprivileged user may have: fewer switches between the two processes. A smaller one works too.
        if cl_fcntl(readEnd, Self.setPipeSize, 1 << 20) < 0 && errno != EPERM && errno != EINVAL { throw .last("fcntl", "F_SETPIPE_SZ") }
        let pair = try SocketPair()
        let ends = pair.ends()
        let ours = FileDescriptor(owning: ends.0)
        let theirs = FileDescriptor(owning: ends.1)
        let process = try SpawnedProcess.start(
            program, ["coffer", "internal", "inflate", algorithm],
            descriptors: [source.rawValue, input.rawValue, 2, theirs.rawValue])
        return Inflater(process: process, complaints: SharedDescriptor(ours), output: SharedDescriptor(output))
    }

    /// Waits for the process. - Returns: what it complained about, or nil when the stream was whole.
    func finish() throws(KernelError) -> String? {
        let socket = FileDescriptor(owning: complaints.release())
        let complaint = try socket.receiveMessage(limit: 4096)?.bytes
        switch try process.wait() {
        case .exited(0): return nil
        case .signalled(SIGPIPE): return nil  // Its reader gave up first and says why.
        case .signalled(let number): return "the decompressing process was killed by signal \(number)"
        case .exited(let code): return complaint.map { String(decoding: $0, as: UTF8.self) } ?? "the decompressing process failed (status \(code))"
        }
    }

    /// Ends the process without an answer.
    func kill() throws(KernelError) { try process.killAndWait() }
}

/// A descriptor of a value that is copied; closed on request or with the last copy.
final class SharedDescriptor {
    private(set) var rawValue: Int32

    init(_ descriptor: consuming FileDescriptor) { rawValue = descriptor.release() }

    deinit { close() }

    /// Gives the number up: the caller closes it.
    func release() -> Int32 {
        defer { rawValue = -1 }
        return rawValue
    }

    func close() {
        if rawValue >= 0 { Glibc.close(rawValue) }
        rawValue = -1
    }
}

/// The inflating process's own code.
enum InflateProgram {
    /// In place of an algorithm: look at the first bytes, and pass on what is not compressed.
    static let detect = "detect"

    /// - Returns: the exit status.
    static func main(_ algorithm: String) throws -> Int32 {
        do {
            let root = try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY)
            try SandboxRestriction.inflate.apply(root: root)
            var input = StreamInput(0)
            let isDetected = algorithm == Self.detect
            guard
                let compression = isDetected
                    ? try StreamFormat.compression(of: try input.peek(StreamFormat.magicBytes)) : MediaType.Compression(rawValue: algorithm)
            else { throw UnpackFailure("the compression \(algorithm) is not known") }
            switch compression {
            case .gzip: try GzipStream.decompress(from: &input, to: 1)
            case .zstd: try ZstandardStream.decompress(from: &input, to: 1)
            case .none: try StreamOutput.copy(from: &input, to: 1)
            }
            return 0
        } catch {
            let socket = FileDescriptor(owning: OwnerNamespace.socketDescriptor)
            try socket.sendMessage(Array("\(error)".utf8.prefix(4096)))
            return 1
        }
    }
}

/// A stream process's input: bytes that were looked at already, then the descriptor.
struct StreamInput {
    let descriptor: Int32
    private(set) var pending: [UInt8] = []

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Looks at the first bytes, at most `count`, without consuming them.
    mutating func peek(_ count: Int) throws(KernelError) -> [UInt8] {
        while pending.count < count {
            var part = [UInt8](repeating: 0, count: count - pending.count)
            let length = try retrying("read") { part.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) } }
            if length == 0 { break }
            pending += part[..<length]
        }
        return Array(pending.prefix(count))
    }

    /// - Returns: how many bytes were read; 0 at the end.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(KernelError) -> Int {
        if pending.isEmpty { return try retrying("read") { Glibc.read(descriptor, buffer.baseAddress, buffer.count) } }
        let count = min(pending.count, buffer.count)
        buffer.copyBytes(from: pending[..<count])
        pending.removeFirst(count)
        return count
    }
}

/// Writes of a stream process, in whole buffers.
enum StreamOutput {
    static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(KernelError) {
        var offset = 0
        while offset < bytes.count {
            offset += try retrying("write") { Glibc.write(descriptor, bytes.baseAddress.map { $0 + offset }, bytes.count - offset) }
        }
    }

    /// Passes a stream on as it is.
    static func copy(from input: inout StreamInput, to output: Int32) throws(KernelError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            let count = try input.read(into: buffer)
            if count == 0 { return }
            try writeAll(output, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }
}
