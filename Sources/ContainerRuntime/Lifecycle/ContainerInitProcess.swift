import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// The small init of `--init`: starts the payload, forwards signals to it, reaps what is left to PID 1, ends with its code.
public enum ContainerInitProcess {
    nonisolated(unsafe) private static var payload: Int32 = -1

    /// - Returns: the payload's exit code, 127 or 126 when it could not be started.
    public static func run(_ command: [String]) -> Int32 {
        do {
            let environment = CurrentEnvironment.variables
            let program = try ExecutableSearch.find(command[0], environment: environment)
            let child = try retrying("clone") { cl_fork() }
            if child == 0 {
                SignalState.reset()
                if setpgid(0, 0) == 0, tcgetpgrp(0) >= 0 {
                    signal(SIGTTOU, SIG_IGN)
                    tcsetpgrp(0, getpid())
                    signal(SIGTTOU, SIG_DFL)
                }
                let number = ExecutableSearch.execute(program, command, environment)
                _exit(number == ENOENT ? 127 : 126)
            }
            payload = child
            for number in Int32(1)...31 where ![SIGCHLD, SIGKILL, SIGSTOP, SIGTTIN, SIGTTOU].contains(number) {
                signal(number) { number in kill(ContainerInitProcess.payload, number) }
            }
            return try reap(child)
        } catch {
            let failure = error as? LaunchFailure
            writeStandardError("coffer-runtime init: \(failure?.message ?? "\(error)")\n")
            return failure?.errno == ENOENT ? 127 : 126
        }
    }

    private static func reap(_ pid: Int32) throws -> Int32 {
        while true {
            var status: Int32 = 0
            let ended = waitpid(-1, &status, 0)
            if ended < 0 && errno != EINTR { throw KernelError.last("waitpid") }
            if ended == pid { return ProcessEnd(waitStatus: status).exitCode }
        }
    }
}
