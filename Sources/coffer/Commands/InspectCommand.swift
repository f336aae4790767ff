import ArgumentParser
import ContainerEngine
import ImageStore
import Rendering

/// `coffer inspect`.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent("inspect", abstract: "Show everything about containers or images.")

    @Option(name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditional, help: "json, or a Go template.")
    var format: String?
    @Option(name: .long, parsing: .unconditional, help: "Only containers, or only images.") var type: ObjectType?
    @Argument(help: "Names or IDs.") var names: [String] = []

    func run() throws {
        if names.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        var documents: [TemplateValue] = []
        var failures: [EngineError] = []
        for name in names {
            do throws(EngineError) {
                documents.append(try document(of: name, engine))
            } catch {
                failures.append(error)
            }
        }
        // What was found is shown, as Docker does, and the rest is an error.
        Terminal.write(try InspectOutput.render(documents, format: format), to: 1)
        try Invocation.finish(failures)
    }

    /// A container, or where none has the name an image, as Docker looks.
    private func document(of name: String, _ engine: Engine) throws(EngineError) -> TemplateValue {
        if type != .image {
            do throws(EngineError) {
                return TemplateValue(try Inspection(try engine.container(name), in: engine.root).document)
            } catch {
                if error != .noSuchContainer(name) || type == .container { throw error }
            }
        }
        do {
            let store = try engine.root.imageStore(warn: Invocation.warn)
            return try ImageInspection.document(of: try store.resolve(name), in: store)
        } catch ImageStoreError.noSuchImage where type == nil {
            throw EngineError("No such object: \(name)", code: .failure)
        } catch {
            throw EngineError("\(error)", code: .failure)
        }
    }
}

/// `--type`.
enum ObjectType: String, ExpressibleByArgument, CaseIterable { case container, image }
