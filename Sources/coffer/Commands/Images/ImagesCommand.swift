import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Rendering

/// `coffer images`, `coffer image ls`.
struct ImagesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "images", abstract: "List images.")

    @Flag(name: .shortAndLong, help: "Accepted for compatibility: there are no intermediate images.") var all = false
    @Flag(name: .shortAndLong, help: "Show IDs only.") var quiet = false
    @Flag(name: .long, help: "Show digests.") var digests = false
    @Flag(name: .long, help: "Do not shorten.") var noTrunc = false
    @Option(
        name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Show what passes: dangling=true, label=NAME[=VALUE], reference=PATTERN, before=IMAGE, since=IMAGE.")
    var filter: [String] = []
    @Option(name: .long, parsing: .unconditional, help: "table, json, or a Go template.") var format: String?
    @Argument(help: ArgumentHelp("Show this repository only: NAME[:TAG], with * and ?.", valueName: "repository")) var repository: String?

    func run() throws {
        let store = try ImageCommands.store()
        let text = try ImageCommands.told {
            let filter = try ImageFilter(filter, repository: repository, in: store)
            var rows: [ImageListing.Row] = []
            for image in try store.images() where filter.accepts(image) {
                rows += ImageListing.rows(of: image).filter(filter.accepts)
            }
            if quiet, format == nil {
                var seen = Set<String>()
                return rows.map { noTrunc ? $0.image.id.description : $0.image.id.short }
                    .filter { seen.insert($0).inserted }.map { $0 + "\n" }.joined()
            }
            return try ImageListing.listing(digests: digests).render(rows.map { $0.value(truncated: !noTrunc) }, format: format)
        }
        Terminal.write(text, to: 1)
    }
}

/// `coffer image ls`: `images` under Docker's longer name.
struct ImageListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List images.", aliases: ["list"])
    @OptionGroup var images: ImagesCommand
    func run() throws { try images.run() }
}
