import CLinux
import Glibc
import LinuxKernel
import OCISpec
import PullMessages

/// What a pull tells while it runs, on the calling thread.
public struct PullObserver {
    let layer: (Digest, LayerEvent) -> Void
    let warning: (String) -> Void

    public init(layer: @escaping (Digest, LayerEvent) -> Void, warning: @escaping (String) -> Void) {
        self.layer = layer
        self.warning = warning
    }
}

/// One pull, done by `coffer-registry`: a program of its own, so that no other command has to start with TLS, HTTP and all they need.
public struct RegistryProcess: ~Copyable {
    private let process: SpawnedProcess
    private let socket: FileDescriptor
    private let signals: FileDescriptor
    private let image: String
    private var interruption: Int32?

    /// Signals that end a pull. They come by descriptor meanwhile, and the caller's mask is as before when it is over.
    private static let ending = [SIGINT, SIGTERM, SIGHUP]

    /// Pulls an image. Blocks until it is there; SIGINT, SIGTERM and SIGHUP end it early and leave nothing half-done.
    ///
    /// - Parameter environment: the user's, for files of credentials and certificates and for proxies.
    /// - Throws: `EngineError` when the program cannot be run, `PullFailure` for every other reason.
    public static func pull(_ request: PullRequest, environment: [String: String], observer: PullObserver) throws -> PullResult {
        guard let program = try InstalledProgram.locate("coffer-registry") else {
            throw EngineError(
                "coffer-registry is not installed with \(try InstalledProgram.ownPath())", remedy: "install all programs of Coffer",
                code: .failure)
        }
        var set = sigset_t()
        var before = sigset_t()
        sigemptyset(&set)
        for number in ending { sigaddset(&set, number) }
        if sigprocmask(SIG_BLOCK, &set, &before) != 0 { throw KernelError.last("sigprocmask") }
        defer { sigprocmask(SIG_SETMASK, &before, nil) }
        let signals = FileDescriptor(owning: try retrying("signalfd") { signalfd(-1, &set, Int32(SFD_CLOEXEC)) })
        let (ours, theirs) = try SocketPair().ends()
        let socket = FileDescriptor(owning: ours)
        let other = FileDescriptor(owning: theirs)
        let process = try SpawnedProcess.start(
            program, ["coffer-registry", "pull"], environment: environment.map { "\($0.key)=\($0.value)" },
            descriptors: [nil, nil, 2, other.rawValue])
        try other.close()
        var pull = RegistryProcess(process: process, socket: socket, signals: signals, image: request.image)
        return try pull.run(request, observer)
    }

    private mutating func run(_ request: PullRequest, _ observer: PullObserver) throws -> PullResult {
        let answer: Result<PullResult, PullFailure>?
        do {
            try socket.sendMessage(try request.encoded())
            answer = try relay(observer)
        } catch {
            try process.killAndWait()
            throw PullFailure("the pull of \(image) failed: the connection to coffer-registry broke (\(error))")
        }
        let end = try process.wait()
        if let answer { return try answer.get() }
        // It died without a word: of the signal that was meant for both, or of something else.
        if let signal = interruption { throw PullFailure.interrupted(image, signal: signal) }
        if case .signalled(let signal) = end, Self.ending.contains(signal) { throw PullFailure.interrupted(image, signal: signal) }
        throw PullFailure("the pull of \(image) failed: coffer-registry ended before it was done (exit code \(end.exitCode)); try again")
    }

    /// Relays until the program has answered or closed the connection, which gives nil.
    private mutating func relay(_ observer: PullObserver) throws -> Result<PullResult, PullFailure>? {
        while true {
            var polls = [
                pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0), pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0),
            ]
            try retrying("poll") { poll(&polls, 2, -1) }
            if polls[1].revents != 0 { try passSignal() }
            guard polls[0].revents != 0 else { continue }
            guard let packet = try receive() else { return nil }
            switch try PullMessage(decoding: packet) {
            case .layer(let digest, let event): observer.layer(digest, event)
            case .warning(let text): observer.warning(text)
            case .done(let result): return .success(result)
            case .failed(let failure): return .failure(failure)
            }
        }
    }

    private func receive() throws(KernelError) -> [UInt8]? {
        do {
            return try socket.receiveMessage(limit: PullMessage.limit)?.bytes
        } catch {
            // Killed before it had read the request.
            if error.errno == ECONNRESET { return nil }
            throw error
        }
    }

    /// A signal from a terminal has reached the other program too; it counts the first one.
    private mutating func passSignal() throws(KernelError) {
        var info = signalfd_siginfo()
        let raw = signals.rawValue
        try retrying("read") { Glibc.read(raw, &info, MemoryLayout<signalfd_siginfo>.size) }
        let number = Int32(info.ssi_signo)
        interruption = interruption ?? number
        // Not waited for yet, so the number is still its own.
        if kill(process.pid, number) != 0 && errno != ESRCH { throw .last("kill") }
    }
}
