import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// The per-container monitor: starts the payload, logs what it writes, serves those who attach, notes how it ended. It
/// outlives the command that started it, and it is PID 1 of a pid namespace of its own: whatever kills it, the kernel ends
/// everything below it at once, the container and pasta included.
public struct Monitor {
    private static let lockDescriptor: Int32 = 3
    private static let clientDescriptor: Int32 = 4

    /// `coffer-runtime monitor --bundle DIR`, with the container's lock on descriptor 3 and the engine's socket on 4.
    ///
    /// - Returns: the process's exit code. The monitor itself goes on in the background.
    public static func start(bundle: String) -> Int32 {
        do {
            try prepareProcess()
            try daemonize(bundle: bundle)
            return 0
        } catch {
            report(error)
            return 125
        }
    }

    /// Tells the engine why there will be no container. When it is gone, its next command finds the lock free.
    private static func report(_ error: any Error) {
        let failure = error as? LaunchFailure ?? LaunchFailure(.namespaces, "\(error)")
        do {
            try tell(try AttachFrame.FromMonitor.failed(failure).encoded())
        } catch {
            writeStandardError("coffer-runtime: \(failure.message)\n")
        }
    }

    private static func tell(_ packet: [UInt8]) throws(KernelError) {
        try retrying("send") {
            packet.withUnsafeBytes { send(clientDescriptor, $0.baseAddress, packet.count, Int32(MSG_NOSIGNAL)) }
        }
    }

    private static func prepareProcess() throws {
        try closeDescriptors(from: 5, onExecOnly: false)
        try closeDescriptors(from: 3, onExecOnly: true)
        if setsid() == -1 && errno != EPERM { throw KernelError.last("setsid") }
        try retrying("chdir") { chdir("/") }
        // What is private gets its mode explicitly; groups and mount points must be passable for the container.
        cl_umask(0o022)
    }

    /// Forks the monitor proper into its pid and mount namespace; an ordinary user's also into M, where the user is root and
    /// the subordinate IDs are mapped.
    private static func daemonize(bundle: String) throws {
        let rootless = geteuid() != 0
        let subordinate = rootless ? try SubordinateIDs.ofInvokingUser() : nil
        let (readEnd, writeEnd) = try makePipe()
        let kinds: [NamespaceKind] = rootless ? [.user, .mount, .pid] : [.mount, .pid]
        let fork: Processes.Fork
        do {
            fork = try Processes.fork(into: kinds)
        } catch {
            throw LaunchFailure(.namespaces, "\(IDMapError.refusedNamespace(error.errno))", errno: error.errno)
        }
        switch fork {
        case .child:
            close(writeEnd)
            var byte: UInt8 = 0
            if read(readEnd, &byte, 1) != 1 { _exit(125) }
            close(readEnd)
            Monitor.run(bundle: bundle)
        case .parent(let child):
            close(readEnd)
            defer { close(writeEnd) }
            do {
                if let subordinate {
                    try subordinate.ownerMaps(user: geteuid(), group: getegid()).write(to: child.pid)
                }
            } catch {
                throw LaunchFailure(.identityMaps, "\(error)")
            }
            let go: [UInt8] = [1]
            try retrying("write") { write(writeEnd, go, 1) }
        }
    }

    private static func run(bundle: String) -> Never {
        do {
            try Mounts.setPropagation(.slave)
            try retrying("chdir", bundle) { chdir(bundle) }
            for number in [SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT] { signal(number, SIG_IGN) }
            try Credentials.setProcessName("coffer:[MON]")
            let footprint = MemoryFootprint()
            let monitorPid = try ownHostPid()
            let client = FileDescriptor(owning: try retrying("fcntl") { cl_fcntl(clientDescriptor, F_DUPFD_CLOEXEC, 5) })
            let server = try AttachServer.listen(starter: client)
            let starting = try forkStartingProcess(bundle: bundle, monitorPid: monitorPid)
            try Credentials.setDumpable(false)
            switch try MonitoredPayload.receive(from: starting.channel) {
            case .started(let payload):
                close(clientDescriptor)
                var session = try MonitorSession(payload, server: server, starting: starting, footprint: footprint)
                try session.run()
            case .failed(let packet):
                try tell(packet)
                _exit(125)
            case .lost: _exit(125)  // by which everything dies; the engine finds a free lock
            }
            _exit(0)
        } catch {
            report(error)
            _exit(125)
        }
    }

    /// The starting process in a program that was sealed meanwhile (`ProgramSeal`), with its channel on descriptor 3.
    ///
    /// - Parameters:
    ///   - monitorPid: the monitor as the host numbers it.
    ///   - program: the path of the runtime.
    public static func resumeStarting(bundle: String, monitorPid: Int32, program: String) -> Never {
        StartingProcess.resume(bundle: bundle, monitorPid: monitorPid, program: program)
    }

    private static func forkStartingProcess(bundle: String, monitorPid: Int32) throws -> StartingConnection {
        let pair = try SocketPair()
        let (ours, theirs) = pair.ends()
        let channel = FileDescriptor(owning: ours)
        switch try Processes.fork() {
        case .child: StartingProcess.run(bundle: bundle, monitorPid: monitorPid, channel: theirs)
        case .parent(let process):
            close(theirs)
            return StartingConnection(process, channel: channel)
        }
    }

    /// The monitor's PID as the host numbers it: /proc is the host's, so its own entry there has that name.
    private static func ownHostPid() throws -> Int32 {
        var buffer = [CChar](repeating: 0, count: 32)
        let length = try retrying("readlink", "/proc/self") { readlink("/proc/self", &buffer, 31) }
        return Int32(String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)) ?? 0
    }
}
