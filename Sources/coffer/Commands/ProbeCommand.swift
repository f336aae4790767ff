import ArgumentParser
import ContainerEngine
import Glibc
import LinuxKernel
import Probe
import Probing
import Rendering
import StrictJSON

/// `coffer probe`.
struct ProbeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe", abstract: "Try to break out of a disposable twin, and say what held.",
        usage: "coffer probe [OPTIONS] [TARGET...]",
        discussion: """
            TARGET is one of
              NAME                    a container or an image of coffer's; an image with the flags of run
              docker:NAME, podman:NAME
              DIRECTORY               an OCI bundle
              FILE                    inspect output, compose.yaml, Kubernetes YAML, config.json
            Without any, what 'coffer run' would be with these flags, on an empty root.

            With --level compare, Coffer's levels, Docker's default, rootless Podman's default and a privileged container, side by side.
            With --host, the machine itself, as an ordinary user finds it: no twin, and nothing is changed.

            A twin has the target's confinement, a fresh writable layer and canaries for its volumes; the target itself is never touched.
            The exit code is 1 when something is reachable.
            """)

    @Option(name: .long, parsing: .unconditional, help: "table, json, html; with --list also markdown.") var format: Format = .table
    @Flag(name: .shortAndLong, help: "Show every probe, and not only what was found.") var all = false
    @Flag(name: .long, help: "Show the table of probes.") var list = false
    @Flag(name: .long, help: "Try this machine itself, as the user who calls.") var host = false
    @Flag(name: .long, help: "Do not find out which layer holds what, and race against nothing.") var noPeel = false
    @Flag(name: .shortAndLong, help: "No progress on standard error.") var quiet = false
    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Only probes whose id begins so.") var only: [String] = []
    @OptionGroup(title: "Process") var process: ProbeProcessOptions
    @OptionGroup(title: "Confinement") var confinement: ConfinementOptions
    @OptionGroup(title: "Files") var files: FileSystemOptions
    @OptionGroup(title: "Network") var network: NetworkOptions
    @OptionGroup(title: "Resources") var resources: ResourceOptions
    @Argument(help: "What to probe.") var targets: [String] = []

    enum Format: String, ExpressibleByArgument, CaseIterable { case table, json, html, markdown }

    func run() throws {
        if list { return try showTable() }
        if host { return try tryHost() }
        let engine = try Invocation.engine()
        var settings = ProbeSettings()
        settings.only = only
        settings.peels = !noPeel
        if confinement.level == "compare", format == .table { settings.peels = false }
        var reports: [ProbeReport] = []
        var failures: [EngineError] = []
        let controls = ProbeControls()
        do {
            for subject in try subjects(engine, &failures) {
                do {
                    reports.append(try engine.probe(subject, settings, controls: controls, progress: progress(subject.name)))
                } catch let error as EngineError {
                    failures.append(error)
                }
            }
        } catch let interruption as ProbeInterrupted {
            throw ContainedExit(code: 128 + interruption.signal)
        }
        try show(reports)
        try Invocation.finish(failures)
        // What others do by default is no failure of whoever asks.
        if confinement.level == "compare" { return }
        if reports.contains(where: \.isReachable) { throw ContainedExit(code: 1) }
    }

    private func subjects(_ engine: Engine, _ failures: inout [EngineError]) throws -> [ProbeSubject] {
        if confinement.level == "compare" {
            if !targets.isEmpty { throw UsageError.message("--level compare takes no target") }
            return try ProbeColumns.subjects()
        }
        let request = try self.request()
        if targets.isEmpty { return [.run(request, nil)] }
        var found: [ProbeSubject] = []
        for target in targets {
            do throws(EngineError) {
                found += try engine.probeSubjects(target, request)
            } catch {
                failures.append(error)
            }
        }
        return found
    }

    private func tryHost() throws {
        if !targets.isEmpty { throw UsageError.message("--host takes no target") }
        let report = try HostProbe.run(only: only)
        try show([report])
        if report.isReachable { throw ContainedExit(code: 1) }
    }

    private func request() throws -> RunRequest {
        var options = ContainerOptions()
        options.process = try ProcessOptions.parse([])
        options.confinement = confinement
        options.files = files
        options.network = network
        options.resources = resources
        options.imageAndCommand = ["twin"]
        var request = try options.request()
        request.image = ""
        request.user = process.user
        return request
    }

    private func progress(_ target: String) -> (String) -> Void {
        let isQuiet = quiet || !Terminal.isTerminal(2)
        return { step in
            if !isQuiet { Terminal.write("\r\u{1B}[Kprobing \(HumanUnits.printable(target)): \(step)", to: 2) }
        }
    }

    private func show(_ reports: [ProbeReport]) throws {
        if !quiet, Terminal.isTerminal(2) { Terminal.write("\r\u{1B}[K", to: 2) }
        switch format {
        case .table where confinement.level == "compare": Terminal.write(ProbeComparison(reports).text(try ProbeTable.builtIn()), to: 1)
        case .table: Terminal.write(reports.map { $0.text(all: all) }.joined(separator: "\n"), to: 1)
        case .json:
            Terminal.write(JSONWriter.pretty.text(reports.count == 1 ? reports[0].json : .array(reports.map(\.json))) + "\n", to: 1)
        case .markdown: throw UsageError.message("--format markdown is for --list")
        case .html: Terminal.write(ProbeComparison(reports).html(try ProbeTable.builtIn()), to: 1)
        }
    }

    private func showTable() throws {
        let table = try ProbeTable.builtIn()
        switch format {
        case .markdown: Terminal.write(table.markdown, to: 1)
        case .json: Terminal.write(String(decoding: try StrictJSONEncoder().encode(table.rows), as: UTF8.self) + "\n", to: 1)
        case .html: throw UsageError.message("--list has the formats table, json and markdown")
        case .table:
            var rows = [["ID", "GROUP", "TRIES TO", "HELD BY", "CONTROL"]]
            for row in table.rows {
                rows.append([row.id, row.group.rawValue, row.title, row.layers.map(\.rawValue).joined(separator: ", "), row.control.rawValue])
            }
            Terminal.write(Table.layOut(rows), to: 1)
        }
    }
}

/// Of the flags of `run` about the process, those that confine.
struct ProbeProcessOptions: ParsableArguments {
    @Option(name: [.short, .customLong("user")], parsing: .unconditional, help: "User: NAME or UID, with :GROUP or :GID.")
    var user: String?
}
