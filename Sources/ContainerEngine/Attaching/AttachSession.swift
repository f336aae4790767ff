import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import StrictJSON

/// A client of a container's monitor: relays the three streams, the terminal's size and signals until the container ends,
/// the user detaches, or the monitor is gone. One thread, one `poll`.
struct AttachSession: ~Copyable {
    /// What a client asks for.
    struct Options: Sendable {
        var showsOutput = true
        var showsErrors = true
        /// Send standard input.
        var sendsInput = false
        /// The container has a terminal.
        var terminal = false
        var detachKeys = DetachKeys.standard
        /// Pass signals on to the container's program.
        var proxiesSignals = true
    }

    /// How a session ends.
    enum End: Sendable, Equatable {
        case exited(Int32)
        case detached
        case failed(LaunchFailure)
        /// The monitor closed the connection without an exit code.
        case lost
    }

    private let socket: FileDescriptor
    private let signals: FileDescriptor
    private var options: Options
    private var inputIsOpen: Bool
    /// A frame that the socket could not take yet. While there is one, nothing is read from standard input: a client that
    /// blocked in a write could not take the container's output, and both would wait for each other.
    private var pending: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: AttachFrame.limit + 1)
    /// The container's program, known from the started frame; signals that came before it wait.
    private var program: ContainerProgram?
    private var waitingSignals: [Int32] = []

    /// - Parameter program: the container's program where it runs already.
    init(_ socket: consuming FileDescriptor, _ options: Options, program: consuming ContainerProgram? = nil) throws(KernelError) {
        self.socket = socket
        self.options = options
        self.program = program
        inputIsOpen = options.sendsInput
        signals = try Self.openSignals(proxying: options.proxiesSignals)
    }

    /// Blocks the signals of interest and makes them readable. Everything runs on one thread, and a signal can interrupt
    /// nothing half-done.
    private static func openSignals(proxying: Bool) throws(KernelError) -> FileDescriptor {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGWINCH)
        if proxying { for number in proxied { sigaddset(&set, number) } }
        if sigprocmask(SIG_BLOCK, &set, nil) != 0 { throw .last("sigprocmask") }
        return FileDescriptor(owning: try retrying("signalfd") { signalfd(-1, &set, Int32(SFD_CLOEXEC)) })
    }

    private static let proxied = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT]

    /// Relays until the end.
    ///
    /// - Parameter untilStarted: return nil as soon as the container runs (for `-d`).
    mutating func run(untilStarted: Bool = false) throws(KernelError) -> End? {
        if inputIsOpen { try send(.beginsInput) }
        while true {
            var polls = [
                pollfd(fd: socket.rawValue, events: Int16(POLLIN) | (pending.isEmpty ? 0 : Int16(POLLOUT)), revents: 0),
                pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: inputIsOpen && pending.isEmpty ? 0 : -1, events: Int16(POLLIN), revents: 0),
            ]
            try retrying("poll") { poll(&polls, 3, -1) }
            if polls[1].revents != 0 { try takeSignal() }
            if polls[0].revents & Int16(POLLOUT) != 0 { try flush() }
            if polls[0].revents & ~Int16(POLLOUT) != 0, let end = try receive(untilStarted) {
                return end == .started ? nil : end.end
            }
            if polls[2].revents != 0, try readInput() { return .detached }
        }
    }

    /// Waits until the monitor has closed the connection, which it does by ending: its lock is free then.
    func awaitMonitor(milliseconds: Int32) throws(KernelError) {
        var wait = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
        try retrying("poll") { poll(&wait, 1, milliseconds) }
    }

    /// What one frame means for the loop.
    private enum Event: Equatable {
        case started
        case ended(End)
        var end: End? { if case .ended(let end) = self { end } else { nil } }
    }

    private mutating func receive(_ untilStarted: Bool) throws(KernelError) -> Event? {
        let count: Int
        do {
            count = try retrying("recv") { buffer.withUnsafeMutableBytes { recv(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) } }
        } catch {
            if error.errno == EAGAIN { return nil }
            // The monitor has closed with frames of ours unread. That is told once, and before what it had still said (unix(7)).
            if error.errno == ECONNRESET { return nil }
            throw error
        }
        if count == 0 { return .ended(.lost) }
        let frame: AttachFrame.FromMonitor
        do {
            frame = try AttachFrame.FromMonitor(decoding: Array(buffer[..<count]))
        } catch {
            return .ended(.lost)  // What says such things is no monitor.
        }
        switch frame {
        case .output(let bytes): if options.showsOutput { try write(bytes, to: 1) }
        case .errorOutput(let bytes): if options.showsErrors { try write(bytes, to: 2) }
        case .exited(let code): return .ended(.exited(code))
        case .started(let pid):
            try started(pid)
            if untilStarted { return .started }
        case .failed(let failure): return .ended(.failed(failure))
        }
        return nil
    }

    private mutating func started(_ pid: Int32) throws(KernelError) {
        program = try ContainerProgram(pid: pid)
        try sendSize()
        for number in waitingSignals { try program?.signal(number) }
        waitingSignals = []
    }

    /// Standard output that nobody reads any more ends this client as it ends any other program (SIGPIPE).
    private func write(_ bytes: [UInt8], to descriptor: Int32) throws(KernelError) {
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
            if written > 0 {
                offset += written
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Somebody made the terminal non-blocking; it is not ours to change back.
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                try retrying("poll") { poll(&wait, 1, -1) }
            case EIO, EPIPE, EBADF: return
            default: throw .last("write")
            }
        }
    }

    private mutating func readInput() throws(KernelError) -> Bool {
        var input = [UInt8](repeating: 0, count: AttachFrame.limit)
        let count: Int
        do {
            count = try retrying("read") { input.withUnsafeMutableBytes { Glibc.read(0, $0.baseAddress, $0.count) } }
        } catch {
            if error.errno == EAGAIN { return false }
            // A terminal that hung up, or input that cannot be read: nothing more will come.
            count = 0
        }
        if count == 0 {
            inputIsOpen = false
            try send(.endOfInput)
            return false
        }
        guard options.terminal else {
            try send(.input(Array(input[..<count])))
            return false
        }
        let (output, isComplete) = options.detachKeys.filter(input[..<count])
        if !output.isEmpty { try send(.input(output)) }
        return isComplete
    }

    private mutating func send(_ frame: AttachFrame.FromClient) throws(KernelError) {
        pending = frame.encoded
        try flush()
    }

    private mutating func flush() throws(KernelError) {
        guard !pending.isEmpty else { return }
        do {
            try retrying("send") { Glibc.send(socket.rawValue, pending, pending.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
        } catch {
            if error.errno == EAGAIN { return }
            // The monitor is ending: what it still has to say comes by `receive`.
            if error.errno == EPIPE || error.errno == ECONNRESET { inputIsOpen = false } else { throw error }
        }
        pending = []
    }

    private mutating func takeSignal() throws(KernelError) {
        var info = signalfd_siginfo()
        try retrying("read") { Glibc.read(signals.rawValue, &info, MemoryLayout<signalfd_siginfo>.size) }
        let number = Int32(info.ssi_signo)
        if number == SIGWINCH {
            try sendSize()
        } else if program == nil {
            waitingSignals.append(number)
        } else {
            try program?.signal(number)
        }
    }

    private mutating func sendSize() throws(KernelError) {
        guard options.terminal, pending.isEmpty, let size = TerminalWindow.size(of: 0) ?? TerminalWindow.size(of: 1) else { return }
        try send(.resize(rows: size.rows, columns: size.columns))
    }
}

/// The container's first program, held by a descriptor so that no other process can be meant.
struct ContainerProgram: ~Copyable {
    private let descriptor: FileDescriptor

    /// Nil when it has ended already.
    init?(pid: Int32) throws(KernelError) {
        do {
            descriptor = try Processes.open(pid)
        } catch {
            if error.errno == ESRCH { return nil }
            throw error
        }
    }

    /// Sends a signal; one that comes too late is no error.
    borrowing func signal(_ number: Int32) throws(KernelError) {
        do {
            try Processes.signal(descriptor, number)
        } catch {
            if error.errno != ESRCH { throw error }
        }
    }
}
