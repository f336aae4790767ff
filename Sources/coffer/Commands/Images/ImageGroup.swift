import ArgumentParser
import ContainerEngine
import Glibc
import ImageStore
import Rendering

/// `coffer image VERB`: the same commands under Docker's longer names.
struct ImageGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Work with images.",
        subcommands: [
            ImageListCommand.self, ImageInspectCommand.self, ImageRemoveCommand.self, ImagePruneCommand.self, PullCommand.self,
            LoadCommand.self, ImportCommand.self, SaveCommand.self, TagCommand.self, HistoryCommand.self,
        ])
}

/// `coffer image rm`: `rmi` under Docker's longer name.
struct ImageRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove images.", aliases: ["remove"])
    @OptionGroup var removal: RemoveImageCommand
    func run() throws { try removal.run() }
}

/// `coffer image prune`.
struct ImagePruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove images that have no name and no container.")

    @Flag(name: .shortAndLong, help: "Do not ask.") var force = false

    func run() throws {
        if !force {
            Terminal.write("WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ", to: 2)
            guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else { return }
        }
        let store = try ImageCommands.store()
        let engine = try Invocation.engine()
        let steps = try ImageCommands.told { try store.removeDangling { try ImageCommands.user(of: $0, engine) } }
        RemovalOutput.show(steps)
    }
}
