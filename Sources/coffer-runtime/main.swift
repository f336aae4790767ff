import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel

// Synchronous and single-threaded from start to end: clone3 and setns of user namespaces demand it, and an async main costs
// 35 ms.

func writeError(_ text: String) { writeStandardError(text) }

var command = ""
do {
    var arguments = Array(CommandLine.arguments.dropFirst())
    let global = try GlobalOptions(taking: &arguments)
    guard let first = arguments.first else {
        writeError(Help.ofProgram)
        exit(1)
    }
    command = first
    arguments.removeFirst()
    // What the caller left open reaches no hook and no payload that was not promised it (CVE-2024-21626).
    try closeDescriptors(from: 3, onExecOnly: true)
    exit(try dispatch(command, arguments, global))
} catch let failure as LaunchFailure {
    RuntimeLog.report(failure, of: command)
    exit(ExitCode.of(failure))
} catch {
    RuntimeLog.report(error)
    exit(1)
}

func dispatch(_ command: String, _ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
    guard let run = Commands.table[command] else {
        if ["-h", "--help"].contains(arguments.first) { throw OptionError("No help topic for '\(command)': see coffer-runtime --help") }
        throw OptionError("unknown command \"\(command)\": see coffer-runtime --help")
    }
    if arguments.first == "--help" || arguments.first == "-h" {
        print(Help.of(command) ?? Help.ofProgram, terminator: "")
        return 0
    }
    return try run(arguments, global)
}

/// One row per command.
enum Commands {
    typealias Run = @Sendable ([String], GlobalOptions) throws -> Int32

    static let table: [String: Run] = [
        "create": CreateCommand.run, "start": StartCommand.run, "run": RunCommand.run, "exec": ExecCommand.run, "state": StateCommand.run,
        "list": ListCommand.run, "kill": KillCommand.run, "delete": DeleteCommand.run, "pause": PauseCommand.run, "resume": ResumeCommand.run,
        "ps": ProcessesCommand.run, "update": UpdateCommand.run, "events": EventsCommand.run,
        "spec": SpecCommand.run, "features": FeaturesCommand.run, "monitor": MonitorCommand.run,
        "init": { arguments, _ in InitCommand.run(arguments) }, "checkpoint": unsupported("checkpoint"), "restore": unsupported("restore"),
    ]

    private static func unsupported(_ command: String) -> Run {
        { _, _ in throw OptionError("\(command) is not supported: coffer-runtime does not use CRIU") }
    }
}
