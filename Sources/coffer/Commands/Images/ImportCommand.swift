import ArgumentParser
import ImageStore
import OCISpec
import Rendering

/// `coffer import`.
struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make an image of a tarball of a file system.")

    @Option(
        name: [.customShort("c", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "An instruction of a Dockerfile for the image: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, STOPSIGNAL.")
    var change: [String] = []
    @Option(name: [.customShort("m", allowingJoined: true), .long], parsing: .unconditional, help: "A comment for the history.") var message: String?
    @Option(name: .long, parsing: .unconditional, help: "What the file system is for: OS/ARCHITECTURE[/VARIANT].") var platform: String?
    @Flag(name: .shortAndLong, help: "Print no progress.") var quiet = false
    @Argument(help: ArgumentHelp("The tarball, plain or compressed; - for standard input.", valueName: "file")) var file: String
    @Argument(help: ArgumentHelp("The image's name.", valueName: "name")) var name: String?

    func run() throws {
        let store = try ImageCommands.store()
        let bars = LayerBars(isQuiet: quiet)
        let image = try ImageCommands.told {
            defer { bars.bars.finish() }
            return try store.importRootFileSystem(
                from: file == "-" ? .standardInput : .path(file), as: try name.map { try ImageReference(parsing: $0) }, changes: change,
                message: message, created: Timestamp.now.rfc3339, platform: try ImageCommands.platform(platform) ?? .current
            ) { bars.show($0) }
        }
        ImageCommands.print(image.id.description)
    }
}
