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
        discussion: "TARGET is a systemd unit (x.service, or its file).")

    @Option(name: .long, parsing: .unconditional, help: "table or json.") var format: ReportFormat = .table
    @Option(name: .long, parsing: .unconditional, help: "End with 1 when a target is above N (0.0 to 10.0).") var max: Double?
    @Argument(help: "What to score.") var targets: [String] = []

    func run() throws {
        if targets.isEmpty { throw UsageError.tooFewArguments(1) }
        if let max, !(0...10).contains(max) { throw UsageError.message("--max \(max) is not between 0.0 and 10.0") }
        var reports: [ExposureReport] = []
        var failures: [EngineError] = []
        for target in targets {
            do throws(EngineError) {
                reports += try ExposureTargets.reports(target)
            } catch {
                failures.append(error)
            }
        }
        // What was found is shown, and the rest is an error.
        if !reports.isEmpty { Terminal.write(format.render(reports), to: 1) }
        try Invocation.finish(failures)
        guard let max else { return }
        let above = reports.filter { Double($0.tenths) / 10 > max }
        for report in above { Invocation.tell(["\(report.target) is at \(report.figure), above \(max)"]) }
        if !above.isEmpty { throw ContainedExit(code: 1) }
    }
}
