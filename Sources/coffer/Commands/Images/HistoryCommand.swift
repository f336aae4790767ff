import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Rendering

/// `coffer history`.
struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "history", abstract: "Show how an image was made.")

    @Option(name: .long, parsing: .unconditional, help: "table, json, or a Go template.") var format: String?
    @Flag(name: .long, help: "Do not shorten.") var noTrunc = false
    @Flag(name: .shortAndLong, help: "Show IDs only.") var quiet = false
    @Argument(help: "A name or an ID.") var image: String

    private static let listing = Listing(
        columns: [
            .init("Comment", "COMMENT"), .init("CreatedAt", "CREATED AT"), .init("CreatedBy", "CREATED BY"),
            .init("CreatedSince", "CREATED"), .init("ID", "IMAGE"), .init("Size", "SIZE"),
        ],
        defaultColumns: ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"], rowType: "*formatter.historyContext")

    func run() throws {
        let store = try ImageCommands.store()
        let text = try ImageCommands.told {
            let image = try store.resolve(image)
            let lines = try store.history(of: image)
            // Only the last step made this image; the others' images were never more than steps.
            let ids = lines.indices.map { $0 == 0 ? (noTrunc ? image.id.description : image.id.short) : "<missing>" }
            if quiet { return ids.map { $0 + "\n" }.joined() }
            return try Self.listing.render(zip(ids, lines).map { row($0, $1) }, format: format)
        }
        Terminal.write(text, to: 1)
    }

    private func row(_ id: String, _ line: HistoryLine) -> TemplateValue {
        let created = line.created.flatMap { Timestamp(rfc3339: $0) }
        return .object([
            ("ID", .string(id)),
            ("CreatedAt", .string(created?.rfc3339 ?? "")),
            ("CreatedSince", .string(created.map { HumanUnits.since($0) } ?? "N/A")),
            ("CreatedBy", .string(noTrunc ? line.createdBy : HumanUnits.ellipsis(line.createdBy, width: 45))),
            ("Size", .string(HumanUnits.size(UInt64(max(0, line.size))))),
            ("Comment", .string(line.comment)),
        ])
    }
}
