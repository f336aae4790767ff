import ArgumentParser

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
