import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Rendering

/// `coffer load`.
struct LoadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Load images from an archive or a directory.",
        discussion: "Reads what 'save' of Docker, Podman and Coffer write: docker-archive and OCI image layouts, plain or compressed.")

    @Option(
        name: [.customShort("i", allowingJoined: true), .long], parsing: .unconditional, help: "A file or a directory, instead of standard input.")
    var input: String?
    @Flag(name: .shortAndLong, help: "Print no progress.") var quiet = false
    @Option(name: .long, parsing: .unconditional, help: "Which image of several platforms: OS/ARCHITECTURE[/VARIANT].") var platform: String?

    func run() throws {
        if input == nil, Terminal.isTerminal(0) {
            throw EngineError("standard input is a terminal", remedy: "redirect an archive into it, or name one with --input", code: .failure)
        }
        let store = try ImageCommands.store()
        let platform = try ImageCommands.platform(platform) ?? .current
        let bars = LayerBars(isQuiet: quiet)
        let images = try ImageCommands.told {
            defer { bars.bars.finish() }
            return try store.load(from: input.map { .path($0) } ?? .standardInput, platform: platform) { bars.show($0) }
        }
        for image in images {
            if image.references.isEmpty { ImageCommands.print("Loaded image ID: \(image.id)") }
            for reference in image.references { ImageCommands.print("Loaded image: \(reference.familiar)") }
        }
    }
}
