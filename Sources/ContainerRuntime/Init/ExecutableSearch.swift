import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// The search for a program along PATH, as execvp(3) does it, but with answers that name what is wrong.
enum ExecutableSearch {
    /// - Throws: ENOENT ("executable file not found in $PATH", exit code 127) or EACCES (126). The wording is runc's, which
    ///   dockerd and podman read to choose the exit code.
    static func find(_ name: String, environment: [String]) throws -> String {
        if name.isEmpty { throw failure(name, ENOENT, "no such file or directory") }
        if name.contains("/") {
            try check(name, name)
            return name
        }
        let path =
            environment.last { $0.hasPrefix("PATH=") }.map { $0.dropFirst(5) }
            ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        var denied: LaunchFailure?
        for directory in path.split(separator: ":", omittingEmptySubsequences: false) {
            // An empty entry is the working directory by POSIX; a program of that name there is not what anybody meant.
            let candidate = (directory.isEmpty ? "." : directory) + "/" + name
            do {
                try check(String(candidate), name)
                return String(candidate)
            } catch let error as LaunchFailure {
                if error.errno == EACCES { denied = error }
            }
        }
        if let denied { throw denied }
        throw failure(name, ENOENT, "executable file not found in $PATH")
    }

    /// By the resolver, which takes no magic link: a program named /proc/self/exe would be this one (CVE-2019-5736).
    private static func check(_ path: String, _ name: String) throws {
        let number: Int32
        do {
            let top = RootDirectory(try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY))
            let program = try top.open(path.hasPrefix("/") ? path : workingDirectory() + "/" + path, RootDirectory.pathOnly)
            if try program.status().st_mode & S_IFMT == S_IFDIR { throw failure(name, EACCES, "is a directory: permission denied") }
            // As the effective identity, of the very file that was found.
            let raw = program.rawValue
            try retrying("faccessat2", path) { cl_faccessat2(raw, "", X_OK, AT_EACCESS | 0x1000) }
            return
        } catch let error as KernelError {
            number = error.errno == ENOTDIR ? ENOENT : error.errno
        }
        throw failure(name, number, KernelError(call: "execve", errno: number).reason.lowercased())
    }

    private static func workingDirectory() throws(KernelError) -> String {
        var buffer = [CChar](repeating: 0, count: 4097)
        let length = try retrying("getcwd") { cl_getcwd(&buffer, 4096) }
        return String(decoding: buffer[0..<max(0, length - 1)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func failure(_ name: String, _ number: Int32, _ reason: String) -> LaunchFailure {
        LaunchFailure(
            step: LaunchStep.Kind.execute.rawValue, call: "execve", errno: number, subject: name, message: "exec: \"\(name)\": \(reason)")
    }

    /// execve(2). - Returns: the error number, only when it failed.
    static func execute(_ path: String, _ arguments: [String], _ environment: [String]) -> Int32 {
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        execve(path, argv, envp)
        return errno
    }
}

/// Signal dispositions and mask, which execve(2) would hand on.
enum SignalState {
    static func reset() {
        for number in Int32(1)...64 where number != SIGKILL && number != SIGSTOP { signal(number, SIG_DFL) }
        var none = sigset_t()
        sigemptyset(&none)
        sigprocmask(SIG_SETMASK, &none, nil)
    }
}
