import ContainerRuntime
import Glibc
import LinuxKernel

/// `monitor --bundle DIR`: the engine's only way in.
enum MonitorCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["bundle": true, "starting-for": true, "program": true])
        guard let bundle = options.value("bundle"), bundle.hasPrefix("/") else {
            throw OptionError("monitor needs --bundle with an absolute path")
        }
        if let text = options.value("starting-for") {
            guard let pid = Int32(text), let program = options.value("program") else { throw OptionError("--starting-for needs a PID and --program") }
            Monitor.resumeStarting(bundle: bundle, monitorPid: pid, program: program)
        }
        return Monitor.start(bundle: bundle)
    }
}

/// `init -- PROGRAM …`: PID 1 of a container with `--init`.
enum InitCommand {
    static func run(_ arguments: [String]) -> Int32 {
        var command = arguments
        if command.first == "--" { command.removeFirst() }
        if command.isEmpty {
            writeError("coffer-runtime init: nothing to run\n")
            return 1
        }
        return ContainerInitProcess.run(command)
    }
}
