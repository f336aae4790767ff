import CLinux
import Glibc

/// A child process made with posix_spawn(3), which must be waited for.
///
/// It inherits exactly the descriptors that are named, and nothing above them (rule R3, CVE-2024-21626).
public struct SpawnedProcess: Sendable {
    public let pid: pid_t

    /// Starts `path`.
    ///
    /// - Parameters:
    ///   - arguments: argv, the program's own name first.
    ///   - environment: "NAME=value" strings. Empty by default: helpers need none.
    ///   - descriptors: `descriptors[n]` becomes descriptor n of the child; nil is /dev/null. Descriptors 0 to 2 that are
    ///     not given are /dev/null too.
    public static func start(
        _ path: String, _ arguments: [String], environment: [String] = [], descriptors: [Int32?] = []
    ) throws(KernelError) -> SpawnedProcess {
        var actions = posix_spawn_file_actions_t()
        try check("posix_spawn_file_actions_init", posix_spawn_file_actions_init(&actions))
        defer { posix_spawn_file_actions_destroy(&actions) }
        let null = try FileDescriptor.open("/dev/null", O_RDWR)
        let first = Int32(max(3, descriptors.count))
        // Copies above every target number first, so that no dup2 overwrites the source of a later one.
        var copies: [Int32] = []
        defer { for copy in copies { Glibc.close(copy) } }
        for target in 0..<first {
            let given = Int(target) < descriptors.count ? descriptors[Int(target)] : nil
            let source = given ?? null.rawValue
            let copy = try retrying("fcntl") { fcntl(source, F_DUPFD_CLOEXEC, first + 1) }
            copies.append(copy)
            try check("posix_spawn_file_actions_adddup2", posix_spawn_file_actions_adddup2(&actions, copy, target))
        }
        try check("posix_spawn_file_actions_addclosefrom_np", cl_spawn_close_from(&actions, first))
        return SpawnedProcess(pid: try spawn(path, arguments, environment, &actions))
    }

    /// Runs a program to its end, and returns how it ended and the first 4 KiB of its standard error.
    public static func run(_ path: String, _ arguments: [String]) throws(KernelError) -> (ProcessEnd, String) {
        var ends: [Int32] = [-1, -1]
        try retrying("socketpair") {
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends)
        }
        let reading = FileDescriptor(owning: ends[0])
        let writing = FileDescriptor(owning: ends[1])
        let process = try start(path, arguments, descriptors: [nil, nil, writing.rawValue])
        try writing.close()
        var text: [UInt8] = []
        while true {
            let part = try reading.read(upTo: 4096)
            if part.isEmpty { break }
            if text.count < 4096 { text += part }
        }
        let status = try process.wait()
        let printable = text.prefix(4096).map { $0 < 0x20 || $0 > 0x7e ? 0x20 : $0 }
        let words = String(decoding: printable, as: UTF8.self).split(separator: " ").joined(separator: " ")
        return (status, words)
    }

    /// Waits until the process has ended.
    @discardableResult
    public func wait() throws(KernelError) -> ProcessEnd {
        var status: Int32 = 0
        try retrying("waitpid") { waitpid(pid, &status, 0) }
        return ProcessEnd(waitStatus: status)
    }

    /// Kills the process (SIGKILL) and waits for it. One that has ended already is only waited for.
    public func killAndWait() throws(KernelError) {
        if Glibc.kill(pid, SIGKILL) != 0 && errno != ESRCH { throw .last("kill") }
        try wait()
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], _ actions: inout posix_spawn_file_actions_t
    ) throws(KernelError) -> pid_t {
        var attributes = posix_spawnattr_t()
        try check("posix_spawnattr_init", posix_spawnattr_init(&attributes))
        defer { posix_spawnattr_destroy(&attributes) }
        // The child starts with no signal blocked and every handler at its default.
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        try check("posix_spawnattr_setsigmask", posix_spawnattr_setsigmask(&attributes, &none))
        try check("posix_spawnattr_setsigdefault", posix_spawnattr_setsigdefault(&attributes, &all))
        let flags = Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF)
        try check("posix_spawnattr_setflags", posix_spawnattr_setflags(&attributes, flags))

        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
        envp.append(nil)
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
        if result != 0 { throw KernelError(call: "posix_spawn", errno: result, subject: path) }
        return pid
    }

    /// The posix_spawn family returns the error number instead of setting errno.
    private static func check(_ call: String, _ result: Int32) throws(KernelError) {
        if result != 0 { throw KernelError(call: call, errno: result) }
    }
}
