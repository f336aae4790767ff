import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// A further process in a running container, as confined as the first: same namespaces, groups, capabilities, filter,
/// Landlock rules.
public struct ExecSession {
    public var state: RuntimeState
    public var spec: RuntimeSpec
    public var ext: BundleExtension?
    public var process: RuntimeSpec.Process
    /// "user[:group]", looked up in the image's own files; nil: `process.user`.
    public var userSpec: String?
    public var detach: Bool
    /// Keep stdin open; otherwise it is /dev/null.
    public var interactive: Bool
    public var filterCache: String?
    public var pidFile: String?
    /// The process gets the caller's own streams, as OCI engines expect; otherwise they are carried through pipes.
    public var inheritsStreams = false
    /// The socket that the terminal's master goes to.
    public var consoleSocket: String?
    public var preservedDescriptors: Int32 = 0
    public var socketActivation: Int32 = 0
    /// A group below the container's own: "PATH", or "CONTROLLER[,CONTROLLER]:PATH".
    public var subgroup: String?
    /// The container as its listener's agent is told of it.
    public var containerState: RuntimeContainerState?

    public init(
        state: RuntimeState, spec: RuntimeSpec, ext: BundleExtension?, process: RuntimeSpec.Process, userSpec: String?,
        detach: Bool, interactive: Bool, filterCache: String?, pidFile: String?
    ) {
        self.state = state
        self.spec = spec
        self.ext = ext
        self.process = process
        self.userSpec = userSpec
        self.detach = detach
        self.interactive = interactive
        self.filterCache = filterCache
        self.pidFile = pidFile
    }

    /// Runs the process. - Returns: its exit code, or 0 at once when detached.
    public func run() throws -> Int32 {
        guard state.status == .running else { throw LaunchFailure(.namespaces, "the container is not running") }
        // Nothing of this program may be reached from inside while it is half in (CVE-2016-9962, CVE-2019-5736).
        try Credentials.setDumpable(false)
        let target = try performing(.namespaces, "the container's first process") { try Processes.open(state.pid) }
        guard try Processes.startTicks(of: state.pid) == state.pidStartTicks else {
            throw LaunchFailure(.namespaces, "the container is not running")
        }
        let plan = try execPlan()
        var prepared = try LaunchPreparation(plan: plan, manager: .none(reason: ""), filterCache: filterCache).prepare(standardStreams: nil)
        try openGroups(&prepared)
        let streams = try makeStreams(plan)
        prepared.standardStreams = streams.payload
        prepared.preservedDescriptors = preservedDescriptors
        prepared.socketActivation = socketActivation
        // Where it goes is a matter of the host: looked up before this process is in the container.
        let consoleTarget = try connectConsole()
        let kinds = try joinedKinds.filter(differs)
        prepared.becomesRoot = kinds.contains(.user)
        let pair = try SocketPair()
        let (ours, theirs) = pair.ends()
        switch try NamespaceJoining.fork(joining: target, kinds) {
        case .child:
            close(ours)
            ContainerInit(plan: plan, prepared: prepared, channel: FileDescriptor(owning: theirs)).runJoined()
        case .parent(let child):
            close(theirs)
            prepared.closeDescriptors()
            return try follow(child, FileDescriptor(owning: ours), streams, consoleTarget)
        }
    }

    private func connectConsole() throws -> FileDescriptor {
        guard let consoleSocket else { return .none }
        return try performing(.console, "connecting to \(consoleSocket)") { try UnixSocket.connect(consoleSocket, .stream) }
    }

    private func follow(
        _ child: consuming ChildProcess, _ channel: consuming FileDescriptor, _ streams: MonitorStreams,
        _ consoleTarget: borrowing FileDescriptor
    ) throws -> Int32 {
        let console = try converse(child, channel)
        if let pidFile { try replaceFile(pidFile, with: Array("\(try Processes.procfsPid(of: child.pidfd))".utf8), mode: 0o644) }
        let terminal = process.terminal ?? false
        if terminal, consoleSocket != nil {
            try consoleTarget.sendMessage(Array("/dev/ptmx".utf8), with: FileDescriptor(owning: console))
        }
        if detach { return 0 }
        SignalForwarding.forward(to: child.pidfd.rawValue)
        if terminal ? consoleSocket != nil : inheritsStreams { return try Processes.wait(for: child.pid).exitCode }
        var relay = StreamRelay(
            input: terminal ? console : streams.ours.input, output: terminal ? console : streams.ours.output,
            errorOutput: streams.ours.errorOutput, terminal: terminal, readsInput: interactive || terminal)
        if !terminal, !interactive { relay.input = -1 }
        try relay.run(until: child.pidfd)
        return try Processes.wait(for: child.pid).exitCode
    }

    /// Leads the process to its execve. - Returns: the master of its terminal, or -1.
    private func converse(_ child: borrowing ChildProcess, _ channel: borrowing FileDescriptor) throws -> Int32 {
        var console: Int32 = -1
        var isReady = false
        try channel.sendMessage([LaunchCommand.proceed.rawValue])
        while let (bytes, descriptor) = try channel.receiveMessage(limit: InitMessage.limit) {
            switch try InitMessage(decoding: bytes) {
            case .failed(let failure):
                let end = try Processes.wait(for: child.pid)
                if case .signalled = end { throw LaunchFailure(.execute, "\(failure.message) (\(end))") }
                throw failure
            case .console: console = descriptor
            case .ready:
                isReady = true
                try channel.sendMessage([LaunchCommand.execute.rawValue])
            case .filterListener:
                let listener = FileDescriptor(owning: descriptor)
                guard let profile = spec.linux?.seccomp, var container = containerState else { throw InitMessageError.unexpected }
                container.status = .running
                try FilterListener.deliver(listener, profile, container)
                try channel.sendMessage([LaunchCommand.proceed.rawValue])
            case .egressRules, .mounted: throw InitMessageError.unexpected
            }
        }
        // The end of the stream is the execve only after that.
        guard isReady else {
            throw LaunchFailure(.execute, "the process ended before its program was started (\(try Processes.wait(for: child.pid).inWords))")
        }
        return console
    }

    private func makeStreams(_ plan: LaunchPlan) throws -> MonitorStreams {
        if inheritsStreams { return MonitorStreams.inherited }
        if detach && !plan.terminal { return try MonitorStreams.discarding() }
        let streams = try MonitorStreams(terminal: plan.terminal, stdinOpen: interactive)
        for end in [streams.ours.output, streams.ours.errorOutput] where end >= 0 {
            try retrying("fcntl") { cl_fcntl(end, F_SETFL, Int(O_RDONLY)) }
        }
        return streams
    }

    /// The namespaces of the payload. setns(2) with a pidfd takes them in the right order in one call.
    private var joinedKinds: [NamespaceKind] {
        let names = (spec.linux?.namespaces ?? []).map(\.type)
        let table: [(RuntimeSpec.Namespace.Kind, NamespaceKind)] = [
            (.user, .user), (.mount, .mount), (.pid, .pid), (.network, .network), (.ipc, .ipc), (.uts, .uts), (.cgroup, .cgroup),
            (.time, .time),
        ]
        return table.filter { names.contains($0.0) }.map(\.1)
    }

    /// Whether the payload's namespace is another one than the caller's. One that both share (the cgroup namespace of a user's
    /// container without groups) is not joined: that would need CAP_SYS_ADMIN over its owner, the host.
    private func differs(_ kind: NamespaceKind) throws(KernelError) -> Bool {
        let own = try FileDescriptor.open("/proc/self/ns/\(kind.fileName)", O_RDONLY).status()
        let other = try FileDescriptor.open("/proc/\(state.pid)/ns/\(kind.fileName)", O_RDONLY).status()
        return own.st_ino != other.st_ino || own.st_dev != other.st_dev
    }

    private func openGroups(_ prepared: inout PreparedLaunch) throws {
        for path in state.cgroupPaths {
            let group = try path + below(path)
            try performing(.controlGroup, "entering the container's control group") {
                let file = access(group + "/tasks", F_OK) == 0 ? "/tasks" : "/cgroup.procs"
                prepared.taskFiles.append(try FileDescriptor.open(group + file, O_WRONLY).release())
            }
        }
    }

    /// What `--cgroup` adds to a group's directory.
    private func below(_ group: String) throws -> String {
        guard let subgroup, !subgroup.isEmpty else { return "" }
        let parts = subgroup.split(separator: ":", maxSplits: 1).map(String.init)
        let path = parts[parts.count - 1]
        guard !path.split(separator: "/").contains("..") else { throw PlanError("--cgroup \(subgroup) leaves the container's group") }
        if parts.count > 1 {
            let controllers = parts[0].split(separator: ",")
            let hierarchy = group.split(separator: "/").contains { part in controllers.contains { part.split(separator: ",").contains($0) } }
            if !hierarchy { return "" }
        }
        return path.hasPrefix("/") ? path : "/" + path
    }

    /// The end of the container's own plan, with another program.
    private func execPlan() throws -> LaunchPlan {
        var changed = spec
        changed.process = process
        var changedExtension = ext
        changedExtension?.userSpec = userSpec
        changedExtension?.initProcess = false
        changed.hooks = nil
        let facts = LaunchFacts(hasControlGroups: true, bundle: "/")
        let whole = try LaunchPlanner.plan(changed, changedExtension, facts: facts)
        let kept: Set<LaunchStep.Kind> = [
            .resourceLimit, .oomScore, .keyring, .personality, .scheduler, .ioPriority, .workingDirectory, .identity, .capabilities, .noNewPrivileges,
            .securityLabel,
            .landlock, .verification, .systemCallFilter, .execute,
        ]
        let maps = whole.steps.filter { $0.kind == .identityMaps }
        return LaunchPlan(
            steps: maps + whole.steps.filter { kept.contains($0.kind) }, terminal: process.terminal ?? false,
            terminalSize: whole.terminalSize, preferred: whole.preferred.union([.resourceLimit]))
    }
}

extension MonitorStreams {
    /// Streams of a process whose output nobody wants.
    static func discarding() throws -> MonitorStreams {
        let null = try FileDescriptor.open("/dev/null", O_RDWR).release()
        return MonitorStreams(payload: [null, null, null], ours: (-1, -1, -1))
    }

    /// The caller's own.
    static var inherited: MonitorStreams { MonitorStreams(payload: nil, ours: (-1, -1, -1)) }

    private init(payload: [Int32]?, ours: (input: Int32, output: Int32, errorOutput: Int32)) {
        self.payload = payload
        self.ours = ours
    }
}
