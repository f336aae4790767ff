import Glibc
import LaunchPlan
import LinuxKernel

/// A monitor that was just spawned, and the socket on which it reports.
struct MonitorLaunch: ~Copyable {
    let process: SpawnedProcess
    let socket: FileDescriptor

    /// Spawns `coffer-runtime monitor` for a container whose lock the caller holds. The monitor inherits the lock (descriptor
    /// 3) and one end of a socket (4), and nothing else; from then on the lock is its own.
    static func spawn(
        _ directory: ContainerDirectory, lock: consuming ContainerLock, runtime: String
    ) throws(EngineError) -> MonitorLaunch {
        do {
            let pair = try SocketPair()
            let (ours, theirs) = pair.ends()
            let socket = FileDescriptor(owning: ours)
            let other = FileDescriptor(owning: theirs)
            let process = try SpawnedProcess.start(
                runtime, ["coffer-runtime", "monitor", "--bundle", directory.path],
                descriptors: [nil, nil, nil, lock.file.rawValue, other.rawValue])
            return MonitorLaunch(process: process, socket: socket)
        } catch {
            throw EngineError("the monitor cannot be started: \(error)")
        }
    }
}

extension EngineError {
    /// The failure of a launch, as the user sees it, with Docker's exit code.
    init(_ failure: LaunchFailure) {
        let isExecution = failure.step == LaunchStep.Kind.execute.rawValue || failure.step == "exec"
        switch (isExecution, failure.errno) {
        case (true, ENOENT), (true, ENOTDIR): self.init(failure.message, code: .notFound)
        case (true, EACCES), (true, EPERM), (true, ENOEXEC), (true, EISDIR): self.init(failure.message, code: .notExecutable)
        default: self.init(failure.message, code: .engine)
        }
    }
}
