import ArgumentParser
import ContainerEngine
import Rendering

/// `coffer start`.
struct StartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "start", abstract: "Start containers that were created or have ended.")

    @Flag(name: .shortAndLong, help: "Stay connected to the output.") var attach = false
    @Flag(name: .shortAndLong, help: "Send standard input too.") var interactive = false
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        guard attach || interactive else {
            try Invocation.forEach(containers) { name throws(EngineError) in
                _ = try engine.start(name, attach: nil)
                return name
            }
            return
        }
        guard containers.count == 1 else { throw EngineError("you cannot start and attach multiple containers at once", code: .failure) }
        let (terminal, stdinOpen) = try engine.streams(of: containers[0])
        let settings = try connection.settings(sendsInput: interactive && stdinOpen, terminal: terminal)
        try Invocation.end(try engine.start(containers[0], attach: settings))
    }
}

/// How a foreground command is connected.
struct ConnectionOptions: ParsableArguments {
    @Option(name: .long, parsing: .unconditional, help: "Keys that leave the container running (default ctrl-p,ctrl-q).")
    var detachKeys: String?
    @Option(name: .long, parsing: .unconditional, help: "Pass signals on to the program (true or false).")
    var sigProxy: Bool = true

    func settings(sendsInput: Bool, terminal: Bool) throws -> AttachSettings {
        AttachSettings(
            sendsInput: sendsInput, terminal: terminal, detachKeys: try keys(), proxiesSignals: sigProxy && !terminal)
    }

    func keys() throws -> DetachKeys { try detachKeys.map { try DetachKeys(parsing: $0) } ?? .standard }
}

/// `coffer attach`.
struct AttachCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "attach", abstract: "Connect to a container that runs.")

    @Flag(name: .long, help: "Do not send standard input.") var noStdin = false
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "Name or ID.") var container: String

    func run() throws {
        let engine = try Invocation.engine()
        let (terminal, stdinOpen) = try engine.streams(of: container)
        let settings = try connection.settings(sendsInput: stdinOpen && !noStdin, terminal: terminal)
        try Invocation.end(try engine.attach(container, settings))
    }
}
