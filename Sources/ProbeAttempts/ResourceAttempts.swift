import CLinux
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// Each goes a little beyond the figure of the request and no further.
    static let resources: Group = [
        ("res-processes", forkBeyond),
        ("res-memory", useMemory),
        ("res-disk", { fill($0, $0.limits.diskDirectory ?? "/tmp", $0.limits.diskBytes) }),
        ("res-shared-memory", { fill($0, "/dev/shm", $0.limits.sharedMemoryBytes) }),
        ("res-files", openBeyond),
        ("res-inotify", { _ in openingForWriting(["/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"]) }),
        ("res-core", examineCore),
        ("res-processor", burn),
        ("res-realtime", examineLimits),
        ("res-log", flood),
    ]

    private static let refusal = Finding.inconclusive("the request gives no figure, and without one it is not tried")

    private static func forkBeyond(_ situation: Situation) -> Finding {
        guard let limit = situation.limits.processes else { return refusal }
        var children: [Int32] = []
        var denial: Int32 = 0
        // This program itself is one process at least.
        while children.count < limit {
            let pid = cl_fork()
            if pid == 0 { while true { pause() } }
            if pid < 0 {
                denial = errno
                break
            }
            children.append(pid)
        }
        for pid in children { kill(pid, SIGKILL) }
        for pid in children where awaitChild(pid) == .notMade(ECHILD) { return .inconclusive("child \(pid) was waited for by somebody else") }
        return denial == 0
            ? .reached("\(children.count) processes were made beside this one, whose limit is said to be \(limit)")
            : .denied(denial, "fork(2) after \(children.count) processes")
    }

    /// In a child that asks to be ended first.
    private static func useMemory(_ situation: Situation) -> Finding {
        guard let limit = situation.limits.memoryBytes else { return refusal }
        let size = Int(limit) + 16 << 20
        let end = runInChild {
            let score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)
            if score >= 0 && write(score, "1000", 4) < 0 { close(score) }
            guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x4000, -1, 0), memory != MAP_FAILED else {
                return errno
            }
            for offset in stride(from: 0, to: size, by: 4096) { memory.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self) }
            return 0
        }
        switch end {
        case .exited(0): return .reached("\(size >> 20) MiB were used, where the limit is said to be \(limit >> 20)")
        case .exited(let number): return .denied(number, "\(size >> 20) MiB")
        case .signalled(let number): return Finding(.held, signal: number, "using \(size >> 20) MiB: \(signalName(number))")
        case .notMade(let number): return .inconclusive("no child: \(errnoName(number))")
        }
    }

    private static func fill(_ situation: Situation, _ directory: String, _ limit: UInt64?) -> Finding {
        guard let limit else { return refusal }
        // O_TMPFILE has no name that could stay behind; where a file system has none, the name goes at once.
        var file = open(directory, O_RDWR | 0o20200000 | O_CLOEXEC, 0o600)
        if file < 0 {
            let path = "\(directory)/coffer-probe-\(getpid())"
            file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if file < 0 { return errno == ENOENT ? .absent("there is no \(directory)") : .denied(errno, "a file in \(directory)") }
            unlink(path)
        }
        defer { close(file) }
        let size = limit + 1 << 20
        var done: UInt64 = 0
        let block = [UInt8](repeating: 1, count: 1 << 20)
        while done < size {
            let written = write(file, block, block.count)
            if written <= 0 { return .denied(written == 0 ? ENOSPC : errno, "writing to \(directory) after \(done >> 20) MiB") }
            done += UInt64(written)
        }
        return .reached("\(done >> 20) MiB were written to \(directory), where the limit is said to be \(limit >> 20)")
    }

    private static func openBeyond(_ situation: Situation) -> Finding {
        guard let limit = situation.limits.openFiles else { return refusal }
        var count = 0
        while count <= limit {
            if dup(0) < 0 { return .denied(errno, "dup(2) after \(count) descriptors") }
            count += 1
        }
        return .reached("\(count) descriptors were opened, where the limit is said to be \(limit)")
    }

    // MARK: Limits that are read

    private static func hardLimit(_ number: Int32) -> UInt64? {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        return cl_getrlimit(number, &soft, &hard) == 0 ? hard : nil
    }

    private static func examineCore(_ situation: Situation) -> Finding {
        guard let hard = hardLimit(Int32(RLIMIT_CORE.rawValue)) else { return .denied(errno, "getrlimit(2)") }
        return hard == .max ? .information("the size of a core dump is not limited") : .held("core dumps of \(hard) bytes at the most")
    }

    private static func examineLimits(_ situation: Situation) -> Finding {
        let limits: [(String, Int32)] = [
            ("locked memory", RLIMIT_MEMLOCK), ("message queues", 12), ("pending signals", 11), ("real-time priority", 14),
        ]
        let unlimited = limits.filter { hardLimit($0.1) == .max }.map(\.0)
        return unlimited.isEmpty ? .held("each is limited") : .information("without limit: \(unlimited.joined(separator: ", "))")
    }

    // MARK: Processor

    /// As many children as the limit has processors, and one more, for 0.6 seconds: several periods of a quota.
    private static func burn(_ situation: Situation) -> Finding {
        guard let limit = situation.limits.processorPercent else { return refusal }
        let span = 0.6
        let burners = limit / 100 + 1
        let begun = seconds(CLOCK_MONOTONIC)
        var children: [Int32] = []
        for _ in 0..<burners {
            let pid = cl_fork()
            if pid == 0 {
                while seconds(CLOCK_MONOTONIC) - begun < span {}
                _exit(0)
            }
            if pid > 0 { children.append(pid) }
        }
        for pid in children where awaitChild(pid) != .exited(0) { return .inconclusive("a child did not end as it should") }
        guard children.count == burners else { return .inconclusive("\(children.count) of \(burners) children could be made") }
        let elapsed = seconds(CLOCK_MONOTONIC) - begun
        var used = rusage()
        getrusage(RUSAGE_CHILDREN.rawValue, &used)
        let cpu = Double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + Double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6
        let percent = Int(cpu / elapsed * 100)
        let text = "\(burners) processes had \(percent) % of a processor, where the limit is said to be \(limit) %"
        return percent > limit + limit / 4 + 5 ? .reached(text) : .held(text)
    }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// To standard error, which the engine keeps; how much of it is seen outside.
    private static func flood(_ situation: Situation) -> Finding {
        guard let bytes = situation.limits.logBytes else { return refusal }
        let line = Array(String(repeating: "coffer-probe ", count: 78).utf8) + [0x0A]
        var done: UInt64 = 0
        while done < bytes {
            let written = write(2, line, line.count)
            if written < 0 { return .denied(errno, "writing to standard error after \(done) bytes") }
            done += UInt64(written)
        }
        return .tried("\(done) bytes were written to standard error")
    }
}
