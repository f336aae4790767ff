import ArgumentParser
import ContainerEngine
import Rendering

/// `coffer stop`.
struct StopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stop", abstract: "Ask containers to end, and kill those that do not.")

    @Option(
        name: [.customShort("t", allowingJoined: true), .customLong("timeout"), .customLong("time")], parsing: .unconditional,
        help: "Seconds until the kill; -1 waits for ever.")
    var timeout: Int?
    @Option(name: [.customShort("s", allowingJoined: true), .long], parsing: .unconditional, help: "Signal to ask with.") var signal: String?
    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        let signal = try signal.map { try Signal(parsing: $0) }
        try Invocation.forEach(containers) { name throws(EngineError) in
            try engine.stop(name, timeout: timeout, signal: signal)
            return name
        }
    }
}

/// `coffer restart`.
struct RestartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "restart", abstract: "Stop containers and start them again.")

    @Option(
        name: [.customShort("t", allowingJoined: true), .customLong("timeout"), .customLong("time")], parsing: .unconditional,
        help: "Seconds until the kill; -1 waits for ever.")
    var timeout: Int?
    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        try Invocation.forEach(containers) { name throws(EngineError) in
            try engine.stop(name, timeout: timeout, signal: nil)
            _ = try engine.start(name, attach: nil)
            return name
        }
    }
}

/// `coffer kill`.
struct KillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "kill", abstract: "Send a signal to containers.")

    @Option(name: [.customShort("s", allowingJoined: true), .long], parsing: .unconditional, help: "The signal.") var signal = "KILL"
    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        let signal = try Signal(parsing: signal)
        try Invocation.forEach(containers) { name throws(EngineError) in
            try engine.kill(name, signal: signal)
            return name
        }
    }
}

/// `coffer rm`.
struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent("rm", abstract: "Remove containers.", aliases: ["remove"])

    @Flag(name: .shortAndLong, help: "Kill those that run.") var force = false
    @Flag(name: .shortAndLong, help: "Remove their anonymous volumes too.") var volumes = false
    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        try Invocation.forEach(containers) { name throws(EngineError) in
            do throws(EngineError) {
                try engine.remove(name, force: force, volumes: volumes)
            } catch {
                // `rm -f` of what is not there is no failure, as Docker's.
                guard force, error == .noSuchContainer(name) else { throw error }
                Terminal.write("coffer: \(error)\n", to: 2)
                return nil
            }
            return name
        }
    }
}

/// `coffer pause`.
struct PauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pause", abstract: "Freeze every process of containers.")

    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        try Invocation.forEach(containers) { name throws(EngineError) in
            try engine.setPaused(true, name)
            return name
        }
    }
}

/// `coffer unpause`.
struct UnpauseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "unpause", abstract: "Thaw paused containers.")

    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        try Invocation.forEach(containers) { name throws(EngineError) in
            try engine.setPaused(false, name)
            return name
        }
    }
}

/// `coffer wait`.
struct WaitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "wait", abstract: "Wait for containers to end, and print their exit codes.")

    @Argument(help: "Names or IDs.") var containers: [String] = []

    func run() throws {
        if containers.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        try Invocation.forEach(containers) { name throws(EngineError) in "\(try engine.wait(name))" }
    }
}

/// `coffer rename`.
struct RenameCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rename", abstract: "Give a container another name.")

    @Argument(help: "Name or ID.") var container: String
    @Argument(help: "The new name.") var name: String

    func run() throws {
        let engine = try Invocation.engine()
        try engine.rename(container, to: name)
    }
}
