import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// The process that starts a container for its monitor, hands it over (`Handover`) and ends.
///
/// Reading a bundle and planning leave half a megabyte of heap behind, which the monitor would keep for the container's life. So
/// a fork of it does that. The payload is this process's child until it ends, and then the monitor's, which is PID 1 of both.
enum StartingProcess {
    private static let channelDescriptor: Int32 = 3

    /// The fork's whole life. Nothing of the monitor's stays open in it but its end of the channel.
    ///
    /// - Parameter monitorPid: the monitor as the host numbers it.
    static func run(bundle: String, monitorPid: Int32, channel raw: Int32) -> Never {
        do {
            try retrying("dup2") { dup2(raw, channelDescriptor) }
            try closeDescriptors(from: UInt32(channelDescriptor + 1), onExecOnly: false)
            try closeDescriptors(from: UInt32(channelDescriptor), onExecOnly: true)
            let channel = FileDescriptor(owning: channelDescriptor)
            try serve(bundle: bundle, monitorPid: monitorPid, program: try ProgramSeal.path(), channel)
            _exit(0)
        } catch {
            // The monitor is gone, or about to notice that this process is.
            _exit(125)
        }
    }

    /// Goes on in a sealed program (`ProgramSeal`).
    ///
    /// - Parameter program: the path of the runtime that was sealed.
    static func resume(bundle: String, monitorPid: Int32, program: String) -> Never {
        do {
            try closeDescriptors(from: UInt32(channelDescriptor), onExecOnly: true)
            try serve(bundle: bundle, monitorPid: monitorPid, program: program, FileDescriptor(owning: channelDescriptor))
            _exit(0)
        } catch {
            _exit(125)  // as above
        }
    }

    private static func serve(bundle: String, monitorPid: Int32, program: String, _ channel: borrowing FileDescriptor) throws {
        do {
            try start(bundle: bundle, monitorPid: monitorPid, program: program, channel)
            try Handover.complete.send(to: channel)
        } catch {
            let failure = error as? LaunchFailure ?? LaunchFailure(.namespaces, "\(error)")
            try Handover.failed.send(try AttachFrame.FromMonitor.failed(failure).encoded(), to: channel)
        }
    }

    /// Reads the bundle, which is the working directory, starts the payload and hands it over.
    private static func start(bundle: String, monitorPid: Int32, program: String, _ channel: borrowing FileDescriptor) throws {
        let (spec, ext) = try Bundle.read(directory: ".")
        let again = ["coffer-runtime", "monitor", "--bundle", bundle, "--starting-for", "\(monitorPid)", "--program", program]
        try ProgramSeal.apply(for: spec, arguments: again, keeping: [channel.rawValue])
        guard let ext else { throw LaunchFailure(.namespaces, "\(bundle) has no \(BundleExtension.fileName)") }
        let manager = try GroupManager.choose(rootless: isRootless, user: try hostUser())
        let facts = LaunchFacts(hasControlGroups: manager.countsProcesses, bundle: bundle, program: program)
        let plan = try LaunchPlanner.plan(spec, ext, facts: facts)
        if let policy = ext.log { try Handover.log.send(try ContainerLog.openFile(policy), to: channel) }
        // Before the host's addresses are read for the first time: no change in between is lost.
        if case .outbound(let network) = ext.network, network.closeHost {
            try Handover.addresses.send(try AddressSubscription().release(), to: channel)
        }
        let streams = try MonitorStreams(terminal: plan.terminal, stdinOpen: ext.stdio.stdinOpen)
        try streams.send(to: channel)
        let launcher = Launcher(plan: plan, network: ext.network, manager: manager, filterCache: filterCache(bundle))
        var container = try launcher.launch(standardStreams: streams.payload) { pid, outcomes, groupPaths, address in
            try replaceFile(
                RuntimeState.fileName,
                with: try StrictJSONEncoder().encode(try runningState(pid, monitorPid, outcomes, groupPaths, address)))
        }
        var settings = MonitorSettings(
            terminal: plan.terminal, log: ext.log, groupPaths: container.groupPaths, exitCommand: ext.exitCommand ?? [])
        settings.stdinStays = ext.stdio.stdinStays ?? false
        try Handover.settings.send(settings.document, to: channel)
        try Handover.state.send(try FileDescriptor.open(RuntimeState.fileName, O_RDONLY | O_NOFOLLOW), to: channel)
        try Handover.console.send(container.console, to: channel)
        try Handover.egressRules.send(container.egressRules, to: channel)
        try Handover.process.send(container.process.pidfd, Array("\(container.process.pid)".utf8), to: channel)
        try Handover.started.send(try AttachFrame.FromMonitor.started(pid: container.hostPid).encoded(), to: channel)
        let network = container.network
        container.network = nil
        try network?.waitUntilReady()
    }

    /// Compiled filters are shared by all containers of a state root: its `cache` directory, when the engine made one.
    private static func filterCache(_ bundle: String) -> String? {
        let directory = bundle + "/../../cache"
        return access(directory, W_OK) == 0 ? directory : nil
    }

    private static var isRootless: Bool {
        do {
            return try !IDMaps.isInitialNamespace()
        } catch {
            return true  // the smaller claim
        }
    }

    /// The user that started this monitor as the host numbers it: in the monitor's own namespace that user is root.
    private static func hostUser() throws(KernelError) -> UInt32 {
        let map = String(decoding: try readFile("/proc/self/uid_map", limit: 65536), as: UTF8.self)
        let own = geteuid()
        for line in map.split(separator: "\n") {
            let numbers = line.split(separator: " ").compactMap { UInt32($0) }
            guard numbers.count == 3, numbers[0] <= own, own - numbers[0] < numbers[2] else { continue }
            return numbers[1] + (own - numbers[0])
        }
        return own
    }

    private static func runningState(
        _ pid: Int32, _ monitorPid: Int32, _ outcomes: [StepOutcome], _ groupPaths: [String], _ address: String?
    ) throws -> RuntimeState {
        RuntimeState(
            status: .running, pid: pid, pidStartTicks: try Processes.startTicks(of: pid) ?? 0, monitorPid: monitorPid,
            monitorStartTicks: try Processes.startTicks(of: monitorPid) ?? 0, startedAt: Timestamp.nanoseconds(), finishedAt: 0,
            exitCode: 0, oomKilled: false, cgroupPaths: groupPaths, outcomes: outcomes,
            bootID: String(decoding: try readFile("/proc/sys/kernel/random/boot_id", limit: 64), as: UTF8.self)
                .filter { $0 != "\n" },
            ipAddress: address)
    }
}
