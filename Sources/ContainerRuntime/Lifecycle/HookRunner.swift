import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// Runs hooks (runtime-spec, config.md, "POSIX-platform Hooks"): the container's state on stdin, and a limit on their time.
enum HookRunner {
    /// When hooks run, by their member of `hooks`.
    enum Kind: String { case prestart, createRuntime, createContainer, startContainer, poststart, poststop }

    /// Bytes of a failed hook's output that are shown.
    private static let shownOutput = 4096

    /// Runs hooks in their order. - Throws: `LaunchFailure` at the first that fails.
    ///
    /// - Parameter filter: of system calls, for the hooks.
    static func run(_ hooks: [RuntimeSpec.Hook], _ kind: Kind, _ state: RuntimeContainerState, filter: SeccompFilter? = nil) throws {
        if hooks.isEmpty { return }
        let text = try StrictJSONEncoder().encode(state)
        for (index, hook) in hooks.enumerated() {
            do {
                try run(hook, text, filter)
            } catch let failure as HookFailure {
                throw LaunchFailure(
                    .runtimeHooks, "error running \(kind.rawValue) hook #\(index): \(hook.path): \(failure.reason)", subject: hook.path)
            }
        }
    }

    /// Runs all `poststop` hooks, whatever becomes of the earlier ones: they stop nothing (runtime-spec, "Lifecycle").
    ///
    /// - Returns: one sentence for each that failed.
    static func runAfterEnd(_ hooks: [RuntimeSpec.Hook], _ state: RuntimeContainerState) -> [String] {
        var complaints: [String] = []
        for hook in hooks {
            do {
                try run(hook, try StrictJSONEncoder().encode(state), nil)
            } catch let failure as HookFailure {
                let how = failure.exitCode.map { "with exit code \($0)" } ?? "by \(failure.reason)"
                complaints.append("poststop hook failed \(how): \(hook.path)" + (failure.exitCode == nil ? "" : ": \(failure.reason)"))
            } catch {
                complaints.append("poststop hook failed: \(hook.path): \((error as? LaunchFailure)?.message ?? "\(error)")")
            }
        }
        return complaints
    }

    private struct HookFailure: Error {
        var reason: String
        var exitCode: Int32?
    }

    private static func run(_ hook: RuntimeSpec.Hook, _ state: [UInt8], _ filter: SeccompFilter?) throws {
        // Files in memory instead of pipes: a hook that reads or writes nothing, or leaves something running, blocks nobody.
        let input = try file("hook-state")
        try input.writeAll(state)
        let raw = input.rawValue
        try retrying("lseek") { lseek(raw, 0, SEEK_SET) }
        let output = try file("hook-output")
        switch try Processes.fork() {
        case .child: execute(hook, input.rawValue, output.rawValue, filter)
        case .parent(let process):
            let end = try wait(process, hook)
            if end == .exited(0) { return }
            let failed = output.rawValue
            try retrying("lseek") { lseek(failed, 0, SEEK_SET) }
            var said = String(decoding: try output.read(upTo: shownOutput), as: UTF8.self)
            while said.last?.isWhitespace == true { said.removeLast() }
            var code: Int32?
            if case .exited(let number) = end { code = number }
            throw HookFailure(reason: end.inWords + (said.isEmpty ? "" : ", output: \(said)"), exitCode: code)
        }
    }

    private static func file(_ name: String) throws(KernelError) -> FileDescriptor {
        FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create(name, 1) })
    }

    private static func execute(_ hook: RuntimeSpec.Hook, _ input: Int32, _ output: Int32, _ filter: SeccompFilter?) -> Never {
        if dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 { _exit(127) }
        SignalState.reset()
        do {
            try filter?.load()
        } catch {
            writeStandardError("\(hook.path): the system call filter cannot be loaded: \(error)")
            _exit(127)
        }
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
            throw HookFailure(reason: "not done within \(hook.timeout ?? 0) s (\(end.inWords))")
        }
        return try Processes.wait(for: process.pid)
    }
}

extension ProcessEnd {
    var inWords: String {
        switch self {
        case .exited(let code): "exit status \(code)"
        case .signalled(let number): "ended by signal \(number)" + (strsignal(number).map { " (\(String(cString: $0).lowercased()))" } ?? "")
        }
    }
}

/// "NAME=value" lists.
enum EnvironmentList {
    /// Each name once, with its last value, where that stands.
    static func merged(_ variables: [String]) -> [String] {
        var seen: Set<Substring> = []
        let last = variables.reversed().filter { seen.insert($0.prefix { $0 != "=" }).inserted }
        return last.reversed()
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
