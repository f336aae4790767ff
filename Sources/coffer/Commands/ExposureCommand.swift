import ArgumentParser
import ContainerEngine
import Exposure
import Rendering

extension ReportFormat: ExpressibleByArgument {}

/// `coffer exposure`.
struct ExposureCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exposure", abstract: "Say with a number how exposed something is, why, and what mends it.",
        usage: "coffer exposure [OPTIONS] TARGET...",
        discussion: """
            TARGET is one of
              NAME                    a container or an image of coffer's; without any TARGET, all its containers
              docker:NAME, docker:all a running Docker's containers, asked through its socket
              podman:NAME, podman:all Podman's containers
              pid:N                   a process that runs
              x.service               a systemd unit, by name or file
              FILE                    docker or podman inspect output, compose.yaml, Kubernetes YAML, config.json, a Dockerfile,
                                      what systemctl show prints; - is standard input
              DIRECTORY               an OCI bundle
            """)

    @Option(name: .long, parsing: .unconditional, help: "table, json, sarif or html.") var format: ReportFormat = .table
    @Option(name: .long, parsing: .unconditional, help: "End with 1 when a target is above N (0.0 to 10.0).") var max: Double?
    @Flag(name: .long, help: "Show the score of well-known defaults, as Markdown.") var defaults = false
    @Flag(name: .long, help: "Show every factor, its weight and the reason, as Markdown.") var factors = false
    @Argument(help: "What to score.") var targets: [String] = []

    func run() throws {
        if let max, !(0...10).contains(max) { throw UsageError.message("--max \(max) is not between 0.0 and 10.0") }
        if defaults || factors {
            if !targets.isEmpty { throw UsageError.message("--defaults and --factors take no target") }
            Terminal.write(factors ? KnownDefaults.factors() : try KnownDefaults.markdown(), to: 1)
            return
        }
        var scored = try ExposureTargets(environment: Invocation.environment) { () throws(EngineError) in try Invocation.engine() }
        var reports: [ExposureReport] = []
        var failures: [EngineError] = []
        for target in targets {
            do throws(EngineError) {
                reports += try scored.reports(target)
            } catch {
                failures.append(error)
            }
        }
        if targets.isEmpty { reports = try scored.ownReports() }
        // What was found is shown, and the rest is an error.
        if !reports.isEmpty || format != .table { Terminal.write(format.render(reports, version: cofferVersion), to: 1) }
        try Invocation.finish(failures)
        guard let max else { return }
        let above = reports.filter { Double($0.worstTenths) / 10 > max }
        for report in above { Invocation.tell(["\(report.target) is at \(Double(report.worstTenths) / 10), above \(max)"]) }
        if !above.isEmpty { throw ContainedExit(code: 1) }
    }
}
