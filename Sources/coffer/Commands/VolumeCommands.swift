import ArgumentParser
import ContainerEngine
import Rendering
import StrictJSON
import TextSearch

/// `coffer volume VERB`.
struct VolumeGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume", abstract: "Work with volumes.",
        subcommands: [
            VolumeListCommand.self, VolumeCreateCommand.self, VolumeInspectCommand.self, VolumeRemoveCommand.self, VolumePruneCommand.self,
        ])
}

/// `coffer volume create`.
struct VolumeCreateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a volume.")

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "A label: NAME[=VALUE].") var label: [String] = []
    @Option(name: .shortAndLong, parsing: .unconditional, help: "There is only local.") var driver = "local"
    @Argument(help: "Its name; without one it is anonymous.") var name: String?

    func run() throws {
        if driver != "local" { throw EngineError("there is no volume driver '\(driver)'", remedy: "leave --driver out", code: .failure) }
        var labels: [String: String] = [:]
        for text in label {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            labels[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        Terminal.write(try Invocation.engine().createVolume(name, labels: labels) + "\n", to: 1)
    }
}

/// `coffer volume ls`.
struct VolumeListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List volumes.", aliases: ["list"])

    @Flag(name: .shortAndLong, help: "Show names only.") var quiet = false
    @Option(
        name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Show what passes: name=…, dangling=true, label=NAME[=VALUE].")
    var filter: [String] = []
    @Option(name: .long, parsing: .unconditional, help: "table, json, or a Go template.") var format: String?

    private static let listing = Listing(
        columns: [
            .init("Driver", "DRIVER"), .init("Name", "VOLUME NAME"), .init("Labels", "LABELS"), .init("Links", "LINKS"),
            .init("Mountpoint", "MOUNTPOINT"), .init("Scope", "SCOPE"), .init("Size", "SIZE"),
        ],
        defaultColumns: ["Driver", "Name"], rowType: "*formatter.volumeContext")

    func run() throws {
        let engine = try Invocation.engine()
        let filter = try VolumeFilter(filter)
        let volumes = try engine.database.volumes().filter(filter.accepts)
        if quiet, format == nil {
            Terminal.write(volumes.map { $0.name + "\n" }.joined(), to: 1)
            return
        }
        let rows = volumes.map { volume in
            TemplateValue.object([
                ("Driver", "local"), ("Name", .string(volume.name)),
                ("Labels", .string(volume.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ","))),
                ("Links", .string("\(volume.users.count)")), ("Mountpoint", .string(engine.root.volumeData(volume.name))),
                ("Scope", "local"), ("Size", "N/A"),
            ])
        }
        Terminal.write(try Self.listing.render(rows, format: format), to: 1)
    }
}

/// The `--filter` of `volume ls` and `volume prune`.
struct VolumeFilter {
    private var values: [String: [String]] = [:]

    init(_ filters: [String]) throws(EngineError) {
        for filter in filters {
            let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, ["name", "dangling", "label"].contains(parts[0]) else {
                throw EngineError("invalid filter '\(filter)'", remedy: "there are name=, dangling= and label=", code: .failure)
            }
            if parts[0] == "dangling", !["true", "false", "1", "0"].contains(parts[1]) {
                throw EngineError("invalid filter '\(filter)'", remedy: "write true or false", code: .failure)
            }
            values[parts[0], default: []].append(parts[1])
        }
    }

    func accepts(_ volume: VolumeRecord) -> Bool {
        values.allSatisfy { key, wanted in
            switch key {
            case "name": wanted.contains { volume.name.contains($0) }
            case "dangling": wanted.contains { ["true", "1"].contains($0) == volume.users.isEmpty }
            default: wanted.allSatisfy { Self.has($0, volume.labels) }
            }
        }
    }

    private static func has(_ label: String, _ labels: [String: String]) -> Bool {
        let parts = label.split(separator: "=", maxSplits: 1).map(String.init)
        guard let value = labels[parts[0]] else { return false }
        return parts.count == 1 || value == parts[1]
    }
}

/// `coffer volume inspect`.
struct VolumeInspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "inspect", abstract: "Show everything about volumes.")

    @Option(name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditional, help: "json, or a Go template.")
    var format: String?
    @Argument(help: "Names.") var volumes: [String] = []

    func run() throws {
        if volumes.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        let known = try engine.database.volumes()
        var documents: [TemplateValue] = []
        var failures: [EngineError] = []
        for name in volumes {
            if let volume = known.first(where: { $0.name == name }) {
                documents.append(TemplateValue(document(of: volume, engine)))
            } else {
                failures.append(EngineError("get \(name): no such volume", code: .failure))
            }
        }
        Terminal.write(try InspectOutput.render(documents, format: format), to: 1)
        try Invocation.finish(failures)
    }

    private func document(of volume: VolumeRecord, _ engine: Engine) -> JSONValue {
        var labels: JSONObject = [:]
        for (key, value) in volume.labels.sorted(by: { $0.key < $1.key }) { labels[key] = .string(value) }
        return [
            "CreatedAt": .string(Timestamp(nanoseconds: volume.created).rfc3339), "Driver": "local",
            "Labels": volume.labels.isEmpty ? nil : .object(labels), "Mountpoint": .string(engine.root.volumeData(volume.name)),
            "Name": .string(volume.name), "Options": nil, "Scope": "local",
        ]
    }
}

/// `coffer volume rm`.
struct VolumeRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove volumes that no container uses.", aliases: ["remove"])

    @Flag(name: .shortAndLong, help: "One that does not exist is no failure.") var force = false
    @Argument(help: "Names.") var volumes: [String] = []

    func run() throws {
        if volumes.isEmpty { throw UsageError.tooFewArguments(1) }
        let engine = try Invocation.engine()
        let known = Set(try engine.database.volumes().map(\.name))
        try Invocation.forEach(volumes) { name throws(EngineError) in
            if force, !known.contains(name) { return name }
            try engine.removeVolume(name)
            return name
        }
    }
}

/// `coffer volume prune`.
struct VolumePruneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "prune", abstract: "Remove anonymous volumes that no container uses.")

    @Flag(name: .shortAndLong, help: "Named volumes too.") var all = false
    @Flag(name: .shortAndLong, help: "Do not ask.") var force = false
    @Option(
        name: .long, parsing: .unconditionalSingleValue, help: "Remove only what passes: name=…, label=NAME[=VALUE].")
    var filter: [String] = []

    func run() throws {
        let filter = try VolumeFilter(filter)
        guard Pruning.isConfirmed(all ? "all unused volumes" : "all unused anonymous volumes", force: force) else { return }
        let pruned = try Invocation.engine().pruneVolumes { (all || $0.isAnonymous) && filter.accepts($0) }
        Pruning.show("Deleted Volumes", pruned.names)
        Pruning.showTotal(pruned.bytes)
    }
}
