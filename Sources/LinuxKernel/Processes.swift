import CLinux
import Glibc

/// A child process and the descriptor that names it without a race (pidfd_open(2)).
public struct ChildProcess: ~Copyable, Sendable {
    /// The PID as the caller's pid namespace numbers it.
    public let pid: Int32
    public let pidfd: FileDescriptor

    /// - Parameter pidfd: names the child `pid`.
    public init(pid: Int32, pidfd: consuming FileDescriptor) {
        self.pid = pid
        self.pidfd = pidfd
    }
}

/// How a process ended.
public enum ProcessEnd: Sendable, Equatable {
    case exited(Int32)
    case signalled(Int32)

    /// The code that a shell and Docker show: 128 + n for signal n.
    public var exitCode: Int32 {
        switch self {
        case .exited(let code): code
        case .signalled(let number): 128 + number
        }
    }
}

public enum Processes {
    /// What `fork` answers: the same function returns twice.
    public enum Fork: ~Copyable { case child, parent(ChildProcess) }

    /// clone3(2) without CLONE_VM: a fork into new namespaces. Only for single-threaded programs.
    ///
    /// - Parameters:
    ///   - cgroup: a cgroup v2 directory to be born in (CLONE_INTO_CGROUP), or -1.
    ///   - asSibling: the new process is the caller's parent's child, not the caller's (CLONE_PARENT).
    public static func fork(
        into namespaces: [NamespaceKind] = [], cgroup: Int32 = -1, asSibling: Bool = false
    ) throws(KernelError) -> Fork {
        var pidfd: Int32 = -1
        let pid = try withUnsafeMutablePointer(to: &pidfd) { pointer throws(KernelError) in
            var arguments = cl_clone_args()
            arguments.flags = namespaces.cloneFlags | 0x1000  // CLONE_PIDFD
            arguments.pidfd = UInt64(UInt(bitPattern: pointer))
            // The exit signal of a sibling is its parent's own; any other is EINVAL (clone(2)).
            arguments.exit_signal = asSibling ? 0 : UInt64(SIGCHLD)
            if asSibling { arguments.flags |= 0x8000 }  // CLONE_PARENT
            if cgroup >= 0 {
                arguments.flags |= 0x2_0000_0000  // CLONE_INTO_CGROUP
                arguments.cgroup = UInt64(cgroup)
            }
            return try retrying("clone3", namespaces.map(\.rawValue).joined(separator: ",")) { cl_clone3(&arguments) }
        }
        if pid == 0 { return .child }
        return .parent(ChildProcess(pid: pid, pidfd: FileDescriptor(owning: pidfd)))
    }

    /// A descriptor for a running process.
    public static func open(_ pid: Int32) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("pidfd_open", "\(pid)") { cl_pidfd_open(pid, 0) })
    }

    /// As `open`, but nil when there is no such process.
    public static func openIfPresent(_ pid: Int32) throws(KernelError) -> FileDescriptor? {
        do {
            return try open(pid)
        } catch {
            if error.errno == ESRCH { return nil }
            throw error
        }
    }

    /// As `signal`; a process that has ended is no error.
    public static func signalIfPresent(_ pidfd: borrowing FileDescriptor, _ number: Int32) throws(KernelError) {
        do {
            try signal(pidfd, number)
        } catch {
            if error.errno != ESRCH { throw error }
        }
    }

    /// pidfd_send_signal(2).
    public static func signal(_ pidfd: borrowing FileDescriptor, _ number: Int32) throws(KernelError) {
        let raw = pidfd.rawValue
        try retrying("pidfd_send_signal", "\(number)") { cl_pidfd_send_signal(raw, number) }
    }

    /// Waits until a child has ended and reaps it.
    @discardableResult
    public static func wait(for pid: Int32) throws(KernelError) -> ProcessEnd {
        var status: Int32 = 0
        try retrying("waitpid", "\(pid)") { waitpid(pid, &status, 0) }
        return ProcessEnd(waitStatus: status)
    }

    /// Reaps one ended child, if there is one.
    public static func reapAny() throws(KernelError) -> (pid: Int32, end: ProcessEnd)? {
        var status: Int32 = 0
        let pid = waitpid(-1, &status, WNOHANG)
        if pid == 0 || (pid == -1 && errno == ECHILD) { return nil }
        if pid == -1 { throw .last("waitpid") }
        return (pid, ProcessEnd(waitStatus: status))
    }

    /// The PID that the procfs mounted on /proc gives to the process behind a pidfd; it differs from the caller's own number
    /// where the caller lives in a pid namespace below (pidfd_open(2), fdinfo).
    public static func procfsPid(of pidfd: borrowing FileDescriptor) throws -> Int32 {
        if let number = try pidfd.information("Pid"), let pid = Int32(exactly: number), pid > 0 { return pid }
        throw KernelError(call: "pidfd_open", errno: ESRCH, subject: "process has ended")
    }

    /// The PIDs of all processes that /proc shows.
    public static func all() throws(KernelError) -> [Int32] {
        guard let stream = opendir("/proc") else { throw .last("opendir", "/proc") }
        defer { closedir(stream) }
        var pids: [Int32] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if let pid = Int32(name) { pids.append(pid) }
        }
        return pids
    }

    /// The arguments of a process, each ended by a zero byte, or nil when there is no such process. Its own claim: it may have
    /// written others over them (proc_pid_cmdline(5)).
    public static func commandLine(of pid: Int32) throws(KernelError) -> [UInt8]? {
        do {
            return try readFile("/proc/\(pid)/cmdline", limit: 1 << 20)
        } catch {
            if error.errno == ENOENT || error.errno == ESRCH || error.errno == EFBIG { return nil }
            throw error
        }
    }

    /// Start time in clock ticks since boot (proc_pid_stat(5), field 22), or nil when there is no such process.
    public static func startTicks(of pid: Int32) throws(KernelError) -> UInt64? { try entry(of: pid)?.startTicks }

    /// What /proc says of a process, or nil when there is no such process.
    public static func entry(of pid: Int32) throws(KernelError) -> ProcessEntry? {
        let bytes: [UInt8]
        do {
            bytes = try readFile("/proc/\(pid)/stat", limit: 8192)
        } catch {
            if error.errno == ENOENT || error.errno == ESRCH { return nil }
            throw error
        }
        // The command name may hold spaces and parentheses: fields count from the last ")".
        guard let start = bytes.firstIndex(of: UInt8(ascii: "(")), let end = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = String(decoding: bytes[(end + 1)...], as: UTF8.self).split(separator: " ")
        guard fields.count > 19, let ticks = UInt64(fields[19]) else { return nil }
        return ProcessEntry(
            name: String(decoding: bytes[(start + 1)..<end], as: UTF8.self), startTicks: ticks, hasEnded: fields[0] == "Z" || fields[0] == "X",
            isExiting: (UInt64(fields[6]) ?? 0) & 4 != 0)
    }
}

/// A line of proc_pid_stat(5).
public struct ProcessEntry: Sendable, Equatable {
    /// As ps shows it, at most 15 bytes.
    public let name: String
    /// Start time in clock ticks since boot: tells two processes with the same number apart.
    public let startTicks: UInt64
    /// A zombie: nobody has waited for it yet.
    public let hasEnded: Bool
    /// On its way to being one, and never back in its program (PF_EXITING, linux/sched.h).
    public let isExiting: Bool
}

extension ProcessEnd {
    /// Decodes waitpid(2)'s status word.
    public init(waitStatus status: Int32) {
        let signal = status & 0x7f
        self = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
    }
}

/// Closes every descriptor from `first` on, or marks it close-on-exec (close_range(2); rule R3, CVE-2024-21626).
public func closeDescriptors(from first: UInt32, onExecOnly: Bool) throws(KernelError) {
    try retrying("close_range") { cl_close_range(first, UInt32.max, onExecOnly ? 4 : 0) }
}
