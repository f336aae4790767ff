import ArgumentParser

/// The root of the command line.
struct Coffer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coffer",
        abstract: "Containers that contain: rootless, without a daemon.",
        usage: "coffer [--root DIR] COMMAND",
        discussion: "Verbs, flags and formats are Docker's. Run 'coffer COMMAND --help' for one command.",
        version: "coffer version \(cofferVersion)",
        subcommands: [ContainerGroup.self, ImageGroup.self],
        groupedSubcommands: [
            CommandGroup(name: "Running", subcommands: runCommands),
            CommandGroup(name: "Looking", subcommands: lookCommands),
            CommandGroup(name: "Ending", subcommands: endCommands),
            CommandGroup(name: "Image", subcommands: imageCommands),
        ])

    /// Commands that have commands of their own.
    static let groups: Set<String> = ["container", "image"]

    static let runCommands: [any ParsableCommand.Type] = [
        RunCommand.self, CreateCommand.self, StartCommand.self, ExecCommand.self, AttachCommand.self, CopyCommand.self,
    ]
    static let lookCommands: [any ParsableCommand.Type] = [
        ListCommand.self, InspectCommand.self, ExposureCommand.self, LogsCommand.self, TopCommand.self, DiffCommand.self,
        PortCommand.self, WaitCommand.self,
    ]
    static let endCommands: [any ParsableCommand.Type] = [
        StopCommand.self, KillCommand.self, RestartCommand.self, PauseCommand.self, UnpauseCommand.self, RenameCommand.self,
        RemoveCommand.self,
    ]
    static let imageCommands: [any ParsableCommand.Type] = [
        PullCommand.self, LoadCommand.self, ImportCommand.self, SaveCommand.self, ImagesCommand.self, RemoveImageCommand.self,
        TagCommand.self, HistoryCommand.self,
    ]
}

/// `coffer container VERB`: the same commands under Docker's longer names.
struct ContainerGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "container", abstract: "Work with containers.",
        subcommands: Coffer.runCommands + Coffer.lookCommands + Coffer.endCommands)
}
