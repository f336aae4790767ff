import ArgumentParser
import ContainerEngine
import Rendering

/// `coffer inspect`.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Show everything about containers.")

    @Option(name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditional, help: "json, or a Go template.")
    var format: String?
    @Argument(help: "Names or IDs.") var names: [String] = []

    func run() throws {
        if names.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        var documents: [TemplateValue] = []
        var failures: [EngineError] = []
        for name in names {
            do throws(EngineError) {
                documents.append(TemplateValue(try Inspection(try engine.container(name), in: engine.root).document))
            } catch {
                failures.append(error)
            }
        }
        // What was found is shown, as Docker does, and the rest is an error.
        Terminal.write(try InspectOutput.render(documents, format: format), to: 1)
        try Invocation.finish(failures)
    }
}
