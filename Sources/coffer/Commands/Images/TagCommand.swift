import ArgumentParser
import ImageStore
import OCISpec

/// `coffer tag`.
struct TagCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "tag", abstract: "Give an image one more name.")

    @Argument(help: "The image: a name or an ID.") var source: String
    @Argument(help: "The new name.") var target: String

    func run() throws {
        let store = try ImageCommands.store()
        try ImageCommands.told { try store.tag(source, as: try ImageReference(parsing: target)) }
    }
}
