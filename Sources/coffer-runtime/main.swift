import ContainerRuntime
import Glibc
import LaunchPlan

// Synchronous and single-threaded from start to end: clone3 and setns of user namespaces demand it, and an async main costs
// 35 ms.

let usage = """
    Usage: coffer-runtime [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]

    An OCI runtime, and the monitor of Coffer's containers.

    Commands:
      run        create a container from a bundle and start it
      exec       run a further process in a running container
      state      print the state of a container
      list       list containers
      kill       send a signal to the first process of a container
      delete     remove a container
      spec       write a default config.json
      features   print what this runtime supports
      monitor    supervise one container of the engine (internal)

    Global options:
      --root DIR          directory for state (default: /run/coffer-runtime, or below $XDG_RUNTIME_DIR)
      --log FILE          write errors there too
      --log-format FORMAT text or json
      --version, --help

    """

func writeError(_ text: String) { writeStandardError(text) }

do {
    var arguments = Array(CommandLine.arguments.dropFirst())
    let global = try GlobalOptions(taking: &arguments)
    guard let command = arguments.first else {
        writeError(usage)
        exit(1)
    }
    arguments.removeFirst()
    exit(try dispatch(command, arguments, global))
} catch let failure as LaunchFailure {
    GlobalOptions.report(failure.message)
    exit(ExitCode.of(failure))
} catch {
    GlobalOptions.report("\(error)")
    exit(1)
}

/// One row per command.
func dispatch(_ command: String, _ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
    switch command {
    case "run": return try RunCommand.run(arguments, global)
    case "exec": return try ExecCommand.run(arguments, global)
    case "monitor": return try MonitorCommand.run(arguments, global)
    case "init": return InitCommand.run(arguments)
    case "state": return try StateCommand.run(arguments, global)
    case "list": return try ListCommand.run(arguments, global)
    case "kill": return try KillCommand.run(arguments, global)
    case "delete": return try DeleteCommand.run(arguments, global)
    case "spec": return try SpecCommand.run(arguments, global)
    case "features": return try FeaturesCommand.run(arguments, global)
    case "checkpoint", "restore":
        throw OptionError("\(command) is not supported: coffer-runtime does not use CRIU")
    default: throw OptionError("unknown command \"\(command)\": see coffer-runtime --help")
    }
}
