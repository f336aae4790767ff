import Confinement
import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import Probe
import Probing

/// How `coffer probe` is to go about it.
public struct ProbeSettings: Sendable {
    /// Ids or beginnings of ids; empty for all.
    public var only: [String] = []
    /// Find out which layer holds what.
    public var peels = true
    /// Race against the engine, which takes a few seconds: together with the layers, or where nothing else is asked for.
    var races: Bool { peels || !only.isEmpty && only.allSatisfy { $0.hasPrefix("race") } }
    /// Twins at once.
    public var width = 3
    public init() {}
}

/// The answers of the loose controls. They depend on the machine and not on the target: several targets are tried against the same.
public final class ProbeControls {
    var answers: [String: [ProbeControl: ProbeAnswer]] = [:]
    var shortfalls: [String] = []
    var areKnown = false
    public init() {}
}

/// One run of probes over one target: its twin, the loose controls, and the twins that lack a layer.
final class ProbeRun {
    private let session: ProbeSession
    private let target: ProbeTarget
    private let table: ProbeTable
    private let rows: [ProbeRow]
    private let host: ProbeHost
    private let canaries: ProbeCanaries
    private let builder: TwinBuilder
    private let runner: TwinRunner
    private let settings: ProbeSettings
    private let controls: ProbeControls
    private var shortfalls: [String]
    private var evidence: [String: ProbeEvidence] = [:]
    /// Why limits of the control group could not be had here; "" where they could.
    private var missingLimits = ""
    /// The target as its twin has it, with canaries in place.
    private let twin: Confinement

    init(
        _ subject: ProbeSubject, _ session: ProbeSession, _ settings: ProbeSettings, _ controls: ProbeControls,
        progress: @escaping (String) -> Void
    ) throws {
        self.session = session
        self.controls = controls
        self.settings = settings
        let engine = session.engine
        table = try ProbeTable.builtIn()
        rows = table.rows.filter { row in settings.only.isEmpty || settings.only.contains { row.id.hasPrefix($0) } }
        if rows.isEmpty {
            throw EngineError("no probe is named \(settings.only.joined(separator: ", "))", remedy: "coffer probe --list shows them", code: .failure)
        }
        target = try ProbeTarget(subject, session)
        let facts = try HostFacts.current(isRootful: engine.root.isRootful, range: try session.range())
        host = ProbeHost(isRootful: engine.root.isRootful, lastCapability: facts.lastCapability, hasAppArmor: facts.appArmor != .absent)
        canaries = try ProbeCanaries(session)
        builder = TwinBuilder(session: session, canaries: canaries, source: target.source, probe: try ProbeProgram.locate())
        runner = TwinRunner(
            builder: builder, runtime: try RuntimeProgram.locate(engine.environment), width: settings.width, patience: 60_000, progress: progress)
        var made = TwinConfinement(of: target.confinement, closes: Self.networkShortfall())
        // “unconfined” is a profile as well, and a kernel without AppArmor has none.
        if !host.hasAppArmor { made.confinement.appArmor = .inherited }
        shortfalls = target.shortfalls + made.shortfalls
        var kinds: [Int: CanaryKind] = [:]
        for index in made.canaries { kinds[index] = Self.kind(of: target.confinement.mounts[index]) }
        twin = builder.replacing(kinds, in: TwinConfinement.bounded(made.confinement))
    }

    /// Without pasta there is no network that leads outward.
    private static func networkShortfall() -> String? {
        do throws(EngineError) {
            _ = try PastaProgram.locate()
            return nil
        } catch {
            return "its network leads outward, and \(error.summary): the twin's leads nowhere"
        }
    }

    /// What engines write for each container, and bind over the image's: of an image's twin it is not there yet.
    private static let generated: Set<String> = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]

    private static func kind(of mount: Mount) -> CanaryKind {
        var status = stat()
        guard mount.source.hasPrefix("/"), stat(mount.source, &status) == 0 else {
            if generated.contains(mount.destination) { return .file }
            return mount.source.hasSuffix(".sock") ? .socket : .directory
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return .directory
        case S_IFSOCK: return .socket
        default: return .file
        }
    }

    func close() throws(EngineError) { try canaries.close() }

    // MARK: The waves

    func report(name: String) throws -> ProbeReport {
        try first()
        if settings.peels { try peel() }
        if settings.races { try race() }
        var results: [ProbeResult] = []
        for row in rows { results.append(result(row)) }
        return ProbeReport(
            target: name, user: host.isRootful ? "root" : "an ordinary user",
            weaknesses: settings.only.isEmpty ? CarriedWeakness.all(of: target.confinement, in: target.language) : [], results: results,
            shortfalls: shortfalls)
    }

    private func result(_ row: ProbeRow) -> ProbeResult {
        let found = evidence[row.id] ?? ProbeEvidence(base: nil)
        var result = ProbeResult(row, found, in: target.language)
        if let why = limits.reasons[row.id], found.base == nil { result = why.result(row, target.language) }
        // The container has no such limit on this machine, as the runtime has said: that is known, and nothing that broke.
        if !missingLimits.isEmpty, row.kind == .resource, result.verdict == .reachable, limits.reasons[row.id] == nil {
            (result.verdict, result.remedy, result.detail) = (.information, "", "\(result.detail): \(missingLimits)")
        }
        return result
    }

    private lazy var limits = ProbeLimitChoice(target.confinement, twin: twin, rows: rows, facts: canaries.facts)

    /// The target's twin and, where they are not known yet, the controls.
    private func first() throws {
        let asked = rows.filter { limits.reasons[$0.id] == nil }.map(\.id)
        let loose =
            controls.areKnown
            ? [] : ControlConfinement.available(on: host).filter { control in rows.contains { Self.controls(of: $0).contains(control) } }
        let twins = loose.filter { $0 != .host }
        let orders = try [order("the twin", twin, asked)] + twins.map(controlOrder)
        let outcomes = try runner.run(orders)
        let base = answers(outcomes[0])
        if let failure = base.failure {
            if base.answers.isEmpty { throw EngineError("the twin did not run: \(failure)", code: .failure) }
            shortfalls.append("the twin did not finish: \(failure)")
        }
        for (control, outcome) in zip(twins, outcomes.dropFirst()) {
            let found = answers(outcome)
            if let failure = found.failure { controls.shortfalls.append("the control \(control.rawValue) did not run to its end: \(failure)") }
            for (id, answer) in found.answers { controls.answers[id, default: [:]][control] = answer }
        }
        if !controls.areKnown { try takeDirectControls() }
        controls.areKnown = true
        for row in rows {
            evidence[row.id] = ProbeEvidence(base: base.answers[row.id])
            evidence[row.id]?.controls = controls.answers[row.id] ?? [:]
        }
        shortfalls += controls.shortfalls
        noteUnavailable(outcomes[0].steps)
    }

    private func asked(of control: ProbeControl) -> [String] {
        rows.filter { Self.controls(of: $0).contains(control) && limits.reasons[$0.id] == nil }.map(\.id)
    }

    /// What needs the host's own namespaces, or descriptors that are left open.
    private func takeDirectControls() throws {
        for control in [ProbeControl.host, .arranged] {
            let ids = asked(of: control).filter { ControlConfinement.isDirect($0, control) }
            if ids.isEmpty { continue }
            let request = ProbeRequest(probes: ids, facts: canaries.facts, limits: limits.figures)
            let (output, _) = try DirectProbe.run(request, leavingOpen: control == .arranged ? canaries.directory : nil)
            let found = ProbeOutput.read(output)
            if !found.isComplete { controls.shortfalls.append("the control \(control.rawValue) did not run to its end") }
            for (id, answer) in found.answers { controls.answers[id, default: [:]][control] = answer }
        }
    }

    private func controlOrder(_ control: ProbeControl) throws -> TwinOrder {
        let ids = asked(of: control).filter { !ControlConfinement.isDirect($0, control) }
        var loose = try order("control \(control.rawValue)", try controlConfinement(control), ids)
        if control == .arranged || control == .arrangedPrivileged {
            loose.environment = ["DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "AWS_SECRET_ACCESS_KEY", "API_TOKEN"].map {
                $0 + "=canary"
            }
        }
        return loose
    }

    /// Where a probe may be seen to succeed: its own control, and the ones that give more.
    private static func controls(of row: ProbeRow) -> [ProbeControl] {
        switch row.control {
        case .userNamespace: [.userNamespace, .privileged]
        case .privileged: [.privileged]
        case .host: [.host]
        case .arranged: [.arranged, .arrangedPrivileged]
        case .arrangedPrivileged: [.arrangedPrivileged]
        // On other kernels it is there: whether it is here is known when even root sees nothing of it.
        case .virtualMachine: [.privileged, .userNamespace]
        }
    }

    /// What the runtime could not apply bounds nothing, and is told.
    private func noteUnavailable(_ steps: [StepOutcome]) {
        for step in steps where step.step == LaunchStep.Kind.controlGroup.rawValue {
            switch step.result {
            case .applied: break
            case .partial(let why), .unavailable(let why):
                shortfalls.append("\(step.detail): \(why)")
                missingLimits = why
            }
        }
    }

    private func race() throws {
        let ids = rows.map(\.id).filter(ProbeRace.ids.contains)
        if ids.isEmpty { return }
        let race = ProbeRace(session: session, canaries: canaries, runner: runner, twin: twin)
        for (id, result) in try race.run(ids) {
            evidence[id]?.base = result.answer
            if let control = result.control { evidence[id]?.controls[.arranged] = control }
        }
    }

    private func peel() throws {
        let held = rows.filter { row in
            guard let found = evidence[row.id], found.base?.outcome == .held else { return false }
            return found.controls.values.contains { $0.outcome == .reached || $0.outcome == .information }
        }
        var peeled: [(ProbeLayer, TwinOrder)] = []
        for layer in ProbeLayer.peelable {
            switch twin.peeling(layer, on: host) {
            case .absent: continue
            case .fixed(let why): shortfalls.append("\(layer.title): \(why); what it holds cannot be told apart")
            case .without(let confinement):
                let ids = held.filter { $0.kind == .attack || $0.kind == .information || $0.layers.contains(layer) }.map(\.id)
                if !ids.isEmpty { peeled.append((layer, try order("without \(layer.title)", confinement, ids))) }
            }
        }
        for ((layer, _), outcome) in zip(peeled, try runner.run(peeled.map(\.1))) {
            let found = answers(outcome)
            if let failure = found.failure { shortfalls.append("\(layer.title) could not be taken away: \(failure)") }
            for (id, answer) in found.answers { evidence[id]?.without[layer] = answer }
        }
        try peelToOne(held)
    }

    /// What no single layer holds is held by several: each that remains alone says whether it would do.
    private func peelToOne(_ held: [ProbeRow]) throws {
        let open = held.filter { row in
            !(evidence[row.id]?.without.values.contains { $0.outcome == .reached || $0.outcome == .information } ?? true)
                && !row.layers.contains(.limits)
        }
        if open.isEmpty { return }
        let present = ProbeLayer.peelable.filter { if case .without = twin.peeling($0, on: host) { true } else { false } }
        var alone: [(ProbeLayer?, TwinOrder)] = [(nil, try order("without any layer", twin.loosened(on: host), open.map(\.id)))]
        for layer in present {
            let ids = open.filter { $0.layers.contains(layer) }.map(\.id)
            if ids.isEmpty { continue }
            alone.append((layer, try order("\(layer.title) alone", twin.loosened(keeping: [layer], on: host), ids)))
        }
        let outcomes = try runner.run(alone.map(\.1))
        // Only where it gets through without any layer does a layer that holds it say something.
        let loose = answers(outcomes[0])
        if let failure = loose.failure { shortfalls.append("the twin without any layer did not run: \(failure)") }
        let through = loose.answers.filter { $0.value.outcome == .reached || $0.value.outcome == .information }
        for ((layer, _), outcome) in zip(alone, outcomes).dropFirst() {
            for (id, answer) in answers(outcome).answers where through[id] != nil {
                if let layer { evidence[id]?.alone[layer] = answer }
            }
        }
    }

    // MARK: Orders

    private func order(_ name: String, _ confinement: Confinement, _ ids: [String]) throws -> TwinOrder {
        var request = ProbeRequest(probes: ids, facts: canaries.facts, limits: limits.figures)
        request.secondsPerProbe = 10
        return TwinOrder(
            name: name, confinement: confinement, arguments: ["run", String(decoding: try request.encoded(), as: UTF8.self)])
    }

    private func controlConfinement(_ control: ProbeControl) throws -> Confinement {
        let made = ControlConfinement(control, host: host, range: try session.range(), devices: HostDevices.all())
        var arranged: [Mount] = []
        let bind = ["bind", "private"]
        switch control {
        case .arranged, .arrangedPrivileged:
            arranged = ControlConfinement.socketPaths.map { Mount(destination: $0, type: "bind", source: canaries.socket, options: bind) }
            arranged.append(Mount(destination: "/mnt", type: "bind", source: canaries.directory, options: ["rbind", "rshared"]))
            if control == .arrangedPrivileged { arranged += try KernelFileSystems.mounts() }
        case .host, .userNamespace, .privileged, .virtualMachine: break
        }
        return made.confinement(arranged: arranged)
    }

    /// What a twin answered, and why that is not all.
    private func answers(_ outcome: TwinOutcome) -> (answers: [String: ProbeAnswer], failure: String?) {
        var (answers, isComplete) = ProbeOutput.read(outcome.output)
        // What was kept of the flood is seen here alone; each line of it is a record with a time.
        if let flood = answers["res-log"], flood.outcome == .tried, case .rotated(let bytes, let files) = twin.logs {
            let isBounded = outcome.logged <= UInt64(bytes * files)
            answers["res-log"] = ProbeAnswer("res-log", isBounded ? .held : .reached, detail: "\(flood.detail), \(outcome.logged) were kept")
        }
        if isComplete { return (answers, nil) }
        let said = String(decoding: outcome.errors.prefix(300), as: UTF8.self).split(separator: "\n").joined(separator: " ")
        return (answers, outcome.failure ?? (said.isEmpty ? "its program ended early" : said))
    }
}

/// What `coffer-probe` writes.
enum ProbeOutput {
    /// - Returns: the answers, and whether the program came to its end.
    static func read(_ output: [UInt8]) -> (answers: [String: ProbeAnswer], isComplete: Bool) {
        var answers: [String: ProbeAnswer] = [:]
        var isComplete = false
        for line in output.split(separator: 0x0A) {
            do {
                switch try ProbeLine(decoding: Array(line)) {
                case .answer(let answer): answers[answer.id] = answer
                case .complete(let count): isComplete = count == answers.count
                }
            } catch {
                return (answers, false)
            }
        }
        return (answers, isComplete)
    }
}

/// File systems by which a kernel shows what is no container's.
enum KernelFileSystems {
    /// Those that this kernel has, and a procfs of the host's.
    static func mounts() throws(KernelError) -> [Mount] {
        var mounts = [Mount(destination: "/home", type: "bind", source: "/proc", options: ["rbind", "rslave"])]
        let known = try readFile("/proc/filesystems", limit: 1 << 16)
        let names = String(decoding: known, as: UTF8.self).split(separator: "\n").map { String($0.split(separator: "\t").last ?? "") }
        // The first one will do; debugfs and tracefs first, as what is most often given away.
        if let type = ["debugfs", "tracefs", "securityfs", "bpf"].first(where: names.contains) {
            mounts.append(Mount(destination: "/var", type: type, source: type, options: []))
        }
        return mounts
    }
}

/// Where `coffer-probe` is: installed with this program.
enum ProbeProgram {
    static func locate() throws(EngineError) -> String {
        if let program = try InstalledProgram.locate("coffer-probe") { return program }
        throw EngineError("coffer-probe is not installed beside \(try InstalledProgram.ownPath())", remedy: "install all programs of Coffer")
    }
}

extension Engine {
    /// `probe`: attacks disposable twins of a target.
    ///
    /// - Throws: `EngineError`; `ProbeInterrupted` when it was told to stop. Nothing is left behind in either case.
    public func probe(
        _ subject: ProbeSubject, _ settings: ProbeSettings, controls: ProbeControls, progress: @escaping (String) -> Void
    ) throws -> ProbeReport {
        var image = ("", "")
        if case .run(let request, let found?) = subject { image = (request.image, found.id) }
        if case .container(let container) = subject { image = (container.record.image, container.record.imageID) }
        let session = try ProbeSession(self, image: image.0, imageID: image.1, ranges: try rangePool(RunRequest(image: "")))
        let report: ProbeReport
        do {
            let run = try ProbeRun(subject, session, settings, controls, progress: progress)
            do {
                report = try run.report(name: subject.name)
            } catch {
                try run.close()
                throw error
            }
            try run.close()
        } catch {
            try session.close()
            throw error
        }
        try session.close()
        if case .container(let container) = subject, settings.only.isEmpty { try store(report, of: container) }
        return report
    }
}
