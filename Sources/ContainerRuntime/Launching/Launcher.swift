import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// A payload that runs.
public struct LaunchedContainer: ~Copyable {
    public let process: ChildProcess
    /// The first process as the procfs on /proc numbers it (the host's number, also where the caller has a pid namespace).
    public let hostPid: Int32
    /// Master side of the payload's terminal, or `.none`.
    public var console: FileDescriptor
    /// Socket that keeps the egress rules current, or `.none`.
    public var egressRules: FileDescriptor
    public let groupPaths: [String]
    public let outcomes: [StepOutcome]
    /// The container's network, while it is not all up yet; nil otherwise. To be waited for.
    var network: NetworkConnection?
    /// The host's network devices that are the container's now, until nothing can fail any more; nil for none.
    var devices: NetworkDevices?

    /// What came after the launch has failed, and with it the start: the host has its devices back.
    func undoing(_ error: any Error) -> any Error { devices?.giveBack(after: error) ?? error }
}

/// Pasta on its way to being ready. A class, so that there can be none.
final class NetworkConnection {
    private var pasta: PastaProcess

    init(_ pasta: consuming PastaProcess) { self.pasta = pasta }

    /// Becomes readable when pasta is ready or has failed.
    var descriptor: Int32 { pasta.readinessDescriptor }

    /// - Throws: `LaunchFailure` with pasta's complaint as one sentence.
    func waitUntilReady() throws {
        do {
            try pasta.waitUntilReady()
        } catch {
            throw LaunchFailure(.network, error.description)
        }
    }
}

/// What an OCI engine asks for beside the plan.
public struct LaunchOptions: Sendable {
    /// Where `start` will connect: the payload is not executed before. nil: it is executed at once.
    public var startListener: Int32?
    /// Descriptors of the caller from 3 on that the payload gets.
    public var preservedDescriptors: [Int32] = []
    /// How many of them came by socket activation (LISTEN_FDS).
    public var socketActivation: Int32 = 0
    /// The payload's terminal is carried to a file or a pipe, where lines end in a newline alone.
    public var plainNewlines = false
    public var hooks: RuntimeSpec.Hooks?
    /// The caller's supplementary groups are the payload's.
    public var keepsGroups = false
    /// What hooks are told; nil where there are none.
    public var state: RuntimeContainerState?

    public init() {}
}

/// The parent's half of a launch (`LaunchStep` has the sequence).
public struct Launcher {
    public let plan: LaunchPlan
    public let network: NetworkPolicy
    /// Who makes the container's control groups.
    public let manager: GroupManager
    public let filterCache: String?
    public var options = LaunchOptions()

    public init(plan: LaunchPlan, network: NetworkPolicy, manager: GroupManager, filterCache: String?) {
        self.plan = plan
        self.network = network
        self.manager = manager
        self.filterCache = filterCache
    }

    /// Starts the payload.
    ///
    /// - Parameters:
    ///   - standardStreams: the payload's three streams, which are closed here, or nil to inherit the caller's.
    ///   - beforeExecute: runs when only execve is left; it gets the host's PID and may wait (OCI `create`) or store state.
    /// - Throws: `LaunchFailure`. Nothing is left behind then: no process, no group, no mount.
    public func launch(
        standardStreams: [Int32]?, beforeExecute: (Int32, [StepOutcome], [String], String?) throws -> Void
    ) throws -> LaunchedContainer {
        var prepared = try LaunchPreparation(plan: plan, manager: manager, filterCache: filterCache)
            .prepare(standardStreams: standardStreams)
        prepared.startListener = options.startListener ?? -1
        prepared.preservedDescriptors = options.preservedDescriptors
        prepared.socketActivation = options.socketActivation
        prepared.hookState = options.state
        prepared.plainNewlines = options.plainNewlines
        prepared.keepsGroups = options.keepsGroups
        var devices: NetworkDevices?
        do {
            devices = try NetworkDevices(plan: plan, joined: prepared.joined)
            let staging = try LayerStaging(plan: plan)
            let channel = try performing(.namespaces, "starting") { try SocketPair() }
            let (ours, theirs) = channel.ends()
            let parentEnd = FileDescriptor(owning: ours)
            let childEnd = FileDescriptor(owning: theirs)
            let joined = prepared.joined
            switch try performing(.namespaces, "new namespaces", { try fork(joined) }) {
            case .child:
                close(ours)
                devices = nil  // the host's network is none of its business
                ContainerInit(plan: plan, prepared: prepared, channel: childEnd).run()
            case .parent(let process):
                try childEnd.close()
                prepared.closeDescriptors()
                let session = LaunchSession(
                    plan: plan, network: network, options: options, prepared: prepared, staging: staging, devices: devices,
                    channel: parentEnd, process: process)
                return try session.complete(beforeExecute)
            }
        } catch {
            prepared.closeDescriptors()
            let failure = devices?.giveBack(after: error) ?? error
            try removeGroups(prepared.groupPaths, after: failure)
            throw Self.namespaceHint(failure)
        }
    }

    /// Which namespaces the clone makes. The mount namespace comes later, when layers are in place, and the control group
    /// namespace when the process is in its group.
    private var cloneKinds: [NamespaceKind] {
        plan.newNamespaces.compactMap { NamespaceKind(rawValue: $0) }.filter { $0 != .mount && $0 != .cgroup && $0 != .time }
    }

    private func fork(_ joined: [(kind: NamespaceKind, file: Int32)]) throws -> Processes.Fork {
        if !plan.joinsBeforeFork { return try Processes.fork(into: cloneKinds) }
        return try NamespaceJoining.fork(joining: joined, into: cloneKinds)
    }

    private func removeGroups(_ paths: [String], after error: any Error) throws {
        do {
            try CgroupDirectories.remove(paths)
        } catch let cleanup {
            throw LaunchFailure(.controlGroup, "\(error); and the control group could not be removed: \(cleanup)")
        }
    }

    /// A user namespace that the kernel refuses has reasons that only the host's administrator can see: named here.
    private static func namespaceHint(_ error: any Error) -> any Error {
        guard let failure = error as? LaunchFailure, failure.step == LaunchStep.Kind.namespaces.rawValue,
            failure.call == "clone3"
        else { return error }
        var explained = failure
        explained.message = "\(IDMapError.refusedNamespace(failure.errno))"
        return explained
    }
}

/// The conversation with the container's first process.
struct LaunchSession: ~Copyable {
    let plan: LaunchPlan
    let network: NetworkPolicy
    let options: LaunchOptions
    var prepared: PreparedLaunch
    let staging: LayerStaging?
    let devices: NetworkDevices?
    let channel: FileDescriptor
    let process: ChildProcess
    var console = FileDescriptor.none
    var egressRules = FileDescriptor.none
    var results: [InitMessage.ReportedResult] = []
    /// Pasta, until it is ready.
    var connection: NetworkConnection?

    init(
        plan: LaunchPlan, network: NetworkPolicy, options: LaunchOptions, prepared: PreparedLaunch, staging: LayerStaging?,
        devices: NetworkDevices?, channel: consuming FileDescriptor, process: consuming ChildProcess
    ) {
        self.plan = plan
        self.network = network
        self.options = options
        self.prepared = prepared
        self.staging = staging
        self.devices = devices
        self.channel = channel
        self.process = process
    }

    /// Walks the parent's steps, then follows the child's until its execve.
    consuming func complete(_ beforeExecute: (Int32, [StepOutcome], [String], String?) throws -> Void) throws -> LaunchedContainer {
        do {
            let hostPid = try performing(.namespaces, "starting") { try Processes.procfsPid(of: process.pidfd) }
            DebugLog.note("first process \(hostPid), control groups \(prepared.groupPaths)")
            try writeMaps(hostPid)
            try staging?.attachShifted(userNamespaceOf: hostPid)
            try prepared.shiftTrees(userNamespaceOf: hostPid)
            try joinScope(hostPid)
            try devices?.move(toProcess: hostPid)
            connection = try beginNetwork(hostPid, inside: false)
            try channel.sendMessage([LaunchCommand.proceed.rawValue])
            try follow(untilReady: true)
            staging?.detach()
            if connection == nil, let late = try beginNetwork(hostPid, inside: true) { try late.waitUntilReady() }
            let outcomes = OutcomeReport(plan: plan, prepared: prepared, results: results).outcomes
            let address = isOutbound ? prepared.hostAddresses?.containerAddresses.ipv4.description : nil
            try beforeExecute(hostPid, outcomes, prepared.groupPaths, address)
            let holds = options.startListener != nil
            try channel.sendMessage([(holds ? LaunchCommand.hold : .execute).rawValue])
            // One that is to wait has nothing more to say but in a log: the end of the stream is then that it waits.
            if !holds || DebugLog.isOn { try follow(untilReady: false) }
            return LaunchedContainer(
                process: process, hostPid: hostPid, console: console, egressRules: egressRules,
                groupPaths: prepared.groupPaths, outcomes: outcomes, network: connection, devices: devices)
        } catch {
            prepared.closeBindSources()
            try abandon()
            throw error
        }
    }

    /// Before anything of the container's runs: the process waits for `proceed`.
    private mutating func joinScope(_ hostPid: Int32) throws {
        guard let scope = prepared.scope else { return }
        do {
            let (path, shortfalls) = try scope.start(around: hostPid)
            prepared.groupPaths = [path]
            prepared.groupShortfalls = shortfalls
        } catch let failure as LaunchFailure where !scope.required {
            prepared.groupsUnavailable = failure.message
        }
    }

    private var isOutbound: Bool { if case .outbound = network { true } else { false } }

    private func writeMaps(_ pid: Int32) throws {
        for step in plan.steps {
            guard case .identityMaps(let uid, let gid) = step else { continue }
            func lines(_ maps: [RuntimeSpec.IDMapping]) -> [IDMapping] {
                maps.map { IDMapping(inside: $0.containerID, outside: $0.hostID, count: $0.size) }
            }
            do {
                try IDMaps(users: lines(uid), groups: lines(gid)).write(to: pid)
            } catch {
                throw LaunchFailure(.identityMaps, "\(error)")
            }
        }
    }

    /// Pasta sets itself up while the child makes its mounts; where the namespace belongs to the inner user namespace it
    /// exists only when the child is ready.
    private func beginNetwork(_ pid: Int32, inside: Bool) throws -> NetworkConnection? {
        guard case .outbound(let outbound) = network, let host = prepared.hostAddresses else { return nil }
        let madeInside = plan.steps.contains { $0 == .lockedMounts(networkInside: true) }
        if madeInside != inside { return nil }
        do {
            let user = try FileDescriptor.open("/proc/\(pid)/ns/user", O_RDONLY)
            let net = try FileDescriptor.open("/proc/\(pid)/ns/net", O_RDONLY)
            return NetworkConnection(
                try PastaProcess.begin(
                    network: outbound, addresses: host.containerAddresses, userNamespace: user, networkNamespace: net))
        } catch let error as PastaFailure {
            throw LaunchFailure(.network, error.description)
        } catch {
            throw LaunchFailure(.network, "the container's network namespace cannot be opened: \(error)")
        }
    }

    /// Reads the child's messages up to `ready`, or to the end of file that a successful execve is.
    private mutating func follow(untilReady: Bool) throws {
        while true {
            if untilReady { try watchNetwork() }
            let received = try performing(.namespaces, "following the start") { try channel.receiveMessage(limit: InitMessage.limit) }
            guard let (bytes, descriptor) = received else {
                if !untilReady { return }
                throw try unexpectedEnd()
            }
            let attached = FileDescriptor(owning: descriptor)
            switch try InitMessage(decoding: bytes) {
            case .failed(let failure): throw failure
            case .ready(let reported):
                guard untilReady else { throw InitMessageError.unexpected }
                results = reported
                return
            case .console:
                guard untilReady, attached.rawValue >= 0 else { throw InitMessageError.unexpected }
                console = attached
            case .mounted:
                guard untilReady else { throw InitMessageError.unexpected }
                try runHooks()
                try channel.sendMessage([LaunchCommand.proceed.rawValue])
            case .filterListener:
                guard attached.rawValue >= 0 else { throw InitMessageError.unexpected }
                var state = options.state
                state?.status = .creating
                state?.pid = try Processes.procfsPid(of: process.pidfd)
                try FilterListener.deliver(attached, plan, state)
                try channel.sendMessage([LaunchCommand.proceed.rawValue])
            case .log(let sentence): DebugLog.note(sentence)
            case .binds(let first):
                guard untilReady else { throw InitMessageError.unexpected }
                try prepared.sendBinds(plan.binds(from: first), of: plan, to: channel)
            case .shift(let step):
                guard untilReady, attached.rawValue >= 0 else { throw InitMessageError.unexpected }
                try shift(attached, step)
                try channel.sendMessage([LaunchCommand.proceed.rawValue])
            case .egressRules:
                guard untilReady, attached.rawValue >= 0 else { throw InitMessageError.unexpected }
                egressRules = attached
            }
        }
    }

    /// A tree of the container's own root, which its first process has no right to map: the file system's owner is the host.
    private func shift(_ tree: borrowing FileDescriptor, _ index: Int) throws {
        guard plan.steps.indices.contains(index), case .mount(let mount) = plan.steps[index], case .inside = mount.source,
            let mapping = mount.idMapping
        else { throw InitMessageError.unexpected }
        try performing(.mount, "ID-mapping the mount on \(mount.destination)") {
            let namespace: FileDescriptor
            switch mapping.map {
            case .container:
                namespace = try FileDescriptor.open("/proc/\(try Processes.procfsPid(of: process.pidfd))/ns/user", O_RDONLY)
            case .ranges(let users, let groups): namespace = try BindTree.namespace(users, groups)
            }
            try Mounts.mapIDs(of: tree, by: namespace, recursive: mapping.recursive)
        }
    }

    /// Why there is no word from the first process any more.
    private func unexpectedEnd() throws -> LaunchFailure {
        if try CgroupDirectories.oomKills(prepared.groupPaths) > 0 {
            return LaunchFailure(
                .controlGroup, "the memory limit is too low to start a program: the kernel's out-of-memory killer ended it", errno: ENOMEM)
        }
        return LaunchFailure(.namespaces, "the container's first process ended unexpectedly")
    }

    private func runHooks() throws {
        guard var state = options.state else { throw LaunchFailure(.runtimeHooks, "there is no state to hand to hooks") }
        state.status = .creating
        state.pid = try performing(.runtimeHooks, "the container's process") { try Processes.procfsPid(of: process.pidfd) }
        // The specification has `prestart` between create and start, `createRuntime` within create; both are run here (config.md, "Hooks").
        var created = state
        created.status = .created
        try HookRunner.run(options.hooks?.prestart ?? [], .prestart, created)
        try HookRunner.run(options.hooks?.createRuntime ?? [], .createRuntime, state)
    }

    /// Waits for the child's next message, and notices when pasta fails meanwhile: the child waits for its work then.
    private mutating func watchNetwork() throws {
        while let network = connection {
            var list = [
                pollfd(fd: channel.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: network.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            try retrying("poll") { poll(&list, 2, -1) }
            if list[1].revents != 0 {
                try network.waitUntilReady()
                connection = nil
            }
            if list[0].revents != 0 { return }
        }
    }

    /// Ends what was started: the first process, with it everything in its pid namespace.
    private func abandon() throws {
        do {
            try Processes.signal(process.pidfd, SIGKILL)
        } catch  where error.errno == ESRCH {
            // It has ended by itself.
        }
        let end = try Processes.wait(for: process.pid)
        if case .exited(0) = end { throw LaunchFailure(.execute, "the container's first process ended before it was started") }
        staging?.detach()
    }
}
