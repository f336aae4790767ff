import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// The container's first process, from the clone to execve: walks the plan, step by step.
///
/// Single-threaded, and it owns nothing but what it inherited: every host path was opened by the parent. `_exit` only.
struct ContainerInit: ~Copyable {
    /// What ps shows until execve.
    static let processName = "coffer:[INIT]"

    let plan: LaunchPlan
    var prepared: PreparedLaunch
    var channel: FileDescriptor

    /// A procfs of the container's own pid namespace, detached, of which nobody else knows (rule R5).
    var procfs = RootDirectory(.none)
    /// This process's own status, opened before Landlock, which covers no detached mount; it is read when all is set.
    var status = FileDescriptor.none
    /// The root while it is being built.
    var root = RootDirectory(.none)
    /// Where layers and the root are staged, opened before the identity changes.
    var stage = FileDescriptor.none
    var terminal = FileDescriptor.none
    var identity = ResolvedIdentity(uid: 0, gid: 0, additionalGroups: [], home: nil, umask: nil)
    /// The working directory could not be entered as root of the container and is tried again as the user.
    var pendingDirectory: String?
    var executable: String?
    /// Limits that this process itself would run into: set when only the filter and execve are left.
    var pendingLimits: [(name: String, number: Int32, soft: UInt64, hard: UInt64)] = []
    var results: [InitMessage.ReportedResult] = []
    var isFurtherProcess = false

    init(plan: LaunchPlan, prepared: PreparedLaunch, channel: consuming FileDescriptor) {
        self.plan = plan
        self.prepared = prepared
        self.channel = channel
    }

    /// Never returns: the payload runs, or the failure is reported and the process ends.
    consuming func run() -> Never { run { (process: inout ContainerInit) throws in try process.walk() } }

    /// As `run`, in a container that runs already: the namespaces are joined, the root is `/`.
    consuming func runJoined() -> Never { run { (process: inout ContainerInit) throws in try process.walkJoined() } }

    private consuming func run(_ body: (inout ContainerInit) throws -> Void) -> Never {
        DebugLog.speak(through: channel)
        do {
            try body(&self)
            fatalExit(127)
        } catch {
            let failure =
                (error as? LaunchFailure)
                ?? LaunchFailure(step: "", call: "", errno: 0, subject: "", message: "\(error)")
            report(failure)
            // 126: found but not executable; 127: not found. A payload that the filter keeps from reporting ends so too.
            fatalExit(failure.errno == ENOENT ? 127 : failure.step == LaunchStep.Kind.execute.rawValue ? 126 : 125)
        }
    }

    private func report(_ failure: LaunchFailure) {
        do {
            let bytes = try InitMessage.failed(failure).encoded()
            // write, not send: every filter allows it.
            try channel.writeAll(bytes)
        } catch {
            // The parent is gone: nobody is left to be told.
        }
    }

    private func fatalExit(_ code: Int32) -> Never { _exit(code) }

    private mutating func walk() throws {
        try performing(.namespaces, "starting") {
            // Nothing above the standard streams may reach the payload (rule R3, CVE-2024-21626).
            try LinuxKernel.closeDescriptors(from: 3, onExecOnly: true)
            try Credentials.setProcessName(Self.processName)
            cl_umask(0o022)
        }
        try leaveSession()
        try wait(for: .proceed)
        try enterGroups()
        try joinNamespaces()
        DebugLog.note("nsexec container setup: \(plan.newNamespaces.joined(separator: ", ")) made, \(prepared.joined.map(\.kind.rawValue)) joined")
        DebugLog.note("child process in init(): number \(getpid())")
        try walkSteps()
    }

    private mutating func walkSteps() throws {
        for (index, step) in plan.steps.enumerated() where step.kind >= .mountNamespace {
            if Self.lastSteps.contains(step.kind) { try signalReady() }
            if step.kind == .systemCallFilter || step.kind == .execute { try setPendingLimits() }
            do {
                try perform(step, index)
                DebugLog.note("\(step.kind.rawValue): \(step)")
            } catch let failure as LaunchFailure where plan.preferred.contains(step.kind) {
                results.append(.init(step: index, result: .unavailable(failure.message)))
            }
        }
    }

    /// Only the end of a plan: what confines the process, then execve.
    private mutating func walkJoined() throws {
        isFurtherProcess = true
        try performing(.namespaces, "starting") {
            try LinuxKernel.closeDescriptors(from: 3, onExecOnly: true)
            try Credentials.setProcessName("coffer:[EXEC]")
        }
        if let (target, kinds) = prepared.entered { try NamespaceJoining.join(target, kinds) }
        try leaveSession()
        try wait(for: .proceed)
        try enterGroups()
        try performing(.namespaces, "entering the container's root") {
            if prepared.sharedRoot >= 0 {
                let top = prepared.sharedRoot
                try retrying("fchdir") { fchdir(top) }
                try Mounts.changeRootToWorkingDirectory()
            }
            root = RootDirectory(try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY))
            let proc = try root.openWithoutLinks("/proc", RootDirectory.pathOnly | O_DIRECTORY)
            let raw = proc.rawValue
            guard cl_filesystem_magic(raw) == 0x9fa0 else {  // rule R5: a payload with SYS_ADMIN can mount over /proc
                throw LaunchFailure(.namespaces, "/proc of the container is not a procfs: refusing to enter")
            }
            procfs = RootDirectory(proc)
            try openStatus()
        }
        if prepared.becomesRoot { try Credentials.assume(user: 0, group: 0, additionalGroups: []) }
        if plan.terminal {
            try performing(.console, "making the terminal") {
                let pair = try Terminal.open(in: root, size: plan.terminalSize, plainNewlines: prepared.plainNewlines)
                try channel.sendMessage(try InitMessage.console.encoded(), with: pair.master)
                terminal = pair.takeSlave()
            }
        }
        try resolveIdentity()
        root = RootDirectory(.none)
        DebugLog.note("nsexec container setup: the container's namespaces and root are entered")
        DebugLog.note("child process in init(): number \(getpid())")
        try walkSteps()
    }

    /// Only a container's first process has a state that would say what its steps came to.
    private var reportedResults: [InitMessage.ReportedResult] { isFurtherProcess ? [] : results }

    /// Out of the caller's session, whose terminal a descriptor that the payload inherits could otherwise type into (TIOCSTI, CVE-2017-5226).
    private func leaveSession() throws {
        try performing(.namespaces, "a session of its own") { try retrying("setsid") { setsid() } }
    }

    /// What is only done when the payload is to start.
    private static let lastSteps: Set<LaunchStep.Kind> = [.startHooks, .systemCallFilter, .execute]
    private var readySent = false

    /// Tells the parent once that only the filter and execve are left, and waits for its word, or for the word of `start`.
    private mutating func signalReady() throws {
        if readySent { return }
        readySent = true
        executable = try resolveExecutable()
        try awaitNetwork()
        // From here on this process may stay for long, with this program's file as its own (CVE-2019-5736).
        try Credentials.setDumpable(false)
        try channel.sendMessage(try InitMessage.ready(reportedResults).encoded())
        guard let message = try channel.receiveMessage(limit: 16), let command = message.bytes.first.flatMap(LaunchCommand.init(rawValue:)),
            message.bytes.count == 1
        else { throw LaunchFailure(.namespaces, "the runtime ended before the container was started") }
        switch command {
        case .execute: return
        case .hold:
            DebugLog.note("init: closing the pipe to signal completion: waiting for start")
            DebugLog.fallSilent()
            try awaitStart()
        case .proceed: throw InitMessageError.unexpected
        }
    }

    /// `create` is over; whoever connects next and says so starts the payload, and hears how that went. The socket's directory is closed
    /// to everybody but the container's owner, who has another number here, so that the peer's cannot be compared.
    private mutating func awaitStart() throws {
        channel = .none
        let listener = FileDescriptor(owning: prepared.startListener)
        prepared.startListener = -1
        // As first process of its namespace it would not hear of these otherwise (pid_namespaces(7)); `execute` puts them back.
        for number in [SIGTERM, SIGINT, SIGHUP] { signal(number) { number in _exit(128 + number) } }
        // This may take days: nothing stays open that is not needed for the rest.
        try closeDescriptors(but: [listener.rawValue, procfs.descriptor.rawValue, status.rawValue] + prepared.preservedDescriptors)
        while true {
            let peer = try UnixSocket.accept(listener)
            // A `start` that was killed before it said anything has started nothing.
            if let message = try peer.receiveMessage(limit: 16), message.bytes == [LaunchCommand.execute.rawValue] {
                channel = peer
                DebugLog.speak(through: channel)
                return
            }
        }
    }

    /// Those that a value of this process owns must be among `kept`.
    private mutating func closeDescriptors(but kept: [Int32]) throws {
        terminal = .none  // the standard streams are it by now
        prepared.closeDescriptors()
        var first: UInt32 = 3
        for number in Set(kept).filter({ $0 > 2 }).map(UInt32.init).sorted() {
            if number > first { try closeRange(first, number - 1) }
            first = number + 1
        }
        try closeRange(first, UInt32.max)
    }

    private func closeRange(_ first: UInt32, _ last: UInt32) throws(KernelError) {
        try retrying("close_range") { cl_close_range(first, last, 0) }
    }

    private func awaitRuntimeHooks() throws {
        try channel.sendMessage(try InitMessage.mounted.encoded())
        try wait(for: .proceed)
    }

    /// Blocks until the parent says this word.
    borrowing func wait(for command: LaunchCommand) throws {
        guard let message = try channel.receiveMessage(limit: 16), message.bytes == [command.rawValue] else {
            throw LaunchFailure(.namespaces, "the runtime ended before the container was started")
        }
    }

    private func enterGroups() throws {
        if let mask = prepared.initialProcessors {
            try setProcessors(mask)
            DebugLog.note("nsexec on its way into the groups: affinity: \(Self.text(mask))")
        }
        for file in prepared.taskFiles {
            let written = retryWrite(file, "0")
            if written != 1 { throw LaunchFailure(.controlGroup, doing: "entering the control group", KernelError.last("write", "tasks")) }
        }
        // What the runtime was bound to is its own affair (taskset(1), a service's CPUAffinity=): the groups bound the container.
        if let mask = prepared.finalProcessors ?? (prepared.initialProcessors == nil ? Self.everyProcessor : nil) { try setProcessors(mask) }
        // After the groups are entered, so that they are its root; without groups of its own, it hides which ones it shares.
        if plan.newNamespaces.contains("cgroup") {
            try performing(.namespaces, "new control group namespace") { try Namespaces.unshare([.cgroup]) }
        }
    }

    /// More than any kernel is built for (CONFIG_NR_CPUS).
    private static let everyProcessor = [UInt64](repeating: .max, count: 8192 / 64)

    /// One number, as a kernel's mask is written.
    private static func text(_ mask: [UInt64]) -> String {
        let digits = mask.reversed().map(hexadecimal).joined().drop { $0 == "0" }
        return "0x" + (digits.isEmpty ? "0" : digits)
    }

    private func setProcessors(_ mask: [UInt64]) throws {
        try performing(.controlGroup, "setting the CPU affinity") { try retrying("sched_setaffinity") { cl_sched_setaffinity(mask, mask.count * 8) } }
    }

    private func retryWrite(_ file: Int32, _ text: String) -> Int {
        while true {
            let count = text.withCString { write(file, $0, text.utf8.count) }
            if count >= 0 || errno != EINTR { return count }
        }
    }

    private func joinNamespaces() throws {
        for (kind, file) in prepared.joined where !plan.joinsBeforeFork || kind == .mount {
            try performing(.namespaces, "joining the \(kind.rawValue) namespace") {
                try retrying("setns", kind.rawValue) { cl_setns(file, Int32(truncatingIfNeeded: Int64(kind.cloneFlag))) }
            }
        }
    }

    private mutating func perform(_ step: LaunchStep, _ index: Int) throws {
        switch step {
        case .mountNamespace: try enterMountNamespace()
        case .hostname(let name, let domain): try setNames(name, domain)
        case .loopback: try performing(.loopback, "bringing the loopback interface up") { try NetlinkRoute.bringUp("lo") }
        case .egressRules(let network): try closeHost(network)
        case .systemControl(let key, let value): try setSystemControl(key, value)
        case .resourceLimit(let name, let soft, let hard): try setResourceLimit(name, soft, hard, index)
        case .oomScore(let value): try setOutOfMemoryScore(value, index)
        case .root(let source): try makeRoot(source, index)
        case .mount(let mount): try makeMount(mount, index)
        case .device(let device): try makeDevice(device, index)
        case .console: try makeConsole()
        case .readOnlyPath(let path): try makeReadOnly(path)
        case .mask(let path): try makeMask(path)
        case .timeOffsets(let offsets): try setClocks(offsets)
        case .runtimeHooks: try awaitRuntimeHooks()
        case .containerHooks(let hooks): try run(hooks, .createContainer, .creating)
        case .startHooks(let hooks): try run(hooks, .startContainer, .created)
        case .personality(let value): try setPersonality(value)
        case .scheduler(let parameters): try setScheduler(parameters)
        case .ioPriority(let value): try setIOPriority(value)
        case .memoryPolicy(let step): try setMemoryPolicy(step)
        case .pivot(let step): try pivot(step)
        case .nestingLimit: try limitNesting()
        case .lockedMounts(let networkInside): try lockMounts(networkInside: networkInside)
        case .keyring: try joinKeyring(index)
        case .workingDirectory(let path): try enterDirectory(path)
        case .identity(let step): try assumeIdentity(step)
        case .capabilities(let sets): try setCapabilities(sets, index)
        case .noNewPrivileges: try performing(.noNewPrivileges, "no new privileges") { try Credentials.setNoNewPrivileges() }
        case .securityLabel(let label): try setLabel(label)
        case .landlock(let policy): try restrict(policy, index)
        case .verification:
            try verify()
            status = .none
        case .systemCallFilter: try loadFilter()
        case .execute(_, let environment): try execute(environment)
        case .namespaces, .identityMaps, .controlGroup, .networkDevice, .network, .layers: break  // the parent's
        }
    }
}

/// Who the payload will be, with names resolved.
struct ResolvedIdentity: Sendable, Equatable {
    var uid: UInt32
    var gid: UInt32
    var additionalGroups: [UInt32]
    /// Home directory by /etc/passwd, or nil.
    var home: String?
    var umask: UInt32?
}
