import ContainerRuntime
import Glibc
import LinuxKernel

/// `monitor --bundle DIR`: the engine's only way in.
enum MonitorCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["bundle": true])
        guard let bundle = options.value("bundle"), bundle.hasPrefix("/") else {
            throw OptionError("monitor needs --bundle with an absolute path")
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
