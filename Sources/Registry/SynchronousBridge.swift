import Glibc
import Synchronization

/// Runs asynchronous work from a synchronous program, and ends it when a signal asks for that.
///
/// The calling thread waits for the work and for SIGINT, SIGTERM and SIGHUP at the same time (signalfd(2)); the other
/// threads inherit the blocked signals, so none of them dies in the middle of a file.
enum SynchronousBridge {
    /// The work was cancelled by a signal.
    struct Interruption: Error {
        let signal: Int32
    }

    private final class Outcome<Value: Sendable>: Sendable {
        let value = Mutex<Result<Value, any Error>?>(nil)
    }

    static func run<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) throws -> Value {
        var signals = sigset_t()
        var previous = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        let pending = signalfd(-1, &signals, Int32(SFD_CLOEXEC.rawValue))
        let done = eventfd(0, Int32(EFD_CLOEXEC.rawValue))
        guard pending >= 0, done >= 0 else { throw Interruption(signal: 0) }
        defer {
            close(pending)
            close(done)
        }
        let outcome = Outcome<Value>()
        let task = Task.detached {
            let result: Result<Value, any Error>
            do { result = .success(try await work()) } catch { result = .failure(error) }
            outcome.value.withLock { $0 = result }
            eventfd_write(done, 1)
        }
        let signal = wait(for: done, or: pending) { task.cancel() }
        guard let result = outcome.value.withLock({ $0 }) else { throw Interruption(signal: signal ?? 0) }
        if let signal, case .failure = result { throw Interruption(signal: signal) }
        return try result.get()
    }

    /// Waits until the work has ended; the first signal cancels it.
    private static func wait(for done: Int32, or pending: Int32, cancel: () -> Void) -> Int32? {
        var received: Int32?
        while true {
            var descriptors = [
                pollfd(fd: done, events: Int16(POLLIN), revents: 0), pollfd(fd: pending, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&descriptors, 2, -1) < 0 { continue }
            if descriptors[0].revents != 0 { return received }
            if descriptors[1].revents != 0 {
                var information = signalfd_siginfo()
                let count = read(pending, &information, MemoryLayout<signalfd_siginfo>.size)
                guard count == MemoryLayout<signalfd_siginfo>.size else { continue }
                received = received ?? Int32(bitPattern: information.ssi_signo)
                cancel()
            }
        }
    }
}
