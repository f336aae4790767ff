import CLinux
import Glibc
import LinuxKernel
import Probe

/// Tries one probe after the other, each in a child that leads a session of its own and is gone afterwards with everything that it started.
public struct ProbeRunner {
    private let situation: Situation

    public init(_ situation: Situation) { self.situation = situation }

    /// Answers in the order of the request, each as soon as it is there, then `complete`.
    ///
    /// - Parameter write: one line.
    /// - Throws: `ProbeError` for an id that there is no attempt for, before anything is tried; what `write` throws.
    public func run(_ write: ([UInt8]) throws -> Void) throws {
        let ids = situation.request.probes ?? Attempts.ids
        if let unknown = ids.first(where: { Attempts.table[$0] == nil }) { throw ProbeError("there is no probe “\(unknown)”") }
        // What an attempt leaves running becomes a child of this process, and can be ended.
        if cl_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 { throw KernelError.last("prctl", "PR_SET_CHILD_SUBREAPER") }
        for id in ids { try write(try ProbeLine.answer(answer(id)).encoded()) }
        try write(try ProbeLine.complete(answers: ids.count).encoded())
    }

    /// One probe's answer, whatever becomes of its child.
    func answer(_ id: String) -> ProbeAnswer {
        guard let attempt = Attempts.table[id] else { return Finding.inconclusive("there is no such probe").answer(id) }
        var ends: [Int32] = [-1, -1]
        guard cl_pipe2(&ends, O_CLOEXEC) == 0 else { return Finding.inconclusive("no pipe: \(errnoName(errno))").answer(id) }
        let pid = cl_fork()
        if pid == 0 {
            close(ends[0])
            runChild(id, attempt, ends[1])
        }
        close(ends[1])
        defer { close(ends[0]) }
        if pid < 0 { return Finding.inconclusive("no child: \(errnoName(errno))").answer(id) }
        let line = receive(ends[0], of: id)
        // Itself and its session first; then whatever made a session of its own and was orphaned.
        kill(-pid, SIGKILL)
        kill(pid, SIGKILL)
        let end = awaitChild(pid)
        reapOrphans()
        return line ?? withoutAnswer(end).answer(id)
    }

    private func runChild(_ id: String, _ attempt: Attempt, _ pipe: Int32) -> Never {
        guard cl_prctl(PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0) == 0, setsid() >= 0 else { _exit(1) }
        signal(SIGPIPE, SIG_DFL)
        bound()
        let finding = attempt(situation)
        do {
            let line = try ProbeLine.answer(finding.answer(id)).encoded()
            _exit(line.withUnsafeBytes { write(pipe, $0.baseAddress, line.count) } == line.count ? 0 : 1)
        } catch {
            _exit(1)
        }
    }

    /// Bounds of one attempt: time of the clock and of the processor, no core dump, files no larger than a probe of resources writes.
    private func bound() {
        let span = UInt64(situation.request.secondsPerProbe)
        alarm(UInt32(span + 1))
        let largest = max(situation.limits.diskBytes ?? 0, situation.limits.sharedMemoryBytes ?? 0) + 64 << 20
        for (limit, value) in [(RLIMIT_CPU, span + 1), (RLIMIT_CORE, 0), (RLIMIT_FSIZE, largest)] {
            var soft: UInt64 = 0
            var hard: UInt64 = 0
            let number = Int32(limit.rawValue)
            // The soft limit alone, below the hard one, so that the probes of limits still see that one.
            guard cl_getrlimit(number, &soft, &hard) == 0, cl_prlimit(number, min(value, hard), hard) == 0 else { _exit(1) }
        }
    }

    /// The child's line, or nil when it ended without one or did not end in time.
    private func receive(_ pipe: Int32, of id: String) -> ProbeAnswer? {
        var bytes: [UInt8] = []
        let end = milliseconds() + Int64(situation.request.secondsPerProbe) * 1000
        while !bytes.contains(0x0A) && bytes.count <= ProbeAnswer.limit {
            var waiting = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Int32(clamping: max(0, end - milliseconds())))
            if ready == 0 { return Finding.inconclusive("no answer in \(situation.request.secondsPerProbe) seconds").answer(id) }
            if ready < 0 && errno == EINTR { continue }
            var buffer = [UInt8](repeating: 0, count: ProbeAnswer.limit)
            let length = ready < 0 ? -1 : read(pipe, &buffer, buffer.count)
            if length <= 0 { return nil }
            bytes += buffer[..<length]
        }
        do {
            guard case .answer(let answer) = try ProbeLine(decoding: bytes) else { return nil }
            return answer
        } catch {
            return nil
        }
    }

    /// A child that died: by a filter's hand, or otherwise.
    private func withoutAnswer(_ end: ChildEnd) -> Finding {
        switch end {
        case .signalled(SIGSYS): Finding(.held, signal: SIGSYS, "the attempt was ended with SIGSYS, as a filter of system calls does")
        case .signalled(SIGKILL): Finding(.held, signal: SIGKILL, "the attempt was ended with SIGKILL")
        case .signalled(let number): Finding(.inconclusive, signal: number, "the attempt ended with \(signalName(number))")
        case .exited(let code): .inconclusive("the attempt ended with code \(code) and without an answer")
        case .notMade(let number): .inconclusive("the attempt could not be waited for: \(errnoName(number))")
        }
    }

    private func reapOrphans() {
        while true {
            let pid = waitpid(-1, nil, WNOHANG | Int32(bitPattern: 0x4000_0000))
            if pid > 0 { continue }
            // Children that are still there are orphans of an attempt. Process 1 of a container has no others either.
            guard pid == 0, let list = text(of: "/proc/self/task/\(getpid())/children") else { return }
            let children = list.split(separator: " ").compactMap { Int32($0) }
            if children.isEmpty { return }
            for child in children {
                kill(child, SIGKILL)
                if case .notMade = awaitChild(child) { return }
            }
        }
    }

    private func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
