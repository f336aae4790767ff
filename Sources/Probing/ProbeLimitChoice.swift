import Confinement
import OCISpec
import Probe

/// Which limits a twin is driven against, and what is known of the others without trying.
public struct ProbeLimitChoice: Sendable {
    /// What the probes are told.
    public private(set) var figures = ProbeLimits()
    /// Probes that are not tried, by id.
    public private(set) var reasons: [String: Reason] = [:]

    /// Why a probe is not tried.
    public enum Reason: Sendable, Equatable {
        /// The target has no such limit, which is a finding.
        case unlimited(String)
        /// The target has no such limit, as nearly nobody has.
        case open(String)
        /// What it needs was not arranged.
        case notArranged(String)

        /// The result in the place of an attempt.
        public func result(_ row: ProbeRow, _ language: Language) -> ProbeResult {
            switch self {
            case .unlimited(let why):
                ProbeResult(
                    id: row.id, title: row.title, verdict: .reachable, control: .target, remedy: language.mending(row), detail: why)
            case .open(let why):
                ProbeResult(
                    id: row.id, title: row.title, verdict: .information, control: .target, remedy: language.mending(row), detail: why)
            case .notArranged(let why):
                ProbeResult(id: row.id, title: row.title, verdict: .notApplicable, control: .noneHere("not tried"), detail: why)
            }
        }
    }

    /// - Parameters:
    ///   - target: as it was asked for.
    ///   - twin: as it is run.
    ///   - facts: what was arranged.
    public init(_ target: Confinement, twin: Confinement, rows: [ProbeRow], facts: ProbeFacts = ProbeFacts()) {
        takeProcesses(target, twin)
        takeMemory(target, twin)
        if let bytes = Self.sharedMemory(twin) { figures.sharedMemoryBytes = min(bytes, 1 << 30) }
        if let files = twin.limits.processLimits.first(where: { $0.type == "RLIMIT_NOFILE" })?.hard, (3...(1 << 20)).contains(files) {
            figures.openFiles = Int(files)
        }
        if case .at(let quota) = twin.limits.cpuQuota, twin.limits.cpuPeriod > 0 {
            figures.processorPercent = Int(min(max(quota * 100 / twin.limits.cpuPeriod, 1), 6400))
        }
        if case .rotated = twin.logs { figures.logBytes = TwinConfinement.flood }
        let request = ProbeRequest(facts: facts, limits: figures)
        for row in rows where reasons[row.id] == nil {
            for fact in row.needs where !request.carries(fact) {
                if let why = Self.why(fact) { reasons[row.id] = why }
            }
        }
    }

    private mutating func takeProcesses(_ target: Confinement, _ twin: Confinement) {
        if case .at(let count) = twin.limits.pids, case .at = target.limits.pids {
            figures.processes = Int(min(max(count, 1), 4096))
        } else {
            reasons["res-processes"] = .unlimited("there is no limit on processes")
        }
    }

    private mutating func takeMemory(_ target: Confinement, _ twin: Confinement) {
        if case .at(let bytes) = twin.limits.memory, case .at = target.limits.memory {
            figures.memoryBytes = min(bytes, 1 << 30)
        } else {
            reasons["res-memory"] = .unlimited("there is no limit on memory")
        }
    }

    private static func sharedMemory(_ confinement: Confinement) -> UInt64? {
        guard let mount = confinement.mounts.last(where: { $0.destination == "/dev/shm" && $0.type == "tmpfs" }) else { return nil }
        guard let option = mount.options.last(where: { $0.hasPrefix("size=") })?.dropFirst(5) else { return nil }
        if option.hasSuffix("k") { return UInt64(option.dropLast()).map { $0 << 10 } }
        return UInt64(option)
    }

    /// Facts of the limits are here, all others are the canaries'.
    private static func why(_ fact: ProbeFact) -> Reason? {
        switch fact {
        case .diskLimit: .open("there is no limit on what is written to disk")
        case .processorLimit: .open("there is no quota of processor time, only a share")
        case .sharedMemoryLimit: .open("/dev/shm has no size of its own")
        case .fileLimit: .open("there is no limit on open files but the one of whoever started it")
        case .logLimit: .notArranged("it keeps no log that Coffer would write")
        case .metadataEndpoint: .notArranged("no metadata service is stood in for: link-local addresses of a host are nothing to try")
        case .peerEndpoint, .peerDatagramEndpoint:
            .notArranged("containers of Coffer share no network: what leads out leads to the host, whose addresses are tried")
        case .dnsName: .notArranged("no resolver is stood in for: who has a network is given one on purpose")
        case .engineName: .notArranged("the engine was not raced against: races are run together with the layers")
        case .raceDirectory: .notArranged("it was not raced: with the layers links are swapped, and copies and a false /proc elsewhere")
        case .sessionKeyring: .notArranged("whoever calls has no session keyring")
        case .processLimit, .memoryLimit: nil
        case .namespaces, .hostProcess, .hostDirectories, .abstractSocket, .loopbackEndpoint, .hostEndpoint, .callerFile: nil
        }
    }
}
