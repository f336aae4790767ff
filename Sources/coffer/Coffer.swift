import ArgumentParser

/// The root of the command line.
struct Coffer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coffer",
        abstract: "Containers that contain: rootless, without a daemon.",
        usage: "coffer [--root DIR] COMMAND",
        discussion: "Verbs, flags and formats are Docker's. Run 'coffer COMMAND --help' for one command.",
        version: "coffer version \(cofferVersion)",
        subcommands: [ContainerGroup.self, ImageGroup.self, VolumeGroup.self, SystemGroup.self, PolicyGroup.self],
        groupedSubcommands: [
            CommandGroup(name: "Running", subcommands: runCommands),
            CommandGroup(name: "Looking", subcommands: lookCommands),
            CommandGroup(name: "Ending", subcommands: endCommands),
            CommandGroup(name: "Image", subcommands: imageCommands),
        ])

    /// Commands that have commands of their own.
    static let groups: Set<String> = ["container", "image", "volume", "system", "policy"]

    static let runCommands: [any ParsableCommand.Type] = [
        RunCommand.self, CreateCommand.self, StartCommand.self, ExecCommand.self, AttachCommand.self, CopyCommand.self,
    ]
    static let lookCommands: [any ParsableCommand.Type] = [
        ListCommand.self, InspectCommand.self, ExposureCommand.self, ProbeCommand.self, LogsCommand.self, TopCommand.self, DiffCommand.self,
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

    /// Commands that scripts run in loops. ArgumentParser reads the options of a command by reflection, several times over for one that it finds in a
    /// tree: most of the time of a start. These are parsed by themselves.
    private static let frequent: [String: any ParsableCommand.Type] = [
        "run": RunCommand.self, "exec": ExecCommand.self, "create": CreateCommand.self, "ps": ListCommand.self,
        "inspect": InspectCommand.self, "rm": RemoveCommand.self,
    ]

    /// The command that a line asks for.
    static func command(of arguments: [String]) throws -> any ParsableCommand {
        if let name = arguments.first, let type = frequent[name] {
            // What fails alone is parsed again below the root, which knows what to say about it: help, version, an unknown flag.
            do { return try type.parse(Array(arguments.dropFirst())) } catch {}
        }
        return try parseAsRoot(arguments)
    }
}

extension CommandConfiguration {
    /// The configuration of a command that may be parsed by itself: one with a "super-command" is not asked for completion scripts.
    static func frequent(_ name: String, abstract: String, usage: String? = nil, aliases: [String] = []) -> CommandConfiguration {
        CommandConfiguration(commandName: name, _superCommandName: "coffer", abstract: abstract, usage: usage, aliases: aliases)
    }
}

/// `coffer container VERB`: the same commands under Docker's longer names.
struct ContainerGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "container", abstract: "Work with containers.",
        subcommands: Coffer.runCommands + Coffer.lookCommands + Coffer.endCommands + [ContainerPruneCommand.self])
}
