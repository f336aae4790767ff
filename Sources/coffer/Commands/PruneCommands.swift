import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Rendering

/// What the `prune` commands share: the question before, the total after.
enum Pruning {
    /// - Returns: whether the user wants it.
    static func isConfirmed(_ what: String, force: Bool) -> Bool {
        if force { return true }
        Terminal.write("WARNING! This will remove \(what).\nAre you sure you want to continue? [y/N] ", to: 2)
        return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
    }

    static func show(_ title: String, _ names: [String]) {
        if names.isEmpty { return }
        Terminal.write("\(title):\n" + names.map { HumanUnits.printable($0) + "\n" }.joined() + "\n", to: 1)
    }

    static func showTotal(_ bytes: Int64) {
        Terminal.write("Total reclaimed space: \(HumanUnits.size(UInt64(max(0, bytes)), precision: 4))\n", to: 1)
    }

    /// Removes images. - Returns: the bytes.
    static func images(all: Bool) throws -> Int64 {
        let store = try ImageCommands.store()
        let engine = try Invocation.engine()
        let pruned = try ImageCommands.told { try store.prune(all: all) { try ImageCommands.user(of: $0, engine) } }
        RemovalOutput.show(pruned.steps)
        return pruned.bytes
    }
}

/// `coffer container prune`.
struct ContainerPruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove all containers that do not run.")

    @Flag(name: .shortAndLong, help: "Do not ask.") var force = false

    func run() throws {
        guard Pruning.isConfirmed("all stopped containers", force: force) else { return }
        let pruned = try Invocation.engine().pruneContainers()
        Pruning.show("Deleted Containers", pruned.ids)
        Pruning.showTotal(pruned.bytes)
    }
}

/// `coffer image prune`.
struct ImagePruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove images that have no name and no container.")

    @Flag(name: .shortAndLong, help: "Named images too, if no container uses them.") var all = false
    @Flag(name: .shortAndLong, help: "Do not ask.") var force = false

    func run() throws {
        guard Pruning.isConfirmed(all ? "all images without a container" : "all dangling images", force: force) else { return }
        Pruning.showTotal(try Pruning.images(all: all))
    }
}

/// `coffer system VERB`.
struct SystemGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "system", abstract: "Show and free what is stored.", subcommands: [DiskUsageCommand.self, SystemPruneCommand.self])
}

/// `coffer system prune`.
struct SystemPruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove what nothing uses.")

    @Flag(name: .shortAndLong, help: "Named images too, if no container uses them.") var all = false
    @Flag(name: .long, help: "Anonymous volumes too, if no container uses them.") var volumes = false
    @Flag(name: .shortAndLong, help: "Do not ask.") var force = false

    func run() throws {
        let unused = volumes ? ["all unused anonymous volumes"] : []
        let what = ["all stopped containers"] + unused + [all ? "all unused images" : "all dangling images"]
        guard Pruning.isConfirmed(what.joined(separator: ", "), force: force) else { return }
        let engine = try Invocation.engine()
        let containers = try engine.pruneContainers()
        Pruning.show("Deleted Containers", containers.ids)
        var bytes = containers.bytes
        if volumes {
            let pruned = try engine.pruneVolumes { $0.isAnonymous }
            Pruning.show("Deleted Volumes", pruned.names)
            bytes += pruned.bytes
        }
        bytes += try Pruning.images(all: all)
        Pruning.showTotal(bytes)
    }
}

/// `coffer system df`.
struct DiskUsageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "df", abstract: "Show how much space images, containers and volumes take.")

    @Option(name: .long, parsing: .unconditional, help: "table, json, or a Go template.") var format: String?

    private static let listing = Listing(
        columns: [
            .init("Type", "TYPE"), .init("TotalCount", "TOTAL"), .init("Active", "ACTIVE"), .init("Size", "SIZE"),
            .init("Reclaimable", "RECLAIMABLE"),
        ],
        defaultColumns: ["Type", "TotalCount", "Active", "Size", "Reclaimable"], rowType: "*formatter.diskUsageContext")

    /// One kind of things: how large each is, and whether something uses it.
    private typealias Part = (bytes: Int64, isActive: Bool)

    func run() throws {
        let engine = try Invocation.engine()
        let store = try ImageCommands.store()
        let containers = try engine.containers()
        let used = Set(containers.map(\.record.imageID))
        let images: [Part] = try ImageCommands.told { try store.images().map { ($0.size, used.contains($0.id.description)) } }
        let rows = [
            row("Images", images), row("Containers", containers.map { (Self.size(of: $0, engine), $0.status.isRunning) }),
            row("Local Volumes", try engine.database.volumes().map { (engine.volumeSize($0.name) ?? 0, !$0.users.isEmpty) }),
        ]
        Terminal.write(try Self.listing.render(rows, format: format), to: 1)
    }

    private static func size(of container: Engine.Container, _ engine: Engine) -> Int64 {
        do {
            return try engine.writableSize(of: container)
        } catch {
            Invocation.warn("\(error)")
            return 0
        }
    }

    private func row(_ type: String, _ parts: [Part]) -> TemplateValue {
        let all = parts.reduce(0) { $0 + $1.bytes }
        let free = parts.reduce(0) { $0 + ($1.isActive ? 0 : $1.bytes) }
        let share = all > 0 ? " (\(free * 100 / all)%)" : ""
        return .object([
            ("Type", .string(type)), ("TotalCount", .string("\(parts.count)")), ("Active", .string("\(parts.filter(\.isActive).count)")),
            ("Size", .string(HumanUnits.size(UInt64(max(0, all)), precision: 4))),
            ("Reclaimable", .string(HumanUnits.size(UInt64(max(0, free)), precision: 4) + share)),
        ])
    }
}
