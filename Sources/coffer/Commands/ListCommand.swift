import ArgumentParser
import ContainerEngine
import Rendering
import TextSearch

/// `coffer ps`.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent(
        "ps", abstract: "List containers.", aliases: ["ls", "list"])

    @Flag(name: .shortAndLong, help: "Show all containers, not only those that run.") var all = false
    @Flag(name: .shortAndLong, help: "Show IDs only.") var quiet = false
    @Flag(name: .shortAndLong, help: "Show the newest container, running or not.") var latest = false
    @Flag(name: .long, help: "Do not shorten.") var noTrunc = false
    @Flag(name: .shortAndLong, help: "Show how much each container wrote.") var size = false
    @Option(name: [.customShort("n", allowingJoined: true), .long], parsing: .unconditional, help: "Show so many of the newest containers.")
    var last: Int = -1
    @Option(
        name: [.customShort("f", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Show what passes: name=…, status=…, label=…, ancestor=….")
    var filter: [String] = []
    @Option(name: .long, parsing: .unconditional, help: "table, json, or a Go template.") var format: String?

    /// Working it out reads every container's bundle: only where it is shown.
    private var showsExposure: Bool { format.map { $0.contains("Exposure") || $0.contains("json") || $0 == "table" } ?? !quiet }

    func run() throws {
        let engine = try Invocation.engine()
        let filter = try ListFilter(filter)
        let bounds = try filter.bounds { try engine.container($0).record.created }
        let limit = latest ? 1 : last
        var scored = showsExposure ? try ExposureTargets(environment: Invocation.environment) { () throws(EngineError) in engine } : nil
        var rows: [ContainerListing] = []
        for container in try engine.containers() {
            guard all || limit >= 0 || filter.includesStopped || container.status.isRunning else { continue }
            if let before = bounds.before, container.record.created >= before { continue }
            if let since = bounds.since, container.record.created <= since { continue }
            var listing = ContainerListing(container)
            if let figure = scored?.figure(of: container, engine) { listing.exposure = figure }
            if size { listing.size = sizeText(of: container, engine) }
            if filter.accepts(container, listing) { rows.append(listing) }
            if limit > 0, rows.count == limit { break }
        }
        if quiet, format == nil {
            Terminal.write(rows.map { (noTrunc ? $0.id : HumanUnits.shortID($0.id)) + "\n" }.joined(), to: 1)
            return
        }
        let values = rows.map { $0.row(truncated: !noTrunc) }
        let shown = size ? ContainerListing.listingWithSize : ContainerListing.listing
        Terminal.write(try shown.render(values, format: format), to: 1)
    }

    private func sizeText(of container: Engine.Container, _ engine: Engine) -> String {
        do {
            return HumanUnits.size(UInt64(max(0, try engine.writableSize(of: container))), precision: 4)
        } catch {
            Invocation.warn("\(error)")
            return "N/A"
        }
    }
}
