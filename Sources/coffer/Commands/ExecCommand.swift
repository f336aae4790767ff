import ArgumentParser
import ContainerEngine
import ImageStore
import Rendering

/// `coffer exec`.
struct ExecCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent(
        "exec", abstract: "Run a further program in a container that runs.",
        usage: "coffer exec [OPTIONS] CONTAINER COMMAND [ARG...]")

    @Flag(name: .shortAndLong, help: "Run in the background.") var detach = false
    @Flag(name: .shortAndLong, help: "Keep standard input open.") var interactive = false
    @Flag(name: .shortAndLong, help: "Give the program a terminal.") var tty = false
    @Flag(name: .long, help: "Refused: a program never gets more than its container.") var privileged = false
    @Option(name: [.customShort("e", allowingJoined: true), .long], parsing: .unconditionalSingleValue, help: "Set an environment variable.")
    var env: [String] = []
    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Read environment variables from a file.") var envFile: [String] = []
    @Option(name: [.customShort("u", allowingJoined: true), .long], parsing: .unconditional, help: "User and group: USER[:GROUP].")
    var user: String?
    @Option(name: [.customShort("w", allowingJoined: true), .long], parsing: .unconditional, help: "Working directory.")
    var workdir: String?
    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("Keys that leave the program running.", visibility: .hidden))
    var detachKeys: String?
    @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("Container, program and its arguments.", valueName: "CONTAINER COMMAND [ARG…]"))
    var containerAndCommand: [String] = []

    func run() throws {
        let (container, command) = try PassthroughArguments.split(containerAndCommand, subject: "CONTAINER")
        if command.isEmpty { throw UsageError.tooFewArguments(2) }
        if tty, interactive, !detach, !Terminal.isTerminal(0) {
            throw EngineError("the input device is not a TTY", remedy: "leave -t out when input comes from a pipe or a file", code: .failure)
        }
        var request = ExecRequest(command: command)
        request.terminal = tty
        request.interactive = interactive
        request.detached = detach
        let fromFiles = try envFile.flatMap { try Environment.file($0, from: Invocation.environment) }
        request.environment = Environment.merged(fromFiles, try Environment.resolve(env, from: Invocation.environment))
        request.user = user
        request.workingDirectory = workdir
        request.privileged = privileged
        try Invocation.engine().exec(container, request)
    }
}

/// `coffer top`.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show the processes of a container.", usage: "coffer top CONTAINER [ps OPTIONS]")

    @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("Container, and options of ps.", valueName: "CONTAINER [OPTIONS]"))
    var arguments: [String] = []

    func run() throws {
        let (container, options) = try PassthroughArguments.split(arguments, subject: "CONTAINER")
        let listing = try Invocation.engine().processes(of: container, options: options)
        let rows = [listing.header] + listing.rows.map { $0.map { HumanUnits.printable($0) } }
        Terminal.write(Table.layOut(rows), to: 1)
    }
}

/// `coffer diff`.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Show which files a container changed: A added, C changed, D deleted.")

    @Argument(help: "Name or ID.") var container: String

    func run() throws {
        let changes = try Invocation.engine().changes(of: container)
        Terminal.write(changes.map { "\($0.kind.rawValue) \(HumanUnits.printable($0.path))\n" }.joined(), to: 1)
    }
}
