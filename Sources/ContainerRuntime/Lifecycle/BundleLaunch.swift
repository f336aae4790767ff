import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// What `create` and `run` are told.
public struct BundleOptions: Sendable {
    /// Absolute path.
    public var bundle: String
    /// File name relative to the bundle, or an absolute path.
    public var configuration = RuntimeSpec.fileName
    public var pidFile: String?
    /// The socket that the terminal's master goes to.
    public var consoleSocket: String?
    /// The socket that a pidfd of the first process goes to.
    public var pidfdSocket: String?
    public var preservedDescriptors: [Int32] = []
    public var socketActivation: Int32 = 0
    public var noPivot = false
    public var noNewKeyring = false
    public var filterCache: String?
    /// Nobody is asked for control groups.
    public var withoutGroups = false
    /// Who makes them. Absent in the specification: runc's default is the files.
    public var preference = GroupManager.Preference.cgroupfs

    public init(bundle: String) { self.bundle = bundle }
}

/// `create` and `run`: a bundle becomes a container.
public struct BundleLaunch {
    private let directory: ContainerDirectory
    private let options: BundleOptions
    private let configuration: [UInt8]
    private let spec: RuntimeSpec
    private let ext: BundleExtension?
    private let manager: GroupManager
    private let plan: LaunchPlan
    /// A service manager that waits for word. Not of a container on the caller's own terminal: that is no service.
    private let notification: ServiceNotification?

    /// Gets what does not stop a container but its caller should know, one sentence each.
    public var warn: (String) -> Void = { _ in }
    /// Gets what only the log should have.
    public var log: (String) -> Void = { _ in }

    /// Reads and checks; nothing is made yet.
    ///
    /// - Parameter requiresProcess: false for `create`, which a configuration without a program is enough for.
    public init(_ directory: ContainerDirectory, _ options: BundleOptions, requiresProcess: Bool) throws {
        self.directory = directory
        self.options = options
        configuration = try Bundle.bytes(directory: options.bundle, configuration: options.configuration)
        let isPrivileged = UserNamespaces.isInitial && geteuid() == 0
        var (spec, ext) = try Bundle.parse(configuration, directory: options.bundle, configuration: options.configuration)
        try ProgramSeal.apply(for: spec, keeping: options.preservedDescriptors)
        self.ext = ext
        // Without a group nobody can freeze, list or kill a container whole: root's always have one, as with other runtimes.
        let wanted = !options.withoutGroups && (isPrivileged || spec.linux?.cgroupsPath != nil || spec.linux?.resources != nil)
        if wanted, spec.linux == nil { spec.linux = RuntimeSpec.Linux() }
        manager =
            wanted
            ? try GroupManager.choose(options.preference, rootless: !isPrivileged, user: geteuid()) : .none(reason: "none is asked for")
        if wanted, spec.linux?.cgroupsPath?.isEmpty ?? true { spec.linux?.cgroupsPath = ContainerDirectory.ownGroup(directory.id) }
        if !wanted { spec.linux?.cgroupsPath = nil }
        let isInteractive = spec.process?.terminal ?? false && options.consoleSocket == nil
        notification = isInteractive ? nil : try ServiceNotification(directory)
        spec = notification?.adapted(spec) ?? spec
        self.spec = spec
        var facts = LaunchFacts(hasControlGroups: manager.countsProcesses, bundle: options.bundle)
        facts.requiresProcess = requiresProcess
        facts.movesRoot = options.noPivot
        facts.keepsKeyring = options.noNewKeyring
        facts.isPrivileged = isPrivileged
        (facts.user, facts.group) = (geteuid(), getegid())
        plan = try LaunchPlanner.plan(spec, ext, facts: facts)
        if isPrivileged, !plan.hasUserNamespace {
            // In a process namespace that is shared, somebody may look at the new process before it is confined (CVE-2016-9962).
            try Credentials.setDumpable(false)
        }
        if !isPrivileged, !BundleNamespace.hasRights {
            guard !plan.identityMaps.uid.isEmpty else {
                throw PlanError("an ordinary user's container needs a user namespace of its own: see `coffer-runtime spec --rootless`")
            }
            try BundleNamespace.enter(for: plan.identityMaps)
        }
    }

    /// Everything but the payload's execve.
    public func create() throws {
        if plan.terminal, options.consoleSocket == nil {
            throw PlanError("process.terminal is true: create needs --console-socket for the terminal")
        }
        try checkConsole()
        try making { try launchHeld() }
    }

    private func launchHeld() throws -> Int32 {
        let place = try directory.open()
        let listener = try UnixSocket.listen(ContainerDirectory.startSocket, in: place)
        let container = try launch(startListener: listener.rawValue)
        do {
            try hand(container.console)
            try handPidfd(container.process.pidfd)
        } catch {
            throw container.undoing(error)
        }
        return 0
    }

    /// - Returns: the payload's exit code, or 0 at once when detached.
    public func run(detach: Bool, keep: Bool) throws -> Int32 {
        if plan.terminal, detach, options.consoleSocket == nil {
            throw PlanError("process.terminal is true: a detached container needs --console-socket for the terminal")
        }
        try checkConsole()
        let code = try making { try launchAndFollow(detach: detach) }
        if !detach && !keep {
            for complaint in try ContainerDeletion(directory, try directory.load()).remove() { warn(complaint) }
        }
        return code
    }

    private func launchAndFollow(detach: Bool) throws -> Int32 {
        let notifications = try notification?.listen() ?? .none
        var container = try launch(startListener: nil)
        do {
            try handPidfd(container.process.pidfd)
            try runPoststart(container.hostPid)
            try hand(container.console)
        } catch {
            throw container.undoing(error)
        }
        // Who follows a container must not keep its network namespace: the kernel gives devices back when that ends.
        container.devices = nil
        if detach {
            try notification?.awaitReady(on: notifications, container.hostPid, container.process.pidfd)
            return 0
        }
        return try follow(container, notifications)
    }

    private func checkConsole() throws {
        if !plan.terminal, options.consoleSocket != nil { throw PlanError("--console-socket is given, but process.terminal is not true") }
    }

    /// What fails leaves nothing behind.
    @discardableResult
    private func making(_ body: () throws -> Int32) throws -> Int32 {
        for warning in plan.warnings { warn(warning) }
        for remark in plan.remarks { log(remark) }
        try directory.create()
        do {
            try directory.keep(configuration)
            try notification?.prepare()
            try directory.store(record(pid: 0, groups: [], outcomes: [], address: nil))
        } catch {
            try directory.remove()
            throw error
        }
        do {
            return try body()
        } catch {
            let record = try directory.load()
            let deletion = ContainerDeletion(directory, record)
            try deletion.end()
            for complaint in try deletion.remove() { warn(complaint) }
            throw error
        }
    }

    private func handPidfd(_ pidfd: borrowing FileDescriptor) throws {
        guard let path = options.pidfdSocket else { return }
        let copy = try pidfd.duplicate()
        try performing(.namespaces, "handing the pidfd to \(path)") {
            try UnixSocket.connect(path, .stream).sendMessage(Array("pidfd".utf8), with: copy)
        }
    }

    private func launch(startListener: Int32?) throws -> LaunchedContainer {
        var launcher = Launcher(plan: plan, network: ext?.network ?? .none, manager: manager, filterCache: options.filterCache)
        launcher.options.startListener = startListener
        launcher.options.preservedDescriptors = options.preservedDescriptors
        launcher.options.socketActivation = options.socketActivation
        launcher.options.plainNewlines = options.consoleSocket == nil && isatty(1) != 1
        launcher.options.hooks = spec.hooks
        launcher.options.keepsGroups = spec.annotations?[Annotations.keepsGroups] != nil
        launcher.options.state = state
        let mount = try mountOnHost()
        return try launcher.launch(standardStreams: nil) { pid, outcomes, groupPaths, address in
            warnOfShortfalls(outcomes)
            try directory.store(record(pid: pid, groups: groupPaths, outcomes: outcomes, address: address, mount))
            if let pidFile = options.pidFile { try replaceFile(pidFile, with: Array("\(pid)".utf8), mode: 0o644) }
        }
    }

    /// The root of a container without a mount namespace. Written down at once: whatever ends the creation, `delete` finds it.
    private func mountOnHost() throws -> HostMount? {
        guard plan.sharesMounts else { return nil }
        for step in plan.steps {
            guard case .root(.directory(let path)) = step else { continue }
            let mount = try performing(.root, "mounting the root file system") { try HostMount.make(over: path) }
            do {
                try directory.store(record(pid: 0, groups: [], outcomes: [], address: nil, mount))
            } catch {
                try mount.remove()
                throw error
            }
            return mount
        }
        throw LaunchFailure(.root, "there is no root to mount")
    }

    /// What the specification wants said and not refused (config.md, "capabilities"), and limits that the host's are below.
    private func warnOfShortfalls(_ outcomes: [StepOutcome]) {
        let spoken = [LaunchStep.Kind.capabilities, .resourceLimit].map(\.rawValue)
        for outcome in outcomes where spoken.contains(outcome.step) {
            if case .partial(let reason) = outcome.result { warn("\(outcome.detail): \(reason)") }
        }
    }

    private var state: RuntimeContainerState {
        RuntimeContainerState(
            ociVersion: spec.ociVersion, id: directory.id, status: .creating, pid: nil, bundle: options.bundle, annotations: spec.annotations)
    }

    private func hand(_ console: borrowing FileDescriptor) throws {
        guard let path = options.consoleSocket else { return }
        let master = try console.duplicate()
        try performing(.console, "handing the terminal to \(path)") {
            try UnixSocket.connect(path, .stream).sendMessage(Array("/dev/ptmx".utf8), with: master)
        }
    }

    /// One that fails ends the container (runtime-spec 1.3, "Lifecycle"; before, it was to be a warning).
    private func runPoststart(_ pid: Int32) throws {
        var running = state
        running.status = .running
        running.pid = pid
        try HookRunner.run(spec.hooks?.poststart ?? [], .poststart, running)
    }

    private func follow(_ container: borrowing LaunchedContainer, _ notifications: borrowing FileDescriptor) throws -> Int32 {
        SignalForwarding.forward(to: container.process.pidfd.rawValue)
        try notification?.relay(on: notifications, until: container.process.pidfd)
        if plan.terminal, options.consoleSocket == nil {
            let console = container.console.rawValue
            var relay = StreamRelay(input: console, output: console, errorOutput: -1, terminal: true, readsInput: true)
            try relay.run(until: container.process.pidfd)
        }
        return try Processes.wait(for: container.process.pid).exitCode
    }

    private func record(
        pid: Int32, groups: [String], outcomes: [StepOutcome], address: String?, _ mount: HostMount? = nil
    ) throws -> ContainerRecord {
        let own = getpid()
        var record = ContainerRecord(
            id: directory.id, bundle: options.bundle, created: Timestamp.now(), owner: geteuid(),
            state: RuntimeState(
                status: .running, pid: pid, pidStartTicks: pid == 0 ? 0 : try Processes.startTicks(of: pid) ?? 0, monitorPid: own,
                monitorStartTicks: try Processes.startTicks(of: own) ?? 0, startedAt: Timestamp.nanoseconds(), finishedAt: 0, exitCode: 0,
                oomKilled: false, cgroupPaths: groups, outcomes: outcomes, bootID: "", ipAddress: address),
            groupPath: spec.linux?.cgroupsPath, ociVersion: spec.ociVersion)
        record.hostMount = mount
        return record
    }
}
