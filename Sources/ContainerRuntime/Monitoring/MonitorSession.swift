import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// One container's life as its monitor sees it.
struct MonitorSession: ~Copyable {
    private let ext: BundleExtension
    private let plan: LaunchPlan
    private var container: LaunchedContainer
    private var server: AttachServer
    private var log: ContainerLog?
    private var state: RuntimeState
    /// What the payload writes: stdout and stderr, or the terminal; -1 when closed.
    private var output: Int32
    private var errorOutput: Int32
    /// Where stdin goes; -1 when closed.
    private var input: Int32
    private var pendingInput: [UInt8] = []
    private var closesInput = false
    private let addresses: AddressWatch?
    private var footprint = MemoryFootprint()

    /// Reads the bundle, which is the working directory, and starts the payload.
    static func start(bundle: String, client: consuming FileDescriptor) throws -> MonitorSession {
        let (spec, ext) = try Bundle.read(directory: ".")
        guard let ext else { throw LaunchFailure(.namespaces, "\(bundle) has no \(BundleExtension.fileName)") }
        // An ordinary user has no groups of v1 that are his own; asking would only earn an EACCES per controller.
        let mounts = try CgroupMounts.detect()
        let groups: CgroupMounts? = isRootless ? CgroupMounts(controllers: [:], unified: mounts.unified) : mounts
        let facts = LaunchFacts(
            hasControlGroups: !(groups?.controllers.isEmpty ?? true), bundle: bundle, program: try ownProgram())
        let plan = try LaunchPlanner.plan(spec, ext, facts: facts)
        let server = try AttachServer.listen(starter: client)
        let log = try openLog(ext.log)
        // Before the host's addresses are read for the first time: no change in between is lost.
        var addresses: AddressWatch?
        if case .outbound(let network) = ext.network, network.closeHost { addresses = try AddressWatch() }
        let streams = try MonitorStreams(terminal: plan.terminal, stdinOpen: ext.stdio.stdinOpen)
        var launcher = Launcher(plan: plan, network: ext.network, groups: groups, filterCache: filterCache(bundle))
        if isRootless, mounts.mode == .v1 || mounts.mode == .hybrid {
            launcher.groupsUnavailable = "control groups v1 cannot be delegated to an ordinary user"
        } else if mounts.mode == .none {
            launcher.groupsUnavailable = "no control group hierarchy is mounted"
        }
        var started: RuntimeState?
        let container = try launcher.launch(standardStreams: streams.payload) { pid, outcomes, groupPaths, address in
            let state = try runningState(pid, outcomes, groupPaths, address)
            try store(state)
            started = state
        }
        guard let started else { throw LaunchFailure(.execute, "the payload was not started") }
        return MonitorSession(
            ext: ext, plan: plan, container: container, server: server, log: log, state: started, streams: streams,
            addresses: addresses)
    }

    private init(
        ext: BundleExtension, plan: LaunchPlan, container: consuming LaunchedContainer, server: consuming AttachServer,
        log: consuming ContainerLog?, state: RuntimeState, streams: MonitorStreams, addresses: AddressWatch?
    ) {
        self.ext = ext
        self.plan = plan
        self.server = server
        self.log = log
        self.state = state
        self.addresses = addresses
        (input, output, errorOutput) = streams.ours
        if plan.terminal {
            output = container.console.rawValue
            input = container.console.rawValue
            cl_fcntl(output, F_SETFL, Int(O_RDWR | O_NONBLOCK))
        }
        self.container = container
    }

    private static func openLog(_ policy: LogPolicy?) throws -> ContainerLog? {
        guard let policy else { return nil }
        return try ContainerLog.open(policy)
    }

    private static func ownProgram() throws(KernelError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = try retrying("readlink", "/proc/self/exe") { readlink("/proc/self/exe", &buffer, 4095) }
        return String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Compiled filters are shared by all containers of a state root: its `cache` directory, when the engine made one.
    private static func filterCache(_ bundle: String) -> String? {
        let directory = bundle + "/../../cache"
        return access(directory, W_OK) == 0 ? directory : nil
    }

    private static var isRootless: Bool {
        do {
            let map = String(decoding: try readFile("/proc/self/uid_map", limit: 4096), as: UTF8.self)
            return map.split(whereSeparator: { $0 == " " || $0 == "\n" }) != ["0", "0", "4294967295"]
        } catch {
            return true  // the smaller claim
        }
    }

    private static func runningState(_ pid: Int32, _ outcomes: [StepOutcome], _ groupPaths: [String], _ address: String?) throws -> RuntimeState {
        let own = Int32(try ownHostPid())
        return RuntimeState(
            status: .running, pid: pid, pidStartTicks: try Processes.startTicks(of: pid) ?? 0, monitorPid: own,
            monitorStartTicks: try Processes.startTicks(of: own) ?? 0, startedAt: Timestamp.nanoseconds(), finishedAt: 0,
            exitCode: 0, oomKilled: false, cgroupPaths: groupPaths, outcomes: outcomes,
            bootID: String(decoding: try readFile("/proc/sys/kernel/random/boot_id", limit: 64), as: UTF8.self)
                .filter { $0 != "\n" },
            ipAddress: address)
    }

    /// The monitor's PID as the host numbers it: /proc is the host's, so its own entry there has that name.
    private static func ownHostPid() throws -> Int {
        var buffer = [CChar](repeating: 0, count: 32)
        let length = try retrying("readlink", "/proc/self") { readlink("/proc/self", &buffer, 31) }
        return Int(String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)) ?? 0
    }

    private static func store(_ state: RuntimeState) throws {
        try replaceFile(RuntimeState.fileName, with: try StrictJSONEncoder().encode(state))
    }

    // MARK: the loop

    /// Serves until the payload has ended and everything about it is noted.
    mutating func run() throws {
        try server.broadcast(.started(pid: container.hostPid))
        try Credentials.setDumpable(false)
        footprint = MemoryFootprint()
        while try serveOnce() {}
        try finish()
    }

    private func watched() -> [pollfd] {
        let readable = Int16(POLLIN)
        var list = [
            pollfd(fd: container.process.pidfd.rawValue, events: readable, revents: 0),
            pollfd(fd: server.listenerDescriptor, events: readable, revents: 0),
            pollfd(fd: server.isCongested ? -1 : output, events: readable, revents: 0),
            pollfd(fd: server.isCongested ? -1 : errorOutput, events: readable, revents: 0),
            pollfd(fd: pendingInput.isEmpty ? -1 : input, events: Int16(POLLOUT), revents: 0),
            pollfd(fd: addresses?.subscription.pollDescriptor ?? -1, events: readable, revents: 0),
            pollfd(fd: container.network?.descriptor ?? -1, events: readable, revents: 0),
        ]
        for client in server.clients {
            let events = (pendingInput.isEmpty ? readable : 0) | (client.queue.isEmpty ? 0 : Int16(POLLOUT))
            list.append(pollfd(fd: client.descriptor.rawValue, events: events, revents: 0))
        }
        return list
    }

    /// - Returns: false when the payload has ended.
    private mutating func serveOnce() throws -> Bool {
        var list = watched()
        let clients = server.clients
        try footprint.poll(&list)
        if list[2].revents != 0 { try relay(.stdout) }
        if list[3].revents != 0 { try relay(.stderr) }
        if list[4].revents != 0 { writeInput() }
        if list[5].revents != 0 { try keepingClosed { session throws in try session.updateRules() } }
        if list[6].revents != 0 { try keepingClosed { session throws in try session.finishNetwork() } }
        for (client, entry) in zip(clients, list.dropFirst(7)) where entry.revents != 0 {
            if entry.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 { serve(client) }
        }
        server.flush()
        if list[1].revents != 0 { try server.accept() }
        return list[0].revents == 0
    }

    /// Reads once from the payload, logs it, hands it to everyone attached.
    @discardableResult
    private mutating func relay(_ stream: ContainerLog.Stream) throws -> Bool {
        let source = stream == .stdout ? output : errorOutput
        var buffer = [UInt8](repeating: 0, count: AttachFrame.limit)
        let count = read(source, &buffer, buffer.count)
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return false }
        if count <= 0 {
            // EIO is how a terminal says that nobody holds its other side any more.
            if !plan.terminal { close(source) }
            if stream == .stdout { output = -1 } else { errorOutput = -1 }
            return false
        }
        buffer.removeLast(buffer.count - count)
        log?.append(buffer, stream)
        try server.broadcast(stream == .stdout ? .output(buffer) : .errorOutput(buffer))
        return true
    }

    private mutating func serve(_ client: AttachServer.Client) {
        do {
            guard let (packet, _) = try client.descriptor.receiveMessage(limit: AttachFrame.limit + 1) else {
                server.remove(client)
                if client.isStarter && !plan.terminal { endInput() }
                return
            }
            switch try AttachFrame(fromClient: packet) {
            case .input(let bytes):
                if input >= 0 {
                    pendingInput += bytes
                    writeInput()
                }
            case .endOfInput: if !plan.terminal { endInput() }
            case .resize(let rows, let columns):
                if plan.terminal { try Terminal.resize(container.console.rawValue, rows: rows, columns: columns) }
            default: server.remove(client)
            }
        } catch {
            server.remove(client)
            if client.isStarter && !plan.terminal { endInput() }
        }
    }

    private mutating func endInput() {
        closesInput = true
        if pendingInput.isEmpty, input >= 0 {
            close(input)
            input = -1
        }
    }

    private mutating func writeInput() {
        while !pendingInput.isEmpty, input >= 0 {
            let count = pendingInput.withUnsafeBytes { write(input, $0.baseAddress, min($0.count, 4096)) }
            if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
            if count < 0 {
                pendingInput = []
                closesInput = true
                break
            }
            pendingInput.removeFirst(count)
        }
        if closesInput && !plan.terminal { endInput() }
    }

    /// The host has got or lost an address: the container's rules follow.
    private mutating func updateRules() throws {
        let changed = try addresses?.subscription.drain() ?? false
        if !changed { return }
        let rules = EgressRules(owning: try container.egressRules.duplicate())
        try ContainerNetwork.update(rules, try HostAddresses.current())
    }

    private mutating func finishNetwork() throws {
        let network = container.network
        container.network = nil
        try network?.waitUntilReady()
    }

    /// A network that cannot be kept as closed as promised, or not at all, ends the container.
    private mutating func keepingClosed(_ body: (inout MonitorSession) throws -> Void) throws {
        do {
            try body(&self)
        } catch {
            let reason = (error as? LaunchFailure)?.message ?? "\(error)"
            log?.append(Array("coffer: the container was stopped: \(reason)\n".utf8), .stderr)
            try server.broadcast(.errorOutput(Array("coffer: the container was stopped: \(reason)\n".utf8)))
            try Processes.signal(container.process.pidfd, SIGKILL)
        }
    }

    // MARK: the end

    private mutating func finish() throws {
        let end = try Processes.wait(for: container.process.pid)
        // What the payload wrote last is still in the pipes; nobody can add to it, its pid namespace is gone.
        while output >= 0, try relay(.stdout) {}
        while errorOutput >= 0, try relay(.stderr) {}
        log?.finish()
        state.oomKilled = try CgroupDirectories.oomKills(container.groupPaths) > 0
        try CgroupDirectories.remove(container.groupPaths)
        state.status = .exited
        state.exitCode = end.exitCode
        state.finishedAt = Timestamp.nanoseconds()
        try Self.store(state)
        unlink("attach.sock")
        try server.broadcast(.exited(code: end.exitCode))
        waitForClients()
        if let command = ext.exitCommand, let program = command.first {
            let process = try SpawnedProcess.start(program, command, descriptors: [nil, nil, nil])
            let result = try process.wait()
            if result != .exited(0) { throw LaunchFailure(.execute, "\(program) failed: \(result)") }
        }
    }

    /// Gives slow clients a bounded time to take what they are owed.
    private mutating func waitForClients() {
        var patience = 100
        while server.clients.contains(where: { !$0.queue.isEmpty }), patience > 0 {
            var list = server.clients.map { pollfd(fd: $0.descriptor.rawValue, events: Int16(POLLOUT), revents: 0) }
            if poll(&list, nfds_t(list.count), 100) < 0 && errno != EINTR { return }
            server.flush()
            patience -= 1
        }
    }
}

/// Changes of the host's addresses. A class, so that there can be none.
final class AddressWatch {
    let subscription: AddressSubscription
    init() throws(KernelError) { subscription = try AddressSubscription() }
}
