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
struct MemoryFootprint {
    private var starts: [UInt] = []
    private var lengths: [Int] = []
    private var advice: [Int32] = []

    /// What is done with a mapping of the program's file. Pages that can only be clean are dropped (MADV_DONTNEED); of data,
    /// whose written pages must stay, the kernel takes what is clean (MADV_PAGEOUT, Linux 5.4).
    private static let kinds: [String: Int32] = ["r-xp": 4, "r--p": 4, "rw-p": 21]

    /// Gives free heap back, and notes the program's own mappings of file pages: the kernel reads such pages again from the
    /// file when they are touched.
    init() {
        cl_trim_heap()
        let maps: [UInt8]
        do {
            maps = try readFile("/proc/self/maps", limit: 1 << 20)
        } catch {
            return  // it costs memory only
        }
        for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            guard fields.count > 5, fields[5].hasPrefix("/"), let kind = Self.kinds[String(fields[1])] else { continue }
            let range = fields[0].split(separator: "-")
            guard let start = UInt(range[0], radix: 16), let end = UInt(range[1], radix: 16), end > start else { continue }
            starts.append(start)
            lengths.append(Int(end - start))
            advice.append(kind)
        }
    }

    /// poll(2). A container that is busy is served at once; one that has been idle for a fifth of a second gives its
    /// monitor's program pages back before the monitor sleeps on.
    func poll(_ list: inout [pollfd]) throws(KernelError) {
        let count = nfds_t(list.count)
        if try retrying("poll", "", { Glibc.poll(&list, count, 200) }) > 0 { return }
        try retrying("poll") { cl_poll_lean(&list, UInt32(count), starts, lengths, advice, UInt32(starts.count)) }
    }
}
