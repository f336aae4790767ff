import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// `coffer-runtime run`: a container whose parent is the caller, with the caller's own streams.
public struct DirectRun {
    public var directory: ContainerDirectory
    /// Absolute path.
    public var bundle: String
    public var configuration: String
    public var detach: Bool
    public var pidFile: String?
    public var filterCache: String?
    /// Who is to make the control groups. Absent in the specification: runc's default is the files.
    public var preference: GroupManager.Preference

    public init(
        directory: ContainerDirectory, bundle: String, configuration: String, detach: Bool, pidFile: String?, filterCache: String?,
        preference: GroupManager.Preference = .cgroupfs
    ) {
        self.preference = preference
        self.directory = directory
        self.bundle = bundle
        self.configuration = configuration
        self.detach = detach
        self.pidFile = pidFile
        self.filterCache = filterCache
    }

    /// - Returns: the payload's exit code, or 0 at once when detached.
    public func run() throws -> Int32 {
        let (spec, ext) = try Bundle.read(directory: bundle, configuration: configuration)
        try ProgramSeal.apply(for: spec)
        var manager = GroupManager.none(reason: "the configuration asks for none")
        var changed = spec
        if spec.linux?.cgroupsPath != nil || spec.linux?.resources != nil {
            manager = try GroupManager.choose(preference, rootless: geteuid() != 0, user: geteuid())
            if spec.linux?.cgroupsPath == nil { changed.linux?.cgroupsPath = "/coffer/\(directory.id)" }
        }
        let facts = LaunchFacts(hasControlGroups: manager.countsProcesses, bundle: bundle)
        let plan = try LaunchPlanner.plan(changed, ext, facts: facts)
        if plan.terminal && detach { throw PlanError("a detached container with a terminal needs --console-socket, which is not supported yet") }
        try directory.create()
        do {
            return try start(plan, ext, manager)
        } catch {
            try directory.remove()
            throw error
        }
    }

    private func start(_ plan: LaunchPlan, _ ext: BundleExtension?, _ manager: GroupManager) throws -> Int32 {
        let launcher = Launcher(plan: plan, network: ext?.network ?? .none, manager: manager, filterCache: filterCache)
        let container = try launcher.launch(standardStreams: nil) { pid, outcomes, groupPaths, address in
            try directory.store(record(pid, outcomes, groupPaths, address))
            if let pidFile { try replaceFile(pidFile, with: Array("\(pid)".utf8), mode: 0o644) }
        }
        if detach { return 0 }
        SignalForwarding.forward(to: container.process.pidfd.rawValue)
        if plan.terminal {
            let console = container.console.rawValue
            var relay = StreamRelay(input: console, output: console, errorOutput: -1, terminal: true, readsInput: true)
            try relay.run(until: container.process.pidfd)
        }
        let end = try Processes.wait(for: container.process.pid)
        try CgroupDirectories.remove(container.groupPaths)
        try directory.remove()
        return end.exitCode
    }

    private func record(_ pid: Int32, _ outcomes: [StepOutcome], _ groups: [String], _ address: String?) throws -> ContainerRecord {
        ContainerRecord(
            id: directory.id, bundle: bundle, created: Timestamp.now(),
            state: RuntimeState(
                status: .running, pid: pid, pidStartTicks: try Processes.startTicks(of: pid) ?? 0, monitorPid: 0,
                monitorStartTicks: 0, startedAt: Timestamp.nanoseconds(), finishedAt: 0, exitCode: 0, oomKilled: false,
                cgroupPaths: groups, outcomes: outcomes, bootID: "", ipAddress: address))
    }
}
