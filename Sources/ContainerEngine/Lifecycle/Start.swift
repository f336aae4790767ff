import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// How a foreground client is connected to a container.
public struct AttachSettings: Sendable, Equatable {
    public var showsOutput: Bool
    public var showsErrors: Bool
    public var sendsInput: Bool
    public var terminal: Bool
    public var detachKeys: DetachKeys
    public var proxiesSignals: Bool

    public init(
        showsOutput: Bool = true, showsErrors: Bool = true, sendsInput: Bool, terminal: Bool,
        detachKeys: DetachKeys = .standard, proxiesSignals: Bool = true
    ) {
        self.showsOutput = showsOutput
        self.showsErrors = showsErrors
        self.sendsInput = sendsInput
        self.terminal = terminal
        self.detachKeys = detachKeys
        self.proxiesSignals = proxiesSignals
    }

    /// Streams as `-a` chose them: none named means output, and input with `-i`.
    public init(_ request: RunRequest, detachKeys: DetachKeys, proxiesSignals: Bool) {
        let all = request.attach.isEmpty
        self.init(
            showsOutput: all || request.attach.contains("stdout"), showsErrors: all || request.attach.contains("stderr"),
            sendsInput: request.stdinOpen && (all || request.attach.contains("stdin")), terminal: request.terminal,
            detachKeys: detachKeys, proxiesSignals: proxiesSignals && !request.terminal)
    }

    var options: AttachSession.Options {
        AttachSession.Options(
            showsOutput: showsOutput, showsErrors: showsErrors, sendsInput: sendsInput, terminal: terminal,
            detachKeys: detachKeys, proxiesSignals: proxiesSignals)
    }
}

/// How a command in the foreground ended.
public enum ForegroundEnd: Sendable, Equatable {
    case exited(Int32)
    /// The user left it running.
    case detached
}

extension Engine {
    /// `start`: starts a container that was created or has ended. One that runs already stays as it is.
    ///
    /// - Parameter attach: stay connected until it ends; nil returns as soon as it runs.
    public func start(_ reference: String, attach: AttachSettings?) throws(EngineError) -> ForegroundEnd? {
        let container = try intactContainer(reference)
        switch container.status {
        case .running:
            guard let attach else { return nil }
            return try self.attach(container, attach)
        case .creating, .removing, .damaged:
            throw EngineError("container \(container.record.name) is being worked on by another command", code: .failure)
        case .created, .exited, .lost: break
        }
        try OwnContainers.checkPolicy(container, self)
        guard let lock = try takeLock(container, waiting: 2_000) else {
            throw EngineError("container \(container.record.name) is being worked on by another command", code: .failure)
        }
        if container.status != .created { try stopFilling(container) }
        // What the last run left would be taken for what this one says.
        unlink(container.directory.state)
        unlink(container.directory.attachSocket)
        try database.setPhase(.started, of: container.record.id)
        return try launch(container.record, lock: lock, attach: attach, removesOnFailure: false)
    }

    /// A volume is filled for a container's first start: what its program has emptied since stays empty.
    private func stopFilling(_ container: Container) throws(EngineError) {
        guard var bundle = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension),
            bundle.filledVolumes != nil
        else { return }
        bundle.filledVolumes = nil
        let bytes = try JSONBytes.encode(bundle)
        do {
            try replaceFile(container.directory.bundleExtension, with: bytes)
        } catch {
            throw EngineError("the container's configuration cannot be written: \(error)", remedy: Self.remedy(error))
        }
    }

    /// Runs the monitor for a container whose lock is held, and waits until it runs or, attached, until it ends.
    ///
    /// - Parameter removesOnFailure: a container that could not be started leaves nothing behind (`run`).
    func launch(
        _ record: ContainerRecord, lock: consuming ContainerLock, attach: AttachSettings?, removesOnFailure: Bool
    ) throws(EngineError) -> ForegroundEnd? {
        let directory = root.container(record.id)
        let end: AttachSession.End?
        do throws(EngineError) {
            let monitor = try MonitorLaunch.spawn(directory, lock: lock, runtime: try RuntimeProgram.locate(environment))
            end = try Self.follow(monitor, attach)
        } catch {
            try abandon(record, error, removes: removesOnFailure)
            throw error
        }
        switch end {
        case nil: return nil
        case .exited(let code): return .exited(code)
        case .detached: return .detached
        case .failed(let failure):
            let error = EngineError(failure)
            try abandon(record, error, removes: removesOnFailure)
            throw error
        case .lost:
            // Reconciliation finds out what is left of it.
            if try settled(record) == nil { throw EngineError("the monitor of container \(record.name) died before it ran") }
            throw EngineError("the monitor of container \(record.name) died; the container was stopped, its exit code is unknown")
        }
    }

    private static func follow(_ monitor: consuming MonitorLaunch, _ attach: AttachSettings?) throws(EngineError) -> AttachSession.End? {
        let options = attach?.options ?? AttachSession.Options(showsOutput: false, showsErrors: false, proxiesSignals: false)
        do {
            let socket = try monitor.socket.duplicate()
            _ = consume monitor
            return try relay(socket, options, untilStarted: attach == nil)
        } catch {
            throw EngineError("the connection to the monitor failed: \(error)")
        }
    }

    /// Relays with the user's terminal in raw mode where the container has one.
    private static func relay(
        _ socket: consuming FileDescriptor, _ options: AttachSession.Options, untilStarted: Bool = false,
        program: consuming ContainerProgram? = nil
    ) throws(KernelError) -> AttachSession.End? {
        let raw = options.terminal && options.sendsInput && isatty(0) == 1 ? try RawTerminal(0) : nil
        var session = try AttachSession(socket, options, program: program)
        let end = try session.run(untilStarted: untilStarted)
        _ = consume raw
        switch end {
        case .exited, .failed: try session.awaitMonitor(milliseconds: 5_000)
        default: break
        }
        return end
    }

    /// A start that failed: the container goes, or says why.
    private func abandon(_ record: ContainerRecord, _ error: EngineError, removes: Bool) throws(EngineError) {
        let container = Container(record: record, directory: root.container(record.id), status: .created)
        // The monitor lets go of the lock when it has put everything away.
        guard let lock = try takeLock(container, waiting: 10_000) else { return }
        if removes || record.autoRemove {
            try erase(record)
        } else {
            try database.setStartError(error.summary, code: error.code.rawValue, of: record.id)
        }
        _ = consume lock
    }

    /// `attach`: connects to a container that runs.
    ///
    /// - Throws: `EngineError` when it does not run.
    public func attach(_ reference: String, _ settings: AttachSettings) throws(EngineError) -> ForegroundEnd {
        try attach(try intactContainer(reference), settings)
    }

    func attach(_ container: Container, _ settings: AttachSettings) throws(EngineError) -> ForegroundEnd {
        guard case .running(let state, let paused) = container.status else {
            throw EngineError("You cannot attach to a stopped container, start it first", code: .failure)
        }
        if paused { throw EngineError("You cannot attach to a paused container, unpause it first", code: .failure) }
        let end: AttachSession.End?
        do {
            let socket = try MonitorConnection.open(container.directory)
            end = try Self.relay(socket, settings.options, program: try ContainerProgram(pid: state.pid))
        } catch {
            throw EngineError("container \(container.record.name) cannot be attached to: \(error)", code: .failure)
        }
        switch end {
        case .exited(let code): return .exited(code)
        case .detached, nil: return .detached
        case .failed(let failure): throw EngineError(failure)
        case .lost: throw EngineError("the monitor of container \(container.record.name) died", code: .failure)
        }
    }

    /// Whether the container has a terminal and an open standard input.
    public func streams(of reference: String) throws(EngineError) -> (terminal: Bool, stdinOpen: Bool) {
        let record = try database.container(named: reference)
        let request = try ContainerDetails(decoding: record.details, of: record.name).request
        return (request.terminal, request.stdinOpen)
    }
}
