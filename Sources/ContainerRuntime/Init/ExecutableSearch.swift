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

    private static func check(_ path: String, _ name: String) throws {
        var status = stat()
        if stat(path, &status) != 0 {
            let number = errno
            throw failure(name, number == ENOTDIR ? ENOENT : number, KernelError(call: "stat", errno: number).reason.lowercased())
        }
        if status.st_mode & S_IFMT == S_IFDIR { throw failure(name, EACCES, "is a directory") }
        // As the effective identity: access(2) would ask for the real one, which is the same here.
        if faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0 { throw failure(name, errno, "permission denied") }
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
