import ArgumentParser
import ContainerEngine
import ImageStore
import Rendering

/// `coffer image inspect`.
struct ImageInspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Show everything about images.")

    @Option(name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditional, help: "json, or a Go template.")
    var format: String?
    @Argument(help: ArgumentHelp("Names or IDs.", valueName: "image")) var images: [String] = []

    func run() throws {
        if images.isEmpty { throw UsageError.tooFewArguments(1) }
        let store = try ImageCommands.store()
        var documents: [TemplateValue] = []
        var failures: [EngineError] = []
        for name in images {
            do {
                documents.append(try ImageCommands.told { try ImageInspection.document(of: try store.resolve(name), in: store) })
            } catch let error as EngineError {
                failures.append(error)
            }
        }
        // What was found is shown, as Docker does, and the rest is an error.
        Terminal.write(try InspectOutput.render(documents, format: format), to: 1)
        try Invocation.finish(failures)
    }
}
