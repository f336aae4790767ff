import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import StrictJSON

/// How a twin ended.
struct TwinOutcome: Sendable {
    var output: [UInt8] = []
    var errors: [UInt8] = []
    /// Why it did not run to its end; nil when it did.
    var failure: String?
    /// What each step of its launch came to.
    var steps: [StepOutcome] = []
    /// Bytes of its log that were kept.
    var logged: UInt64 = 0
}

/// A command that was told to stop. Everything has been taken away.
public struct ProbeInterrupted: Error, Sendable {
    public let signal: Int32
}

/// Runs twins, a few at once, and collects what their programs write. One thread, one `poll`.
struct TwinRunner {
    let builder: TwinBuilder
    let runtime: String
    /// At once.
    let width: Int
    /// Milliseconds that a twin may take.
    let patience: Int
    let progress: (String) -> Void

    /// - Returns: one outcome an order.
    /// - Throws: `ProbeInterrupted` after SIGINT, SIGTERM or SIGHUP; `EngineError` when nothing can be run at all.
    ///
    /// - Parameter meanwhile: called over and over with the twins that run.
    func run(_ orders: [TwinOrder], meanwhile: (([RunningTwin]) throws -> Void)? = nil) throws -> [TwinOutcome] {
        let signals = try Self.openSignals()
        var outcomes = [TwinOutcome](repeating: TwinOutcome(), count: orders.count)
        var running: [RunningTwin] = []
        var next = 0
        while next < orders.count || !running.isEmpty {
            while next < orders.count, running.count < width {
                progress(orders[next].name)
                running.append(try RunningTwin(start(orders[next]), order: next, deadline: Self.now() + patience))
                next += 1
            }
            let signal = try Self.wait(signals, running, milliseconds: meanwhile == nil ? 250 : 5)
            if let signal { throw ProbeInterrupted(signal: signal) }
            try meanwhile?(running)
            for twin in running {
                if Self.now() > twin.deadline { try twin.giveUp("it took longer than \(patience / 1000) seconds") }
                try twin.take()
            }
            for twin in running where twin.isDone { outcomes[twin.order] = try twin.finished() }
            running.removeAll { $0.isDone }
        }
        return outcomes
    }

    private func start(_ order: TwinOrder) throws -> (MonitorParts) {
        let directory = try builder.build(order)
        guard let lock = try ContainerLock.take(directory.lock, create: true) else { throw EngineError("\(directory.lock) is locked") }
        let monitor = try MonitorLaunch.spawn(directory, lock: lock, runtime: runtime)
        return MonitorParts(directory: directory, process: monitor.process, socket: try monitor.socket.duplicate().release())
    }

    /// Milliseconds of a clock that only goes forward.
    private static func now() -> Int {
        var value = timespec()
        clock_gettime(CLOCK_MONOTONIC, &value)
        return value.tv_sec * 1000 + value.tv_nsec / 1_000_000
    }

    private static func openSignals() throws(KernelError) -> FileDescriptor {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, number) }
        if sigprocmask(SIG_BLOCK, &set, nil) != 0 { throw .last("sigprocmask") }
        return FileDescriptor(owning: try retrying("signalfd") { signalfd(-1, &set, Int32(SFD_CLOEXEC)) })
    }

    private static func wait(_ signals: borrowing FileDescriptor, _ running: [RunningTwin], milliseconds: Int32) throws(KernelError) -> Int32? {
        let readable = Int16(POLLIN)
        var polls = [pollfd(fd: signals.rawValue, events: readable, revents: 0)]
        polls += running.map { pollfd(fd: $0.socket, events: readable, revents: 0) }
        try retrying("poll") { poll(&polls, nfds_t(polls.count), milliseconds) }
        guard polls[0].revents != 0 else { return nil }
        var info = signalfd_siginfo()
        let raw = signals.rawValue
        try retrying("read") { read(raw, &info, MemoryLayout<signalfd_siginfo>.size) }
        return Int32(info.ssi_signo)
    }
}

/// A monitor that was spawned for a twin.
struct MonitorParts {
    let directory: ContainerDirectory
    let process: SpawnedProcess
    let socket: Int32
}

/// A twin that runs: its monitor's socket, and what came from it.
final class RunningTwin {
    let order: Int
    let socket: Int32
    var deadline: Int
    let directory: ContainerDirectory
    private let process: SpawnedProcess
    private var outcome = TwinOutcome()
    private var program: ContainerProgram?
    private(set) var isDone = false
    /// Its program runs.
    var isStarted: Bool { program != nil && !isDone }
    /// Bytes of output at the most.
    private static let limit = 4 << 20

    init(_ parts: MonitorParts, order: Int, deadline: Int) {
        self.order = order
        self.deadline = deadline
        socket = parts.socket
        directory = parts.directory
        process = parts.process
    }

    deinit { close(socket) }

    /// Reads what has come, without waiting.
    func take() throws(KernelError) {
        var buffer = [UInt8](repeating: 0, count: AttachFrame.limit + 1)
        while !isDone {
            let descriptor = socket
            let count: Int
            do {
                count = try retrying("recv") { buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) } }
            } catch {
                if error.errno == EAGAIN { return }
                if error.errno == ECONNRESET { continue }
                throw error
            }
            if count == 0 { return end("its monitor ended without a word") }
            do {
                try take(try AttachFrame.FromMonitor(decoding: Array(buffer[..<count])))
            } catch let error as KernelError {
                throw error
            } catch {
                return end("its monitor said what it does not say")
            }
        }
    }

    private func take(_ frame: AttachFrame.FromMonitor) throws(KernelError) {
        switch frame {
        case .output(let bytes): if outcome.output.count < Self.limit { outcome.output += bytes }
        case .errorOutput(let bytes): if outcome.errors.count < Self.limit { outcome.errors += bytes }
        case .started(let pid): program = try ContainerProgram(pid: pid)
        case .exited: end(nil)
        case .failed(let failure): end(failure.message)
        }
    }

    private func end(_ failure: String?) {
        isDone = true
        outcome.failure = outcome.failure ?? failure
    }

    /// Ends the twin; what it has said so far stays.
    func giveUp(_ why: String) throws(KernelError) {
        guard outcome.failure == nil else { return end(nil) }
        outcome.failure = why
        deadline += 2_000
        if program == nil { end(nil) } else { try program?.signal(SIGKILL) }
    }

    /// The log with its rotated predecessors.
    private static func size(ofLog directory: ContainerDirectory) throws(KernelError) -> UInt64 {
        var sum: UInt64 = 0
        let prefix = String(directory.log.split(separator: "/").last ?? "")
        for name in try DirectoryListing.names(of: directory.path) where name == prefix || name.hasPrefix(prefix + ".") {
            var status = stat()
            let path = "\(directory.path)/\(name)"
            try retrying("lstat", path) { lstat(path, &status) }
            sum += UInt64(clamping: status.st_size)
        }
        return sum
    }

    /// What came of it, when its monitor has put everything away.
    func finished() throws -> TwinOutcome {
        try process.wait()
        // The monitor lets go of the lock last.
        for _ in 0..<4000 {
            if try !ContainerLock.isHeld(directory.lock) { break }
            usleep(500)
        }
        outcome.steps = try RuntimeState.load(directory.state)?.outcomes.decoded() ?? []
        outcome.logged = try Self.size(ofLog: directory)
        return outcome
    }
}
