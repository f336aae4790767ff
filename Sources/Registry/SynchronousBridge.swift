import Glibc
import Synchronization

/// Runs asynchronous work from a synchronous program, and ends it when a signal asks for that.
///
/// The calling thread blocks SIGINT, SIGTERM and SIGHUP and waits for them and for the work at the same time; all other
/// threads inherit the blocked signals, so none of them dies in the middle of a file.
enum SynchronousBridge {
    /// The work was cancelled by a signal.
    struct Interruption: Error {
        let signal: Int32
    }

    private final class Outcome<Value: Sendable>: Sendable {
        let value = Mutex<Result<Value, any Error>?>(nil)
    }

    /// Sent to the waiting thread when the work has ended.
    private static let finished = SIGUSR1

    static func run<Value: Sendable>(_ work: @escaping @Sendable () async throws -> Value) throws -> Value {
        var signals = sigset_t()
        var previous = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, finished] { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        let outcome = Outcome<Value>()
        let waiter = pthread_self()
        let task = Task.detached {
            let result: Result<Value, any Error>
            do { result = .success(try await work()) } catch { result = .failure(error) }
            outcome.value.withLock { $0 = result }
            pthread_kill(waiter, finished)
        }
        var received: Int32?
        while true {
            let signal = sigwaitinfo(&signals, nil)
            if let result = outcome.value.withLock({ $0 }), signal == finished {
                // Work that was done when the signal came is done.
                if let received, case .failure = result { throw Interruption(signal: received) }
                return try result.get()
            }
            guard signal > 0, signal != finished else { continue }
            received = received ?? signal
            task.cancel()
        }
    }
}
