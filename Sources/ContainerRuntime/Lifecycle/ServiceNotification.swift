import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// The word of a container's program to the service manager that the runtime was started by (sd_notify(3)): `NOTIFY_SOCKET` in the environment of `create`,
/// `start` and `run`, as with runc and crun.
///
/// The manager's own socket never comes into the container: whoever may write there can name another main process and have descriptors kept. The program
/// gets a socket of the container's, and what it says on that is passed on line by line where the line is one of `Line.allowed`.
public struct ServiceNotification: Sendable {
    /// Of the socket that the container's program writes to, as the program sees it.
    public static let place = "/run/notify"
    private static let directoryName = "notify"
    private static let socketName = "notify.sock"
    /// Bytes. systemd itself takes no longer one.
    private static let limit = 4096
    /// Microseconds between two messages: a program that never stops to talk keeps the host's first process busy with nothing else.
    private static let pause: UInt32 = 100_000

    private let manager: String
    private let directory: ContainerDirectory

    /// nil where nobody waits for word.
    ///
    /// - Throws: `PlanError` when the address is none that this runtime writes to.
    public init?(_ directory: ContainerDirectory) throws {
        guard let address = CurrentEnvironment.value("NOTIFY_SOCKET"), !address.isEmpty else { return nil }
        // An abstract socket has no permissions (rule R12); systemd has not used one since version 228.
        guard address.hasPrefix("/") else { throw PlanError("NOTIFY_SOCKET=\(address) is not an absolute path") }
        manager = address
        self.directory = directory
    }

    private static func path(_ directory: ContainerDirectory) -> String { "\(directory.path)/\(directoryName)" }

    /// Whether `create` has prepared for it.
    static func isPrepared(_ directory: ContainerDirectory) -> Bool { access(path(directory), F_OK) == 0 }

    /// Makes the directory that is mounted into the container: `start` puts the socket there, when the container exists already.
    func prepare() throws(KernelError) {
        let path = Self.path(directory)
        try retrying("mkdir", path) { mkdir(path, 0o755) }
    }

    /// The configuration with the directory mounted and the program told of it.
    func adapted(_ spec: RuntimeSpec) -> RuntimeSpec {
        guard spec.process != nil else { return spec }
        var result = spec
        let mount = RuntimeSpec.Mount(
            destination: Self.place, type: "bind", source: Self.path(directory), options: ["bind", "ro", "nosuid", "nodev", "noexec"])
        result.mounts = (spec.mounts ?? []) + [mount]
        result.process?.env = (spec.process?.env ?? []) + ["NOTIFY_SOCKET=\(Self.place)/\(Self.socketName)"]  // the last one counts
        return result
    }

    /// The socket, in its place. To be called before anything of the container runs.
    func listen() throws -> FileDescriptor {
        try performing(.execute, "the container's notification socket") {
            let place = try FileDescriptor.open(Self.path(directory), RootDirectory.pathOnly | O_DIRECTORY | O_NOFOLLOW)
            return try UnixSocket.receiver(Self.socketName, in: place)
        }
    }

    /// Waits for READY=1, or for the end of the process, and tells the manager whose PID to watch from now on: this program ends.
    func awaitReady(on socket: borrowing FileDescriptor, _ pid: Int32, _ pidfd: borrowing FileDescriptor) throws {
        try relay(on: socket, pidfd) { message in
            guard message.lines.contains(.ready) else { return false }
            try send("MAINPID=\(pid)\nREADY=1\n")
            return true
        }
    }

    /// Passes on what is said until the process ends.
    func relay(on socket: borrowing FileDescriptor, until pidfd: borrowing FileDescriptor) throws {
        try relay(on: socket, pidfd) { message in
            if !message.lines.isEmpty {
                try send(message.lines.map { $0.text + "\n" }.joined())
                usleep(Self.pause)
            }
            return false
        }
    }

    /// - Parameter body: whether it has heard enough.
    private func relay(
        on socket: borrowing FileDescriptor, _ pidfd: borrowing FileDescriptor, _ body: (NotificationMessage) throws -> Bool
    ) throws {
        var sources = [
            pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0), pollfd(fd: pidfd.rawValue, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            try retrying("poll") { poll(&sources, 2, -1) }
            if sources[0].revents != 0 {
                // A descriptor that comes along is closed here, and not kept: that is all that sd_notify_barrier(3) waits for.
                guard let (bytes, descriptor) = try socket.receiveMessage(limit: Self.limit) else { continue }
                if descriptor >= 0 { try FileDescriptor(owning: descriptor).close() }
                if try body(NotificationMessage(bytes)) { return }
            } else if sources[1].revents != 0 {
                return
            }
        }
    }

    private func send(_ text: String) throws {
        try performing(.execute, "telling \(manager)") { try UnixSocket.connect(manager, .datagrams).sendMessage(Array(text.utf8)) }
    }

    /// Takes away what `prepare` and `listen` made. A container with CAP_SYS_ADMIN over the host can have made more of it.
    static func remove(_ directory: ContainerDirectory) throws(KernelError) {
        guard isPrepared(directory) else { return }
        let name = directoryName.utf8.map { CChar(bitPattern: $0) } + [0]
        let place = try directory.open()
        try TreeCopy.remove(name, in: place.rawValue, levels: 100)
        try place.close()
    }
}

/// What of a program's message may reach the service manager.
struct NotificationMessage: Equatable {
    /// A line that says something of the program itself, and nothing of processes, descriptors or how the manager is to treat them.
    enum Line: Equatable {
        case ready, reloading, stopping, watchdog
        case monotonic(UInt64)
        case status(String)

        var text: String {
            switch self {
            case .ready: "READY=1"
            case .reloading: "RELOADING=1"
            case .stopping: "STOPPING=1"
            case .watchdog: "WATCHDOG=1"
            case .monotonic(let microseconds): "MONOTONIC_USEC=\(microseconds)"
            case .status(let text): "STATUS=\(text)"
            }
        }

        init?(_ line: Substring) {
            switch line {
            case "READY=1": self = .ready
            case "RELOADING=1": self = .reloading
            case "STOPPING=1": self = .stopping
            case "WATCHDOG=1": self = .watchdog
            default:
                if line.hasPrefix("MONOTONIC_USEC="), let number = UInt64(line.dropFirst("MONOTONIC_USEC=".count)) {
                    self = .monotonic(number)
                } else if line.hasPrefix("STATUS=") {
                    self = .status(Self.shown(line.dropFirst("STATUS=".count)))
                } else {
                    return nil
                }
            }
        }

        /// `systemctl status` shows it on somebody's terminal.
        private static func shown(_ text: Substring) -> String {
            let scalars = text.unicodeScalars.prefix(256).map { scalar in
                let category = scalar.properties.generalCategory
                return [.control, .format, .lineSeparator, .paragraphSeparator].contains(category) ? "?" : Character(scalar)
            }
            return String(scalars)
        }
    }

    let lines: [Line]

    init(_ bytes: [UInt8]) {
        lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap(Line.init)
    }
}
