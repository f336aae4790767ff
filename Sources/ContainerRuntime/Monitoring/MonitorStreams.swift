import CLinux
import Glibc
import LinuxKernel

/// The pipes between a payload and its monitor.
struct MonitorStreams {
    /// The payload's stdin, stdout, stderr; nil with a terminal.
    let payload: [Int32]?
    /// The monitor's ends of the same; -1 where there is none.
    let ours: (input: Int32, output: Int32, errorOutput: Int32)

    init(terminal: Bool, stdinOpen: Bool) throws {
        if terminal {
            payload = nil
            ours = (-1, -1, -1)
            return
        }
        let output = try makePipe()
        let errors = try makePipe()
        var input: (read: Int32, write: Int32) = (-1, -1)
        if stdinOpen {
            input = try makePipe()
            try retrying("fcntl") { cl_fcntl(input.write, F_SETFL, Int(O_WRONLY | O_NONBLOCK)) }
        } else {
            input.read = try FileDescriptor.open("/dev/null", O_RDONLY).release()
        }
        // Programs reopen their streams through /dev/stdout as whatever user they have become: the pipes belong to this
        // container alone, so anyone in it may.
        for end in [output.write, errors.write] + (stdinOpen ? [input.read] : []) {
            try retrying("fchmod") { fchmod(end, 0o666) }
        }
        for end in [output.read, errors.read] { try retrying("fcntl") { cl_fcntl(end, F_SETFL, Int(O_RDONLY | O_NONBLOCK)) } }
        payload = [input.read, output.write, errors.write]
        ours = (input.write, output.read, errors.read)
    }
}

/// What a monitor keeps in memory while it waits.
enum MemoryFootprint {
    /// Gives back what only the start needed: free heap, and pages of the program itself, which the kernel reads again from
    /// the file when they are touched.
    static func shrink() {
        cl_trim_heap()
        let maps: [UInt8]
        do {
            maps = try readFile("/proc/self/maps", limit: 1 << 20)
        } catch {
            return
        }
        for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            // Read-only, private, of a file: pages that are certainly clean.
            guard fields.count > 5, fields[1] == "r-xp" || fields[1] == "r--p", fields[5].hasPrefix("/") else { continue }
            let range = fields[0].split(separator: "-")
            guard let start = UInt(range[0], radix: 16), let end = UInt(range[1], radix: 16), end > start else { continue }
            madvise(UnsafeMutableRawPointer(bitPattern: start), Int(end - start), 4)  // MADV_DONTNEED
        }
    }
}
