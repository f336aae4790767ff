import Glibc
import LinuxKernel
import OCISpec

/// Pasta, which connects one container's network namespace to the host's network.
///
///     var pasta = try PastaProcess.begin(…)         a few hundred microseconds
///     … the container's mounts …                    pasta sets itself up meanwhile
///     try pasta.waitUntilReady(timeout: …)          all published ports are bound, the container has its addresses
///
/// It joins the container's outer user namespace, so that it has no capability over anything else, and shuts itself into an
/// empty mount namespace, a PID namespace and a seccomp filter. It ends with `terminate()`, or with the monitor where that is
/// the init of a PID namespace.
public struct PastaProcess: ~Copyable, Sendable {
    /// What was started; it forks into the background and exits 0 when everything is set up.
    private let launcher: SpawnedProcess
    private let output: FileDescriptor
    private let network: OutboundNetwork
    /// The process that stays, in the caller's PID namespace; nil until ready.
    public private(set) var pid: pid_t?

    /// Starts pasta and does not wait.
    ///
    /// Must be called in the host's network namespace, with CAP_SYS_ADMIN over the container's user namespace, by a process of
    /// one thread: securebits are changed for the moment of the spawn.
    ///
    /// - Parameters:
    ///   - userNamespace: the container's outer user namespace (`/proc/PID/ns/user`, opened).
    ///   - networkNamespace: the container's network namespace, which belongs to it.
    /// - Throws: `PastaFailure` when it cannot be started.
    public static func begin(
        network: OutboundNetwork, addresses: ContainerAddresses, userNamespace: borrowing FileDescriptor,
        networkNamespace: borrowing FileDescriptor
    ) throws(PastaFailure) -> PastaProcess {
        try PastaCapability.check(network)
        do throws(KernelError) {
            let identity = try PastaIdentity.choose()
            let ends = try makePipe()
            let reader = FileDescriptor(owning: ends.read)
            let writer = FileDescriptor(owning: ends.write)
            if let identity { try retrying("fchown", "pipe") { fchown(writer.rawValue, identity.user, identity.group) } }
            let arguments = PastaArguments.vector(network: network, addresses: addresses, identity: identity)
            let streams = [userNamespace.rawValue, networkNamespace.rawValue, writer.rawValue]
            let start = { () throws(KernelError) in
                try SpawnedProcess.start(network.pastaPath, arguments, descriptors: streams)
            }
            // Pasta becomes nobody first and then joins the user namespace, for which it needs CAP_SYS_ADMIN: setuid(2) would
            // take that away. By joining it loses every capability outside.
            let launcher = identity == .nobody ? try SecureBits.keepingCapabilitiesAcrossSetuid(start) : try start()
            return PastaProcess(launcher: launcher, output: reader, network: network, pid: nil)
        } catch {
            if error.call == "posix_spawn" && error.errno == ENOENT { throw .notFound(network.pastaPath) }
            throw PastaFailure("pasta cannot be started: \(error)")
        }
    }

    /// Readable when `waitUntilReady` has something to read: a caller with a loop of its own need not wait before that.
    public var readinessDescriptor: Int32 { output.rawValue }

    /// Waits until the container's interface is configured, all ports are bound and pasta has shut itself in.
    ///
    /// - Parameter timeout: milliseconds.
    /// - Throws: `PastaFailure`; pasta is gone then.
    public mutating func waitUntilReady(timeout: Int32 = 10_000) throws(PastaFailure) {
        var text: [UInt8] = []
        do throws(KernelError) {
            var waiting = pollfd(fd: output.rawValue, events: Int16(POLLIN), revents: 0)
            while Self.processID(in: text) == nil {
                guard try retrying("poll", "pasta", { poll(&waiting, 1, timeout) }) > 0 else {
                    terminate()
                    throw KernelError(call: "poll", errno: ETIMEDOUT, subject: "pasta")
                }
                let part = try output.read(upTo: 4096)
                if part.isEmpty { break }
                text += part
                if text.count > 1 << 16 { break }
            }
            pid = Self.processID(in: text)
            let succeeded = try Self.reap(launcher)
            if pid != nil && succeeded { return }
        } catch {
            throw PastaFailure("pasta did not get ready: \(error)")
        }
        terminate()
        throw .explaining(String(decoding: text, as: UTF8.self), network: network)
    }

    /// Ends pasta. The caller, or the init of its PID namespace, reaps it.
    public func terminate() { kill(pid ?? launcher.pid, SIGTERM) }

    /// The process ID that pasta writes once everything else is done: the last line, complete and all digits.
    static func processID(in text: [UInt8]) -> pid_t? {
        guard text.last == UInt8(ascii: "\n") else { return nil }
        let line = text.dropLast().split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).last ?? []
        return pid_t(String(decoding: line, as: UTF8.self)).flatMap { $0 > 0 ? $0 : nil }
    }

    /// - Returns: whether the process exited with 0. One that the monitor's own reaping was quicker for counts as such: what
    ///   it wrote says the same.
    private static func reap(_ process: SpawnedProcess) throws(KernelError) -> Bool {
        do throws(KernelError) {
            return try process.wait() == .exited(0)
        } catch {
            if error.errno == ECHILD { return true }
            throw error
        }
    }
}

extension PastaIdentity {
    /// Whom pasta shall become: nobody, where the caller is root of the initial user namespace; unless only root may open
    /// /dev/net/tun, then root (without any capability outside of the container's user namespace, and in an empty mount
    /// namespace). Nil where the caller is no such root: pasta stays what it is.
    static func choose() throws(KernelError) -> PastaIdentity? {
        guard geteuid() == 0, try IDMaps.isInitialNamespace() else { return nil }
        let device: stat
        do throws(KernelError) {
            device = try FileDescriptor.open("/dev/net/tun", RootDirectory.pathOnly).status()
        } catch {
            if error.errno == ENOENT { return .nobody }  // pasta will say that there is none
            throw error
        }
        return device.st_mode & 0o006 == 0o006 ? .nobody : .root
    }
}
