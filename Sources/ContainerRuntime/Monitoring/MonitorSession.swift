import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// One container's life as its monitor sees it.
struct MonitorSession: ~Copyable {
    private let settings: MonitorSettings
    /// The payload's first process.
    private let process: ChildProcess
    private let console: FileDescriptor
    private let egressRules: FileDescriptor
    /// state.json as it was when the payload was started. A descriptor, so that its loss does not lose how the payload ended.
    private let startState: FileDescriptor
    private let startedPacket: [UInt8]
    private var server: AttachServer
    private var log: ContainerLog?
    /// The process that started the payload, while there still is one.
    private var starting: StartingConnection?
    /// What the payload writes: stdout and stderr, or the terminal; -1 when closed.
    private var output: Int32
    private var errorOutput: Int32
    /// Where stdin goes; -1 when closed.
    private var input: Int32
    private var pendingInput: [UInt8] = []
    private var closesInput = false
    private let addresses: AddressWatch?
    private let memoryEvents: MemoryEvents?
    private let footprint: MemoryFootprint

    init(
        _ payload: consuming MonitoredPayload, server: consuming AttachServer, starting: StartingConnection,
        footprint: consuming MemoryFootprint
    ) throws {
        settings = payload.settings
        startedPacket = payload.started
        let parts = payload.released()
        process = ChildProcess(pid: parts.pid, pidfd: FileDescriptor(owning: parts.pidfd))
        console = FileDescriptor(owning: parts.console)
        egressRules = FileDescriptor(owning: parts.egressRules)
        startState = FileDescriptor(owning: parts.state)
        addresses = parts.addresses >= 0 ? AddressWatch(FileDescriptor(owning: parts.addresses)) : nil
        memoryEvents = MemoryEvents(groups: settings.groupPaths)
        self.server = server
        self.starting = starting
        self.footprint = footprint
        (input, output, errorOutput) = (parts.input, parts.output, parts.errorOutput)
        log = try Self.continueLog(settings.log, FileDescriptor(owning: parts.log))
        if settings.terminal {
            output = parts.console
            input = parts.console
            try retrying("fcntl") { cl_fcntl(parts.console, F_SETFL, Int(O_RDWR | O_NONBLOCK)) }
        }
    }

    private static func continueLog(_ policy: LogPolicy?, _ file: consuming FileDescriptor) throws(KernelError) -> ContainerLog? {
        guard let policy else { return nil }
        return try ContainerLog(policy, file: file)
    }

    // MARK: the loop

    /// Serves until the payload has ended and everything about it is noted.
    mutating func run() throws {
        server.broadcast(packet: startedPacket)
        while try serveOnce() {}
        try finish()
    }

    private func watched() -> [pollfd] {
        let readable = Int16(POLLIN)
        var list = [
            pollfd(fd: process.pidfd.rawValue, events: readable, revents: 0),
            pollfd(fd: server.listenerDescriptor, events: readable, revents: 0),
            pollfd(fd: server.isCongested ? -1 : output, events: readable, revents: 0),
            pollfd(fd: server.isCongested ? -1 : errorOutput, events: readable, revents: 0),
            pollfd(fd: pendingInput.isEmpty ? -1 : input, events: Int16(POLLOUT), revents: 0),
            pollfd(fd: addresses?.subscription.pollDescriptor ?? -1, events: readable, revents: 0),
            pollfd(fd: starting?.descriptor ?? -1, events: readable, revents: 0),
            pollfd(fd: memoryEvents?.descriptor ?? -1, events: Int16(POLLPRI), revents: 0),
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
        // First of all: the group may be gone in a moment.
        if list[7].revents != 0 || list[0].revents != 0 { memoryEvents?.update() }
        if list[2].revents != 0 { try relay(.stdout) }
        if list[3].revents != 0 { try relay(.stderr) }
        if list[4].revents != 0 { writeInput() }
        if list[5].revents != 0 { try keepingClosed { session throws in try session.updateRules() } }
        if list[6].revents != 0 { try keepingClosed { session throws in try session.followStart() } }
        for (client, entry) in zip(clients, list.dropFirst(8)) where entry.revents != 0 {
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
            if !settings.terminal { close(source) }
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
                leave(client)
                return
            }
            switch try AttachFrame.FromClient(decoding: packet) {
            case .input(let bytes):
                if input >= 0 {
                    pendingInput += bytes
                    writeInput()
                }
            case .beginsInput: client.sendsInput = true
            case .endOfInput: if endsInput { endInput() }
            case .resize(let rows, let columns):
                if settings.terminal { try TerminalWindow.resize(console.rawValue, rows: rows, columns: columns) }
            }
        } catch {
            leave(client)
        }
    }

    private mutating func leave(_ client: AttachServer.Client) {
        server.remove(client)
        if client.sendsInput, endsInput { endInput() }
    }

    /// A terminal has no end, and what was started in the background with an open stdin keeps it.
    private var endsInput: Bool { !settings.terminal && !settings.stdinStays }

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
        if closesInput && !settings.terminal { endInput() }
    }

    /// The host has got or lost an address: the container's rules follow.
    private mutating func updateRules() throws {
        let changed = try addresses?.subscription.drain() ?? false
        if !changed { return }
        let rules = EgressRules(owning: try egressRules.duplicate())
        try ContainerNetwork.update(rules, try HostAddresses.current())
    }

    /// The starting process has done the rest, or could not.
    private mutating func followStart() throws {
        let failure = try starting?.lastWord()
        try starting?.end()
        starting = nil
        if let failure { throw failure }
    }

    /// A network that cannot be kept as closed as promised, or not at all, ends the container.
    private mutating func keepingClosed(_ body: (inout MonitorSession) throws -> Void) throws {
        do {
            try body(&self)
        } catch {
            let reason = (error as? LaunchFailure)?.message ?? "\(error)"
            log?.append(Array("coffer: the container was stopped: \(reason)\n".utf8), .stderr)
            try server.broadcast(.errorOutput(Array("coffer: the container was stopped: \(reason)\n".utf8)))
            try Processes.signal(process.pidfd, SIGKILL)
        }
    }

    // MARK: the end

    private mutating func finish() throws {
        // The payload is this process's child only when its first parent has gone.
        try starting?.end()
        starting = nil
        let end = try Processes.wait(for: process.pid)
        // What the payload wrote last is still in the pipes; nobody can add to it, its pid namespace is gone.
        while output >= 0, try relay(.stdout) {}
        while errorOutput >= 0, try relay(.stderr) {}
        log?.finish()
        let oomKilled = try memoryEvents?.kills ?? 0 > 0 || CgroupDirectories.oomKills(settings.groupPaths) > 0
        try CgroupDirectories.remove(settings.groupPaths)
        let state = try RuntimeState.ended(
            try startState.readAll(limit: 16 << 20), exitCode: end.exitCode, oomKilled: oomKilled, finishedAt: Timestamp.nanoseconds())
        try replaceFile(RuntimeState.fileName, with: state)
        unlink("attach.sock")
        try server.broadcast(.exited(code: end.exitCode))
        waitForClients()
        if let program = settings.exitCommand.first {
            let result = try SpawnedProcess.start(program, settings.exitCommand, descriptors: [nil, nil, nil]).wait()
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
    init(_ descriptor: consuming FileDescriptor) { subscription = AddressSubscription(owning: descriptor) }
}

/// The process that starts the payload. A class, so that there can be none.
final class StartingConnection {
    let channel: FileDescriptor
    private let process: ChildProcess

    init(_ process: consuming ChildProcess, channel: consuming FileDescriptor) {
        self.process = process
        self.channel = channel
    }

    /// Becomes readable when it has something to say, or is gone.
    var descriptor: Int32 { channel.rawValue }

    /// Waits for its last word.
    ///
    /// - Returns: what went wrong, or nil when all is well.
    func lastWord() throws -> LaunchFailure? {
        guard let packet = try Handover.receive(from: channel) else {
            return LaunchFailure(.network, "the process that was starting it died")
        }
        if packet.kind == .complete { return nil }
        guard packet.kind == .failed, case .failed(let failure) = try AttachFrame.FromMonitor(decoding: packet.body) else {
            throw InitMessageError.unexpected
        }
        return failure
    }

    /// Ends it, whatever it is doing, and reaps it: what it has started is the monitor's child from then on.
    @discardableResult
    func end() throws(KernelError) -> ProcessEnd {
        try Processes.signal(process.pidfd, SIGKILL)
        return try Processes.wait(for: process.pid)
    }
}
