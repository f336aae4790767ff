import Confinement
import ContainerRuntime
import Glibc
import LinuxKernel
import OCISpec
import Probe

/// Probes that can only win against an engine at work: twins race for a second, while the engine starts other twins on the same directory, and
/// enters one of those that race.
struct ProbeRace {
    /// Those that are arranged.
    static let ids: Set<String> = ["race-link-swap", "race-exec"]
    /// Inside, on the container's own /dev.
    private static let place = "/dev/coffer-race"
    /// A race lasts one second less, and at least one.
    private static let seconds = 2

    let session: ProbeSession
    let canaries: ProbeCanaries
    let runner: TwinRunner
    /// The target's.
    let twin: Confinement

    /// What came of one race, and whether it can be won at all.
    struct Result {
        var answer: ProbeAnswer
        var control: ProbeAnswer?
    }

    /// What the engine did meanwhile.
    private final class Tally {
        var started = 0
        var entered = 0
        var refusal = ""
        var naiveWasLed = false
    }

    func run(_ ids: [String]) throws -> [String: Result] {
        let shared = canaries.raceDirectory
        let orders = try ids.map(order)
        let tally = Tally()
        // One at a time, beside those that race.
        let others = TwinRunner(builder: runner.builder, runtime: runner.runtime, width: 1, patience: 5_000, progress: { _ in })
        let outcomes = try runner.run(orders) { running in
            // Often enough to be met, and not so often that nothing else is started meanwhile.
            for one in running where one.isStarted && ids[one.order] == "race-exec" && tally.entered < 10 {
                for _ in 0..<3 { try enter(one, tally) }
            }
            guard running.contains(where: { $0.isStarted && ids[$0.order] == "race-link-swap" }) else { return }
            try startAnother(others, tally)
            try beNaive(shared, tally)
        }
        var results: [String: Result] = [:]
        for (id, outcome) in zip(ids, outcomes) {
            let said = ProbeOutput.read(outcome.output).answers[id]
            let answer = said ?? ProbeAnswer(id, .inconclusive, detail: outcome.failure ?? "the twin gave no answer")
            results[id] = id == "race-exec" ? try entered(answer, tally) : try swapped(answer, tally)
        }
        return results
    }

    // MARK: What races

    private func order(_ id: String) throws -> TwinOrder {
        var request = ProbeRequest(probes: [id], secondsPerProbe: Self.seconds, facts: canaries.facts)
        var confinement = twin
        if id == "race-exec" {
            request.facts.engineName = "coffer-runtime"
        } else {
            (request.facts.raceDirectory, request.facts.raceTarget) = (Self.place, canaries.racePrize)
            share(with: &confinement)
        }
        let text = String(decoding: try request.encoded(), as: UTF8.self)
        return TwinOrder(name: "a race", confinement: confinement, arguments: ["run", text])
    }

    private func share(with confinement: inout Confinement) {
        confinement.mounts.append(
            Mount(destination: Self.place, type: "bind", source: canaries.raceDirectory, options: ["bind", "private", "nosuid", "nodev"]))
        guard case .enforced(var policy) = confinement.landlock, policy.handlesFileSystem else { return }
        let access = ["read_file", "read_dir", "write_file", "make_dir", "make_reg", "make_sym", "remove_dir", "remove_file", "refer", "truncate"]
        policy.rules.append(.init(path: Self.place, access: access, optional: false))
        confinement.landlock = .enforced(policy)
    }

    // MARK: What the engine does meanwhile

    /// A container with a mount below the directory that is swapped: the engine makes the places for it.
    private func startAnother(_ others: TwinRunner, _ tally: Tally) throws {
        var confinement = twin
        share(with: &confinement)
        let below = "\(Self.place)/directory/made/here"
        confinement.mounts.append(Mount(destination: below, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "size=64k"]))
        let outcome = try others.run([TwinOrder(name: "another", confinement: confinement, arguments: ["list"])])[0]
        // A place that vanished under its hands is a reason not to start.
        if let failure = outcome.failure { tally.refusal = failure } else { tally.started += 1 }
    }

    /// What an engine does that follows links: it must be led astray, or the race proves nothing.
    private func beNaive(_ shared: String, _ tally: Tally) throws(KernelError) {
        let trap = canaries.racePrize + "/naive"
        for _ in 0..<200 where !tally.naiveWasLed {
            let path = shared + "/directory/naive"
            if mkdir(path, 0o700) != 0 && errno != EEXIST { continue }
            var status = stat()
            tally.naiveWasLed = lstat(trap, &status) == 0
            if rmdir(path) != 0 && errno != ENOENT && errno != ENOTDIR { throw .last("rmdir", path) }
        }
    }

    /// `exec` of a program that ends at once.
    private func enter(_ twin: RunningTwin, _ tally: Tally) throws(KernelError) {
        let arguments = ["coffer-runtime", "exec", "--state", twin.directory.state, "--", TwinBuilder.program, "list"]
        let child = try SpawnedProcess.start(runner.runtime, arguments)
        if try child.wait() == .exited(0) { tally.entered += 1 }
    }

    // MARK: Results

    private func swapped(_ answer: ProbeAnswer, _ tally: Tally) throws -> Result {
        var result = Result(answer: answer)
        let arrived = try DirectoryListing.names(of: canaries.racePrize).filter { $0 != "naive" }
        if tally.naiveWasLed {
            result.control = ProbeAnswer(answer.id, .reached, detail: "whoever follows links was led to a directory of the host")
        }
        if let first = arrived.first {
            result.answer = ProbeAnswer(answer.id, .reached, detail: "\(first) was made in a directory of the host")
        } else if answer.outcome == .tried, tally.started > 0 {
            let detail = "\(answer.detail), while \(tally.started) containers started: nothing was led astray"
            result.answer = ProbeAnswer(answer.id, .held, detail: detail)
        } else if answer.outcome == .tried {
            result.answer = ProbeAnswer(answer.id, .inconclusive, detail: "no container started meanwhile: \(tally.refusal)")
        }
        return result
    }

    private func entered(_ answer: ProbeAnswer, _ tally: Tally) throws -> Result {
        var result = Result(answer: answer)
        if answer.outcome == .inconclusive, tally.entered >= 3 {
            // A procfs that hides whom one may not look into shows not even that there was somebody.
            let detail = "it was entered \(tally.entered) times, and no process of the engine was to be seen"
            result.answer = ProbeAnswer(answer.id, .held, detail: detail)
        }
        // The canary closes itself to nobody: a process of that name that may be looked into is found.
        var request = ProbeRequest(probes: [answer.id], secondsPerProbe: Self.seconds)
        request.facts.engineName = "coffer"
        let (output, _) = try DirectProbe.run(request, leavingOpen: nil)
        result.control = ProbeOutput.read(output).answers[answer.id]
        return result
    }
}
