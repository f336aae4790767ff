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

    /// Starts decompressing.
    ///
    /// - Parameter source: the compressed stream, read from its current offset on.
    /// - Returns: the process, with the end of the pipe to read from.
    static func start(
        _ program: String, _ compression: MediaType.Compression, _ source: borrowing FileDescriptor
    ) throws(KernelError) -> Inflater {
        let (readEnd, writeEnd) = try makePipe()
        let output = FileDescriptor(owning: readEnd)
        let input = FileDescriptor(owning: writeEnd)
        // As large as an unprivileged user may have: fewer switches between the two processes. A smaller one works too.
        if cl_fcntl(readEnd, 1031 /* F_SETPIPE_SZ */, 1 << 20) < 0 && errno != EPERM && errno != EINVAL { throw .last("fcntl", "F_SETPIPE_SZ") }
        let pair = try SocketPair()
        let ends = pair.ends()
        let ours = FileDescriptor(owning: ends.0)
        let theirs = FileDescriptor(owning: ends.1)
        let process = try SpawnedProcess.start(
            program, ["coffer", "internal", "inflate", compression.rawValue],
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
    /// - Returns: the exit status.
    static func main(_ algorithm: String) throws -> Int32 {
        guard let compression = MediaType.Compression(rawValue: algorithm), compression != .none else { return 2 }
        do {
            let root = try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY)
            try SandboxRestriction.inflate.apply(root: root)
            switch compression {
            case .gzip: try GzipStream.decompress(from: 0, to: 1)
            case .zstd: try ZstandardStream.decompress(from: 0, to: 1)
            case .none: break
            }
            return 0
        } catch {
            let socket = FileDescriptor(owning: OwnerNamespace.socketDescriptor)
            try socket.sendMessage(Array("\(error)".utf8.prefix(4096)))
            return 1
        }
    }
}

/// Reads and writes of a stream process, in whole buffers.
enum StreamIO {
    static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) throws(KernelError) -> Int {
        try retrying("read") { Glibc.read(descriptor, buffer.baseAddress, buffer.count) }
    }

    static func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws(KernelError) {
        var offset = 0
        while offset < bytes.count {
            offset += try retrying("write") { Glibc.write(descriptor, bytes.baseAddress.map { $0 + offset }, bytes.count - offset) }
        }
    }
}
