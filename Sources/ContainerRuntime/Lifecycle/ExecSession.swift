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
    public var preservedDescriptors: [Int32] = []
    public var socketActivation: Int32 = 0
    /// Groups below the container's own: "PATH", or "CONTROLLER[,CONTROLLER]:PATH" each.
    public var subgroups: [String] = []
    /// The socket that a pidfd of the process goes to.
    public var pidfdSocket: String?
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
        let top = try openSharedRoot()
        guard try Processes.startTicks(of: state.pid) == state.pidStartTicks else {
            throw LaunchFailure(.namespaces, "the container is not running")
        }
        let plan = try execPlan()
        var prepared = try LaunchPreparation(plan: plan, manager: .none(reason: ""), filterCache: filterCache).prepare(standardStreams: nil)
        try openGroups(&prepared)
        prepared.initialProcessors = try processors(process.execCPUAffinity?.initial, "initial")
        prepared.finalProcessors = try processors(process.execCPUAffinity?.final, "final")
        let streams = try makeStreams(plan)
        prepared.standardStreams = streams.payload
        prepared.plainNewlines = inheritsStreams && consoleSocket == nil && isatty(1) != 1
        prepared.preservedDescriptors = preservedDescriptors
        prepared.socketActivation = socketActivation
        // Where it goes is a matter of the host: looked up before this process is in the container.
        let consoleTarget = try connectConsole()
        let pidfdTarget = try connectPidfd()
        let kinds = try joinedKinds.filter(differs)
        prepared.becomesRoot = kinds.contains(.user)
        prepared.sharedRoot = top.release()
        let pair = try SocketPair()
        let (ours, theirs) = pair.ends()
        switch try fork(target, kinds, &prepared) {
        case .child:
            close(ours)
            ContainerInit(plan: plan, prepared: prepared, channel: FileDescriptor(owning: theirs)).runJoined()
        case .parent(let child):
            close(theirs)
            prepared.closeDescriptors()
            if pidfdSocket != nil { try pidfdTarget.sendMessage(Array("pidfd".utf8), with: try child.pidfd.duplicate()) }
            return try follow(child, FileDescriptor(owning: ours), streams, consoleTarget)
        }
    }

    /// Where no mount namespace leads into the container's root: the root itself, as its first process has it.
    private func openSharedRoot() throws -> FileDescriptor {
        if (spec.linux?.namespaces ?? []).contains(where: { $0.type == .mount }) { return .none }
        return try performing(.namespaces, "the container's root") {
            try FileDescriptor.open("/proc/\(state.pid)/root", RootDirectory.pathOnly | O_DIRECTORY)
        }
    }

    private func fork(_ target: borrowing FileDescriptor, _ kinds: [NamespaceKind], _ prepared: inout PreparedLaunch) throws -> Processes.Fork {
        let mayTrace = process.mayTrace || spec.process?.mayTrace ?? true
        let isTaken = try performing(.namespaces, "entering the container") {
            try NamespaceJoining.takeProcessNamespace(of: target, kinds, mayTrace: mayTrace)
        }
        guard isTaken else { return try NamespaceJoining.fork(joining: target, kinds) }
        prepared.entered = (target.rawValue, kinds.filter { $0 != .pid })
        return try Processes.fork()
    }

    private func processors(_ text: String?, _ member: String) throws -> [UInt64]? {
        guard let text, !text.isEmpty else { return nil }
        guard let numbers = NumberList.parse(text, below: 8192) else {
            throw PlanError("process.execCPUAffinity.\(member) is \"\(text)\": expected processors such as 0-3,7")
        }
        return NumberList.words(numbers)
    }

    private func connectConsole() throws -> FileDescriptor {
        guard let consoleSocket else { return .none }
        return try performing(.console, "connecting to \(consoleSocket)") { try UnixSocket.connect(consoleSocket, .stream) }
    }

    private func connectPidfd() throws -> FileDescriptor {
        guard let pidfdSocket else { return .none }
        return try performing(.namespaces, "connecting to \(pidfdSocket)") { try UnixSocket.connect(pidfdSocket, .stream) }
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
            case .log(let sentence): DebugLog.note(sentence)
            case .egressRules, .mounted, .shift, .binds: throw InitMessageError.unexpected
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
        let own = try Namespaces.identity(kind, of: "self")
        return try own != Namespaces.identity(kind, of: "\(state.pid)")
    }

    private func openGroups(_ prepared: inout PreparedLaunch) throws {
        let below = try Subgroups(subgroups, state.cgroupPaths)
        for path in state.cgroupPaths {
            let group = path + below.suffix(of: path)
            let file = try performing(.controlGroup, "entering the container's control group") {
                // A group of v2 has no file of tasks that a process with threads could be split by.
                try openIfPresent(group + "/tasks") ?? openIfPresent(group + "/cgroup.procs")
            }
            guard let file else {
                throw LaunchFailure(
                    .controlGroup, "adding pid of the new process to cgroup: \(group)/cgroup.procs: no such file or directory", errno: ENOENT)
            }
            prepared.taskFiles.append(file)
        }
    }

    /// nil when there is no such file.
    private func openIfPresent(_ path: String) throws(KernelError) -> Int32? {
        do {
            return try FileDescriptor.open(path, O_WRONLY).release()
        } catch {
            if error.errno == ENOENT { return nil }
            throw error
        }
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
            .resourceLimit, .oomScore, .keyring, .personality, .scheduler, .ioPriority, .memoryPolicy, .workingDirectory, .identity, .capabilities,
            .noNewPrivileges,
            .securityLabel,
            .landlock, .verification, .systemCallFilter, .execute,
        ]
        let maps = whole.steps.filter { $0.kind == .identityMaps }
        return LaunchPlan(
            steps: maps + whole.steps.filter { kept.contains($0.kind) }, terminal: process.terminal ?? false,
            terminalSize: whole.terminalSize, preferred: whole.preferred.union([.resourceLimit]))
    }
}

extension RuntimeSpec.Process {
    /// Whether it may have CAP_SYS_PTRACE, with which a process that is not dumpable can be traced all the same.
    public var mayTrace: Bool {
        let sets = [
            capabilities?.bounding, capabilities?.effective, capabilities?.permitted, capabilities?.inheritable, capabilities?.ambient,
        ]
        return sets.contains { $0?.contains("CAP_SYS_PTRACE") ?? false }
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

/// What `exec --cgroup` adds to the groups' directories.
struct Subgroups {
    /// For hierarchies that no other entry names, or "".
    private var common = ""
    private var paths: [Substring: String] = [:]

    init(_ texts: [String], _ groups: [String]) throws {
        for text in texts {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let path = parts[parts.count - 1].split(separator: "/").filter { $0 != "." }
            guard !path.contains("..") else { throw PlanError("--cgroup \(text): \(parts[parts.count - 1]) is not a sub cgroup path") }
            let suffix = path.map { "/" + $0 }.joined()
            if parts.count == 1 { common = suffix }
            for controller in parts.count == 1 ? [] : parts[0].split(separator: ",") {
                guard groups.contains(where: { Self.controllers(of: $0).contains(controller) }) else {
                    throw PlanError("--cgroup \(text): unknown controller \(controller)")
                }
                paths[controller] = suffix
            }
        }
    }

    /// Names of the hierarchy that a group is in, as it is mounted below /sys/fs/cgroup.
    private static func controllers(of group: String) -> [Substring] {
        let parts = group.split(separator: "/")
        return parts.count > 3 ? parts[3].split(separator: ",") : []
    }

    func suffix(of group: String) -> String { Self.controllers(of: group).lazy.compactMap { paths[$0] }.first ?? common }
}
