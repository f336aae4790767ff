import CLinux
import Glibc

/// An open file that is closed when its owner goes out of scope.
///
/// Every descriptor is opened close-on-exec (rule R3, CVE-2024-21626): what a program may inherit is named explicitly at spawn.
public struct FileDescriptor: ~Copyable, Sendable {
    /// The number, for system calls. It stays owned by this value.
    public let rawValue: Int32

    /// Takes ownership of `rawValue`.
    public init(owning rawValue: Int32) { self.rawValue = rawValue }

    /// No file: every call on it fails with EBADF, and nothing is closed.
    public static var none: FileDescriptor { FileDescriptor(owning: -1) }

    deinit {
        // Nothing can be done about an error here; writers call `close()`.
        if rawValue >= 0 { Glibc.close(rawValue) }
    }

    /// Gives the number up: the caller closes it.
    public consuming func release() -> Int32 {
        let value = rawValue
        discard self
        return value
    }

    /// Closes, and reports what deferred writes ran into (EIO, ENOSPC, EDQUOT).
    public consuming func close() throws(KernelError) {
        let value = rawValue
        discard self
        if Glibc.close(value) != 0 && Glibc.errno != EINTR { throw .last("close") }
    }

    /// dup(2) with close-on-exec.
    public borrowing func duplicate() throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("fcntl") { fcntl(rawValue, F_DUPFD_CLOEXEC, 3) })
    }
}

extension FileDescriptor {
    /// open(2) of a host path, close-on-exec. Never for a path below a container's root: that is `Root.open`.
    public static func open(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("open", path) { Glibc.open(path, flags | O_CLOEXEC, mode) })
    }

    /// openat(2), close-on-exec.
    public borrowing func open(at path: String, _ flags: Int32, mode: mode_t = 0) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("openat", path) { openat(rawValue, path, flags | O_CLOEXEC, mode) })
    }

    /// Reads up to `count` bytes; an empty result is the end of the file.
    public borrowing func read(upTo count: Int) throws(KernelError) -> [UInt8] {
        let raw = rawValue
        return try [UInt8](ofAtMost: count) { buffer throws(KernelError) in
            try retrying("read") { Glibc.read(raw, buffer.baseAddress, count) }
        }
    }

    /// Reads to the end of the file.
    ///
    /// - Throws: EFBIG when there are more than `limit` bytes: no file is read without a bound (rule R10).
    public borrowing func readAll(limit: Int) throws(KernelError) -> [UInt8] {
        var bytes: [UInt8] = []
        // Most of what is read is short, and fresh pages are what reading it costs.
        var size = 8192
        while true {
            let part = try read(upTo: size)
            if part.isEmpty { return bytes }
            bytes += part
            if bytes.count > limit { throw KernelError(call: "read", errno: EFBIG) }
            size = min(size * 2, 1 << 20)
        }
    }

    /// Writes all bytes.
    public borrowing func writeAll(_ bytes: some Collection<UInt8>) throws(KernelError) {
        let buffer = Array(bytes)
        var offset = 0
        while offset < buffer.count {
            offset += try retrying("write") {
                buffer.withUnsafeBytes { Glibc.write(rawValue, $0.baseAddress.map { $0 + offset }, buffer.count - offset) }
            }
        }
    }

    /// Where the link leads that this is a descriptor of (O_PATH and O_NOFOLLOW); nil for what is no link.
    public borrowing func linkTarget() throws(KernelError) -> String? {
        if try status().st_mode & S_IFMT != S_IFLNK { return nil }
        var buffer = [CChar](repeating: 0, count: 4097)
        let length = try retrying("readlinkat") { readlinkat(rawValue, "", &buffer, 4096) }
        return String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A number that the kernel tells of an open file, such as "mnt_id" (proc_pid_fdinfo(5)); nil where it tells none of this name.
    public borrowing func information(_ name: String) throws(KernelError) -> Int64? {
        let table = String(decoding: try readFile("/proc/self/fdinfo/\(rawValue)", limit: 4096), as: UTF8.self)
        let line = table.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.flatMap { Int64($0.dropFirst(name.utf8.count + 1).drop { $0 == "\t" || $0 == " " }) }
    }

    /// fstat(2).
    public borrowing func status() throws(KernelError) -> stat {
        var result = stat()
        try retrying("fstat") { fstat(rawValue, &result) }
        return result
    }
}

extension [UInt8] {
    /// What a call writes. The memory is not cleared before: of a buffer that is seldom filled, most pages are never touched.
    ///
    /// - Parameter fill: answers how many bytes it wrote, from the start.
    init(ofAtMost capacity: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) throws(KernelError) -> Int) throws(KernelError) {
        var failure: KernelError?
        self.init(unsafeUninitializedCapacity: capacity) { buffer, length in
            do throws(KernelError) {
                length = try fill(buffer)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}

/// Reads a whole host file with a bound.
public func readFile(_ path: String, limit: Int = 16 << 20) throws(KernelError) -> [UInt8] {
    do {
        return try FileDescriptor.open(path, O_RDONLY).readAll(limit: limit)
    } catch {
        throw KernelError(call: error.call, errno: error.errno, subject: path)
    }
}

/// Replaces a host file in one step: readers see the old content or the new, never a part (rename(2)).
///
/// - Parameter durably: on the disk before it takes the old one's place, so that a power cut leaves the one or the other.
public func replaceFile(
    _ path: String, with bytes: some Collection<UInt8>, mode: mode_t = 0o600, durably: Bool = false
) throws(KernelError) {
    let temporary = path + ".new"
    do {
        let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: mode)
        try file.writeAll(bytes)
        let raw = file.rawValue
        if durably { try retrying("fdatasync", path) { fdatasync(raw) } }
        try file.close()
        try retrying("rename", path) { rename(temporary, path) }
    } catch {
        unlink(temporary)
        throw KernelError(call: error.call, errno: error.errno, subject: path)
    }
}
