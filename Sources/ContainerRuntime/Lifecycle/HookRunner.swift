import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// Runs hooks (runtime-spec, config.md, "POSIX-platform Hooks"): the container's state on stdin, and a limit on their time.
enum HookRunner {
    /// Bytes of a failed hook's output that are shown.
    private static let shownOutput = 4096

    /// Runs hooks in their order. - Throws: `LaunchFailure` at the first that fails.
    static func run(_ hooks: [RuntimeSpec.Hook], _ state: RuntimeContainerState) throws {
        if hooks.isEmpty { return }
        let text = try StrictJSONEncoder().encode(state)
        for hook in hooks { try run(hook, text) }
    }

    /// Runs all hooks, whatever becomes of the earlier ones: those after the start and after the end stop nothing (runtime-spec, "Lifecycle").
    ///
    /// - Returns: one sentence for each that failed.
    static func runAll(_ hooks: [RuntimeSpec.Hook], _ state: RuntimeContainerState) -> [String] {
        var complaints: [String] = []
        for hook in hooks {
            do {
                try run([hook], state)
            } catch {
                complaints.append((error as? LaunchFailure)?.message ?? "\(error)")
            }
        }
        return complaints
    }

    private static func run(_ hook: RuntimeSpec.Hook, _ state: [UInt8]) throws {
        // Files in memory instead of pipes: a hook that reads or writes nothing, or leaves something running, blocks nobody.
        let input = try file("hook-state")
        try input.writeAll(state)
        let raw = input.rawValue
        try retrying("lseek") { lseek(raw, 0, SEEK_SET) }
        let output = try file("hook-output")
        switch try Processes.fork() {
        case .child: execute(hook, input.rawValue, output.rawValue)
        case .parent(let process):
            let end = try wait(process, hook)
            if end == .exited(0) { return }
            let failed = output.rawValue
            try retrying("lseek") { lseek(failed, 0, SEEK_SET) }
            var said = String(decoding: try output.read(upTo: shownOutput), as: UTF8.self)
            while said.last?.isWhitespace == true { said.removeLast() }
            throw failure(hook, "\(end.inWords)" + (said.isEmpty ? "" : ", output: \(said)"))
        }
    }

    private static func file(_ name: String) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create(name, 1) })
    }

    private static func execute(_ hook: RuntimeSpec.Hook, _ input: Int32, _ output: Int32) -> Never {
        if dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 { _exit(127) }
        SignalState.reset()
        let number = ExecutableSearch.execute(hook.path, hook.args ?? [hook.path], hook.env ?? CurrentEnvironment.variables)
        writeStandardError("\(hook.path): \(KernelError(call: "execve", errno: number).reason)")
        _exit(127)
    }

    private static func wait(_ process: borrowing ChildProcess, _ hook: RuntimeSpec.Hook) throws -> ProcessEnd {
        var ended = pollfd(fd: process.pidfd.rawValue, events: Int16(POLLIN), revents: 0)
        // poll(2) waits 24 days at most.
        let limit = hook.timeout.map { Int32(clamping: $0.multipliedReportingOverflow(by: 1000).overflow ? Int.max : $0 * 1000) } ?? -1
        if try retrying("poll", "", { poll(&ended, 1, limit) }) == 0 {
            try Processes.signal(process.pidfd, SIGKILL)
            let end = try Processes.wait(for: process.pid)
            throw failure(hook, "not done within \(hook.timeout ?? 0) s (\(end.inWords))")
        }
        return try Processes.wait(for: process.pid)
    }

    private static func failure(_ hook: RuntimeSpec.Hook, _ reason: String) -> LaunchFailure {
        LaunchFailure(.runtimeHooks, "error running hook \(hook.path): \(reason)", subject: hook.path)
    }
}

extension ProcessEnd {
    var inWords: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .signalled(let number): "ended by signal \(number)"
        }
    }
}

/// This process's own environment.
enum CurrentEnvironment {
    static var variables: [String] {
        var result: [String] = []
        var entry = environ
        while let text = entry.pointee {
            result.append(String(cString: text))
            entry += 1
        }
        return result
    }

    static func value(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
