import Glibc
import LaunchPlan
import LinuxKernel
import StrictJSON

/// What a container is doing, put together from its row, its lock and the monitor's `state.json`.
public enum ContainerStatus: Sendable, Equatable {
    /// Some command is creating it right now.
    case creating
    case created
    case running(RuntimeState, paused: Bool)
    case exited(RuntimeState)
    /// Its monitor died: everything in it was killed with it, and nobody saw an exit code.
    case lost(RuntimeState?, at: Int64)
    case removing
    /// What is stored of it cannot be read, for the reason given: it can only be removed (`rm -f`).
    case damaged(String)

    /// Docker's word: created, running, paused, exited, removing, dead.
    public var word: String {
        switch self {
        case .creating, .created: "created"
        case .running(_, let paused): paused ? "paused" : "running"
        case .exited, .lost: "exited"
        case .removing: "removing"
        case .damaged: "dead"
        }
    }

    public var isRunning: Bool { if case .running = self { true } else { false } }

    public var runtimeState: RuntimeState? {
        switch self {
        case .running(let state, _), .exited(let state): state
        case .lost(let state, _): state
        case .creating, .created, .removing, .damaged: nil
        }
    }

    /// What `wait` and `inspect` give: nil while it runs or has never run.
    public var exitCode: Int32? {
        switch self {
        case .exited(let state): state.exitCode
        case .lost: Self.unknownExitCode
        default: nil
        }
    }

    /// The code listed where a monitor was lost: the payload was killed with it, as by SIGKILL.
    public static let unknownExitCode: Int32 = 137
}

/// The lock file of a container: held for as long as a monitor (or the command that creates the container) lives.
public struct ContainerLock: ~Copyable {
    /// The open file whose description owns the lock; a child that inherits it shares the lock (fcntl(2), open file
    /// description locks).
    public let file: FileDescriptor

    /// F_OFD_GETLK and F_OFD_SETLK, the same on every architecture; the headers hide them behind a feature macro.
    private static let getCommand: Int32 = 36
    private static let setCommand: Int32 = 37

    /// Takes the lock, or returns nil while somebody else holds it.
    ///
    /// - Throws: `KernelError`, ENOENT where the container's directory is gone.
    public static func take(_ path: String, create: Bool = false) throws(KernelError) -> ContainerLock? {
        let flags = O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0)
        let file = try FileDescriptor.open(path, flags, mode: 0o600)
        var request = flock(l_type: Int16(F_WRLCK), l_whence: Int16(SEEK_SET), l_start: 0, l_len: 0, l_pid: 0)
        do {
            try retrying("fcntl", path) { fcntl(file.rawValue, setCommand, &request) }
        } catch {
            if error.errno == EAGAIN || error.errno == EACCES { return nil }
            throw error
        }
        return ContainerLock(file: file)
    }

    private init(file: consuming FileDescriptor) { self.file = file }

    /// Whether somebody holds the lock now; false also when there is no such file.
    public static func isHeld(_ path: String) throws(KernelError) -> Bool {
        do {
            let file = try FileDescriptor.open(path, O_RDWR | O_NOFOLLOW)
            var request = flock(l_type: Int16(F_WRLCK), l_whence: Int16(SEEK_SET), l_start: 0, l_len: 0, l_pid: 0)
            try retrying("fcntl", path) { fcntl(file.rawValue, getCommand, &request) }
            return request.l_type != Int16(F_UNLCK)
        } catch {
            if error.errno == ENOENT { return false }
            throw error
        }
    }
}

extension RuntimeState {
    /// Reads a container's `state.json`; nil when the monitor has not written one.
    ///
    /// - Throws: `EngineError` when it is unreadable.
    static func load(_ path: String) throws(EngineError) -> RuntimeState? {
        do {
            return try StrictJSONDecoder().decode(RuntimeState.self, from: try readFile(path, limit: 4 << 20))
        } catch let error as KernelError where error.errno == ENOENT {
            return nil
        } catch {
            throw EngineError("\(path) cannot be read: \(error)")
        }
    }
}
