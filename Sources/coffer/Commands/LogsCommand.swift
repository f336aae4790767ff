import ArgumentParser
import ContainerEngine
import Rendering

/// `coffer logs`.
struct LogsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "logs", abstract: "Show what a container wrote.")

    @Flag(name: .shortAndLong, help: "Go on until the container has ended.") var follow = false
    @Option(name: [.customShort("n", allowingJoined: true), .long], parsing: .unconditional, help: "Show so many of the newest lines (default all).")
    var tail = "all"
    @Option(name: .long, parsing: .unconditional, help: "Show what is newer: a time, or a duration back from now (10m).") var since: String?
    @Option(name: .long, parsing: .unconditional, help: "Show what is older.") var until: String?
    @Flag(name: .shortAndLong, help: "Put the time before each line.") var timestamps = false
    @Argument(help: "Name or ID.") var container: String

    func run() throws {
        let engine = try Invocation.engine()
        var query = LogQuery()
        query.follow = follow
        // A number that is none means everything, as Docker reads it.
        query.tail = Int(tail).flatMap { $0 < 0 ? nil : $0 }
        query.since = try since.map { try Timestamp(parsingMoment: $0) }
        query.until = try until.map { try Timestamp(parsingMoment: $0) }
        query.timestamps = timestamps
        try engine.logs(of: container, query) { text, isError in Terminal.write(text, to: isError ? 2 : 1) }
    }
}

/// `coffer port`.
struct PortCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "port", abstract: "Show the published ports of a container.")

    @Argument(help: "Name or ID.") var container: String
    @Argument(help: "Only this port of the container: PORT[/PROTOCOL].") var port: String?

    func run() throws {
        let engine = try Invocation.engine()
        Terminal.write(try engine.publishedPorts(of: container, port: port).map { $0 + "\n" }.joined(), to: 1)
    }
}
