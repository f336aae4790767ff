import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// `start`: says the word that the container's first process waits for, and hears how its execve went.
public struct ContainerStart {
    private let directory: ContainerDirectory

    public init(_ directory: ContainerDirectory) { self.directory = directory }

    /// How often a container that is being created is looked at again, every 25 ms.
    private static let patience = 400

    /// - Parameter warn: gets what went wrong with `poststop` hooks, where a `poststart` hook has ended the container.
    public func run(_ warn: (String) -> Void) throws {
        var record = try directory.load()
        var status = try directory.status(of: record)
        // `create` is not through: whoever has seen the container in a list need not guess when it is.
        for _ in 0..<Self.patience where status == .creating {
            usleep(25_000)
            record = try directory.load()
            status = try directory.status(of: record)
        }
        guard status == .created else {
            throw PlanError("cannot start a container that is \(status.rawValue): \(directory.id) must be created and not started")
        }
        let (spec, _) = try directory.configuration(record)
        let notification = ServiceNotification.isPrepared(directory) ? try ServiceNotification(directory) : nil
        let notifications = try notification?.listen() ?? .none
        let process = notification == nil ? .none : try Processes.open(record.state.pid)
        guard let channel = try connect() else {
            throw PlanError("cannot start a container that is running: \(directory.id) was started meanwhile")
        }
        var state = RuntimeContainerState(
            ociVersion: spec.ociVersion, id: record.id, status: .created, pid: record.state.pid, bundle: record.bundle,
            annotations: spec.annotations)
        try channel.sendMessage([LaunchCommand.execute.rawValue])
        try follow(channel, spec, state)
        try directory.removeStartSocket()
        state.status = .running
        do {
            try HookRunner.run(spec.hooks?.poststart ?? [], .poststart, state)
        } catch {
            // runtime-spec 1.3, "Lifecycle": an error, and the container is stopped and destroyed.
            let deletion = ContainerDeletion(directory, record)
            try deletion.end()
            for complaint in try deletion.remove() { warn(complaint) }
            throw error
        }
        try notification?.awaitReady(on: notifications, record.state.pid, process)
    }

    /// - Returns: nil when nobody waits there any more.
    private func connect() throws(KernelError) -> FileDescriptor? {
        do {
            return try UnixSocket.connect(ContainerDirectory.startSocket, in: try directory.open(), .sequencedPackets)
        } catch {
            if error.errno == ECONNREFUSED || error.errno == ENOENT { return nil }
            throw error
        }
    }

    /// The end of the stream is a successful execve.
    private func follow(_ channel: borrowing FileDescriptor, _ spec: RuntimeSpec, _ state: RuntimeContainerState) throws {
        while let (bytes, descriptor) = try channel.receiveMessage(limit: InitMessage.limit) {
            let attached = FileDescriptor(owning: descriptor)
            switch try InitMessage(decoding: bytes) {
            case .failed(let failure): throw failure
            case .filterListener:
                guard let profile = spec.linux?.seccomp, attached.rawValue >= 0 else { throw InitMessageError.unexpected }
                try FilterListener.deliver(attached, profile, state)
                try channel.sendMessage([LaunchCommand.proceed.rawValue])
            case .log(let sentence): DebugLog.note(sentence)
            default: throw InitMessageError.unexpected
            }
        }
    }
}
