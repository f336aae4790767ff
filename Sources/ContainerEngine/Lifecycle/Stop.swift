import Glibc
import LaunchPlan
import LinuxKernel

extension Engine {
    /// Seconds that `stop` waits before it kills, unless container or caller say otherwise.
    public static let defaultStopTimeout = 10

    /// `stop`: asks the program to end, and kills it when it does not. One that does not run stays as it is.
    ///
    /// - Parameters:
    ///   - timeout: seconds; -1 waits for ever; nil is what the container was created with.
    ///   - signal: nil is what the container was created with.
    public func stop(_ reference: String, timeout: Int?, signal: Signal?) throws(EngineError) {
        let container = try intactContainer(reference)
        guard container.status.isRunning else { return }
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        let configured = try? Signal(parsing: details.stopSignal)
        try end(
            container, signal: signal ?? configured ?? .terminate,
            timeout: timeout ?? details.request.stopTimeout ?? Self.defaultStopTimeout)
    }

    /// Signals the first program of a container that runs, kills it after `timeout` seconds, and waits until its monitor has
    /// put everything away.
    func end(_ container: Container, signal: Signal, timeout: Int) throws(EngineError) {
        guard case .running(let state, let paused) = container.status else { return }
        do {
            if paused { try CgroupDirectories.setFrozen(false, state.cgroupPaths) }
            let process: FileDescriptor
            do {
                process = try Processes.open(state.pid)
            } catch {
                // It ended a moment ago; the monitor is at its last steps.
                guard error.errno == ESRCH else { throw error }
                return try awaitMonitor(container)
            }
            guard try Processes.startTicks(of: state.pid) == state.pidStartTicks else { return try awaitMonitor(container) }
            try Self.send(signal.number, to: process)
            if try !Self.hasEnded(process, within: signal == .kill ? 10_000 : timeout < 0 ? -1 : timeout * 1000) {
                try Self.send(SIGKILL, to: process)
                if try !Self.hasEnded(process, within: 10_000) {
                    throw EngineError(
                        "container \(container.record.name) did not end on SIGKILL: a process of it waits in the kernel", code: .failure)
                }
            }
            try awaitMonitor(container)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("container \(container.record.name) cannot be stopped: \(error)", code: .failure)
        }
    }

    private static func send(_ signal: Int32, to process: borrowing FileDescriptor) throws(KernelError) {
        do {
            try Processes.signal(process, signal)
        } catch {
            if error.errno != ESRCH { throw error }
        }
    }

    /// Waits for a process's end; milliseconds, -1 without limit.
    private static func hasEnded(_ process: borrowing FileDescriptor, within milliseconds: Int) throws(KernelError) -> Bool {
        var wait = pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)
        return try retrying("poll") { poll(&wait, 1, Int32(clamping: milliseconds)) } == 1
    }

    /// Waits until nobody holds the container's lock: its monitor has stored the exit code and removed its groups.
    private func awaitMonitor(_ container: Container) throws(EngineError) {
        do {
            for _ in 0..<10_000 {
                if try !ContainerLock.isHeld(container.directory.lock) { return }
                usleep(1000)
            }
        } catch {
            throw EngineError("\(container.directory.lock) cannot be read: \(error.reason)")
        }
        throw EngineError("the monitor of container \(container.record.name) does not end", code: .failure)
    }

    /// `kill`: sends a signal to the first program of a container that runs.
    public func kill(_ reference: String, signal: Signal) throws(EngineError) {
        let container = try intactContainer(reference)
        guard case .running(let state, _) = container.status else {
            throw EngineError("cannot kill container: \(reference): container \(container.record.id) is not running", code: .failure)
        }
        do {
            guard let program = try ContainerProgram(pid: state.pid),
                try Processes.startTicks(of: state.pid) == state.pidStartTicks
            else { return }
            try program.signal(signal.number)
            // As Docker: a frozen container that is killed must be able to die.
            if signal == .kill { try CgroupDirectories.setFrozen(false, state.cgroupPaths) }
        } catch {
            throw EngineError("cannot kill container \(container.record.name): \(error)", code: .failure)
        }
    }

    /// `pause` and `unpause`: freezes or thaws every process of a container.
    public func setPaused(_ paused: Bool, _ reference: String) throws(EngineError) {
        let container = try intactContainer(reference)
        let name = container.record.name
        guard case .running(let state, let isPaused) = container.status else {
            throw EngineError("container \(container.record.id) is not running", code: .failure)
        }
        if paused == isPaused {
            throw EngineError("container \(name) is \(paused ? "already" : "not") paused", code: .failure)
        }
        do {
            if try !CgroupDirectories.setFrozen(paused, state.cgroupPaths) {
                throw EngineError(
                    "container \(name) cannot be paused: it has no cgroup that can freeze",
                    remedy: "run it as root, or on a host with cgroup v2 delegated to you", code: .failure)
            }
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("container \(name) cannot be \(paused ? "paused" : "unpaused"): \(error)", code: .failure)
        }
    }

    /// `wait`: the exit code, once the container has ended.
    public func wait(_ reference: String) throws(EngineError) -> Int32 {
        var container = try intactContainer(reference)
        if container.status.isRunning {
            do {
                let socket = try MonitorConnection.open(container.directory)
                var session = try AttachSession(
                    socket, AttachSession.Options(showsOutput: false, showsErrors: false, proxiesSignals: false))
                if case .exited(let code) = try session.run() { return code }
            } catch {
                // The monitor ended between the look and the connection; its state file says the rest.
                if error.errno != ECONNREFUSED && error.errno != ENOENT {
                    throw EngineError("container \(reference) cannot be waited for: \(error)", code: .failure)
                }
            }
            try awaitMonitor(container)
            container = try self.container(container.record.id)
        }
        return container.status.exitCode ?? 0
    }
}
