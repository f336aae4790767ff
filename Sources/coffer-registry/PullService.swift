import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import PullMessages
import Registry
import Synchronization

/// One pull, for the `coffer` at the other end of a socket.
final class PullService: Sendable {
    /// The descriptor that `coffer` hands over.
    static let socketNumber: Int32 = 3
    /// Between two reports of how far a layer is; the display is redrawn about as often.
    private static let reportInterval = Duration.milliseconds(50)

    private let socket: FileDescriptor
    private let lastReports = Mutex<[Digest: ContinuousClock.Instant]>([:])

    init(socket: consuming FileDescriptor) { self.socket = socket }

    /// - Returns: the exit code: 0 for an image that was pulled.
    func serve() -> Int32 {
        do {
            try Self.prepareSignals()
            guard let packet = try socket.receiveMessage(limit: PullMessage.limit), !peerIsGone() else { return 1 }
            let answer = Self.answer(try PullRequest(decoding: packet.bytes), PullObserver(layer: report, warning: { self.send(.warning($0)) }))
            send(answer)
            if case .done = answer { return 0 } else { return 1 }
        } catch {
            Self.complain("the request cannot be served: \(error)")
            return 125
        }
    }

    /// From now on signals wait until the pull asks for them: it ends at a place where nothing is half-done. When `coffer` is killed, so is the pull.
    private static func prepareSignals() throws(KernelError) {
        var set = sigset_t()
        sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, number) }
        if sigprocmask(SIG_BLOCK, &set, nil) != 0 { throw .last("sigprocmask") }
        try Credentials.setParentDeathSignal(SIGTERM)
    }

    /// Whether `coffer` was killed before it could be noticed by a signal.
    private func peerIsGone() -> Bool {
        var polled = pollfd(fd: socket.rawValue, events: 0, revents: 0)
        return poll(&polled, 1, 0) > 0 && polled.revents & Int16(POLLHUP) != 0
    }

    private static func answer(_ request: PullRequest, _ observer: PullObserver) -> PullMessage {
        do {
            let options = RegistryOptions(
                credentials: request.credentials.map { RegistryCredentials($0) }, verifiesTLS: request.verifiesTLS,
                certificateDirectory: request.certificateDirectory, environment: environment())
            let pull = ImagePull(
                try ImageReference(parsing: request.image), platform: request.platform, options: options,
                into: try ImageStore(root: request.store), observer: observer)
            let pulled = try pull.run()
            return .done(PullResult(image: pulled.reference, digest: pulled.digest, wasUpToDate: pulled.wasUpToDate))
        } catch let error as RegistryError {
            guard case .interrupted(let signal) = error.kind else { return .failed(PullFailure(error.description)) }
            return .failed(PullFailure(error.description, signal: signal))
        } catch {
            return .failed(PullFailure("\(error)"))
        }
    }

    private func report(_ digest: Digest, _ event: LayerEvent) {
        switch event {
        case .downloading(let done, let total), .extracting(let done, let total):
            let now = ContinuousClock.now
            let isDue = lastReports.withLock { last in
                if done < total, let before = last[digest], now - before < Self.reportInterval { return false }
                last[digest] = now
                return true
            }
            if isDue { send(.layer(digest, event)) }
        case .waiting, .exists, .retrying, .downloaded, .complete: send(.layer(digest, event))
        }
    }

    private func send(_ message: PullMessage) {
        do {
            try socket.sendMessage(try message.encoded())
        } catch {
            // Nobody listens any more: the signal of the parent's death ends the pull.
            return
        }
    }

    private static func environment() -> [String: String] {
        var result: [String: String] = [:]
        var entry = environ
        while let variable = entry.pointee {
            let parts = String(cString: variable).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { result[String(parts[0])] = String(parts[1]) }
            entry += 1
        }
        return result
    }

    static func complain(_ text: String) {
        let bytes = Array("coffer-registry: \(text)\n".utf8)
        // Nothing can be done where even this fails.
        if bytes.withUnsafeBytes({ write(2, $0.baseAddress, $0.count) }) < 0 { return }
    }
}
