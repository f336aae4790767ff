import CLinux
import Glibc
import LinuxKernel

/// Carries the caller's standard streams to a process in a container and back, through pipes or a terminal: no descriptor of
/// the caller's own terminal or files ever gets inside.
struct StreamRelay: ~Copyable {
    /// Where the process reads and writes; -1 when closed. With a terminal, input and output are the same descriptor.
    var input: Int32
    var output: Int32
    var errorOutput: Int32
    let terminal: Bool
    private var pending: [UInt8] = []
    private var readsInput: Bool
    /// The caller's terminal while the relay runs.
    private var raw: RawTerminal?

    init(input: Int32, output: Int32, errorOutput: Int32, terminal: Bool, readsInput: Bool) {
        self.input = input
        self.output = output
        self.errorOutput = errorOutput
        self.terminal = terminal
        self.readsInput = readsInput
    }

    /// Relays until the process behind `pidfd` has ended and everything it wrote is delivered.
    mutating func run(until pidfd: borrowing FileDescriptor) throws {
        if terminal, isatty(0) == 1 { raw = try RawTerminal(0) }
        if terminal { WindowSize.follow(0) }
        resizeIfNeeded(force: true)
        while true {
            resizeIfNeeded(force: false)
            let readable = Int16(POLLIN)
            var list = [
                pollfd(fd: pidfd.rawValue, events: readable, revents: 0), pollfd(fd: output, events: readable, revents: 0),
                pollfd(fd: errorOutput, events: readable, revents: 0),
                pollfd(fd: readsInput && pending.isEmpty && input >= 0 ? 0 : -1, events: readable, revents: 0),
                pollfd(fd: pending.isEmpty ? -1 : input, events: Int16(POLLOUT), revents: 0),
            ]
            if poll(&list, nfds_t(list.count), -1) < 0 {
                if errno == EINTR { continue }
                throw KernelError.last("poll")
            }
            if list[1].revents != 0, !copy(output, to: 1) { output = -1 }
            if list[2].revents != 0, !copy(errorOutput, to: 2) { errorOutput = -1 }
            if list[3].revents != 0 { readInput() }
            if list[4].revents != 0 { writeInput() }
            if list[0].revents != 0 { break }
        }
        while output >= 0, copy(output, to: 1) {}
        while errorOutput >= 0, copy(errorOutput, to: 2) {}
        raw = nil
    }

    private func copy(_ source: Int32, to target: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 32768)
        let count = read(source, &buffer, buffer.count)
        if count < 0 && errno == EINTR { return true }
        if count <= 0 { return false }
        var offset = 0
        while offset < count {
            let written = buffer.withUnsafeBytes { write(target, $0.baseAddress.map { $0 + offset }, count - offset) }
            if written < 0 && errno == EINTR { continue }
            if written < 0 { return false }
            offset += written
        }
        return true
    }

    private mutating func readInput() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(0, &buffer, buffer.count)
        if count < 0 && (errno == EINTR || errno == EAGAIN) { return }
        if count <= 0 {
            readsInput = false
            if !terminal {
                close(input)
                input = -1
            }
            return
        }
        pending = Array(buffer[..<count])
        writeInput()
    }

    private mutating func writeInput() {
        let count = pending.withUnsafeBytes { write(input, $0.baseAddress, $0.count) }
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        if count < 0 {
            pending = []
            readsInput = false
            return
        }
        pending.removeFirst(count)
    }

    private func resizeIfNeeded(force: Bool) {
        guard terminal, force || WindowSize.changed, let size = TerminalWindow.size(of: 0) else { return }
        WindowSize.changed = false
        do {
            try TerminalWindow.resize(output, rows: size.rows, columns: size.columns)
        } catch {
            // The process has ended; its terminal is gone.
        }
    }
}

/// Changes of the caller's window, noted by the signal handler. One thread only.
enum WindowSize {
    nonisolated(unsafe) static var changed = false

    static func follow(_ descriptor: Int32) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in WindowSize.changed = true }
        sigaction(SIGWINCH, &action, nil)
    }
}

/// Hands signals that the caller gets to the payload. One thread only.
enum SignalForwarding {
    nonisolated(unsafe) private static var target: Int32 = -1

    /// - Parameter pidfd: stays open for as long as signals may come.
    static func forward(to pidfd: Int32) {
        target = pidfd
        for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
            signal(number) { number in cl_pidfd_send_signal(SignalForwarding.target, number) }
        }
    }
}
