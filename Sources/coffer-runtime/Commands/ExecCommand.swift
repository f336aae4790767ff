import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// `exec [--process FILE] [-t] [-d] [-u USER] [-e K=V] [--cwd DIR] ID [PROGRAM …]`, or the engine's form with `--state FILE`.
enum ExecCommand {
    private static let table: [String: Bool] = [
        "process": true, "tty": false, "detach": false, "user": true, "env": true, "cwd": true, "pid-file": true, "state": true,
        "interactive": false, "user-spec": true, "console-socket": true, "preserve-fds": true, "cap": true, "apparmor": true,
        "process-label": true, "no-new-privs": false, "additional-gids": true, "pidfd-socket": true, "ignore-paused": false, "no-subreaper": false,
        "cgroup": true, "env-fd": true,
    ]
    private static let aliases = [
        "p": "process", "t": "tty", "d": "detach", "u": "user", "e": "env", "i": "interactive", "c": "cap", "g": "additional-gids",
    ]

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, table, aliases: aliases, stopsAtOperand: true)
        if let path = options.value("state") { return try runForEngine(path, options) }
        do {
            return try run(options, global)
        } catch {
            RuntimeLog.report(error)
            return ExitCode.failedExec
        }
    }

    private static func run(_ options: ParsedOptions, _ global: GlobalOptions) throws -> Int32 {
        let directory = try global.container(options)
        let record = try directory.load()
        let status = try directory.status(of: record)
        if status == .paused, !options.isSet("ignore-paused") {
            throw PlanError("cannot exec in a paused container (use --ignore-paused to override)")
        }
        // A container of nobody has no namespaces to enter.
        guard [.running, .paused, .created].contains(status) else { throw PlanError("cannot exec in a \(status.rawValue) container") }
        let (spec, ext) = try directory.configuration(record, part: .furtherProcess)
        let descriptors = try PreservedDescriptors.take(options.value("preserve-fds"))
        try ProgramSeal.apply(for: spec, keeping: descriptors.all + processDescriptor(options))
        let process = try process(options, spec)
        if status == .created { try checkCreated(record.state.pid, process) }
        var session = ExecSession(
            state: record.state, spec: spec, ext: ext, process: process, userSpec: nil, detach: options.isSet("detach"),
            interactive: true, filterCache: try FilterCache.directory(global), pidFile: options.value("pid-file"))
        session.inheritsStreams = true
        session.consoleSocket = try options.value("console-socket").map(BundleCommand.absolute)
        session.pidfdSocket = try options.value("pidfd-socket").map(BundleCommand.absolute)
        session.subgroups = options.values["cgroup"] ?? []
        (session.preservedDescriptors, session.socketActivation) = descriptors
        session.containerState = RuntimeContainerState(
            ociVersion: record.ociVersion, id: record.id, status: status, pid: record.state.pid, bundle: record.bundle,
            annotations: spec.annotations)
        if session.detach, session.process.terminal ?? false, session.consoleSocket == nil {
            throw PlanError("a detached process with a terminal needs --console-socket")
        }
        return try session.run()
    }

    /// Until `start` the first process is still this program, on its way to fewer rights than it has (CVE-2016-9962). It is not dumpable: whoever
    /// cannot trace everybody can neither look into it nor at its files.
    private static func checkCreated(_ pid: Int32, _ process: RuntimeSpec.Process) throws {
        guard !process.mayTrace else {
            throw PlanError("cannot exec in a created container with CAP_SYS_PTRACE: its first process is still the runtime; start it first")
        }
        // Closed to an ordinary user as well, whose own process it is.
        guard access("/proc/\(pid)/ns/mnt", F_OK) == 0 || errno != EACCES else {
            throw PlanError("cannot exec in a created container as an ordinary user: its first process is still the runtime; start it first")
        }
    }

    /// The engine's form: the monitor keeps the state, and streams go through pipes. The process is the container's own, with another program and
    /// what the options say; its further variables come through a descriptor, since arguments are for everybody to see.
    private static func runForEngine(_ path: String, _ options: ParsedOptions) throws -> Int32 {
        let state = try StrictJSONDecoder().decode(RuntimeState.self, from: try readFile(path))
        let bundle = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        let filters = access(bundle + "/../../cache", W_OK) == 0 ? bundle + "/../../cache" : nil
        let (spec, ext) = try Bundle.read(directory: bundle, part: .furtherProcess)
        let variables = try descriptor(options.value("env-fd"))
        try ProgramSeal.apply(for: spec, keeping: variables.map { [$0] } ?? [])
        var process = try ownProcess(options, spec)
        if options.isSet("tty") {
            process.terminal = true
            process.consoleSize = TerminalWindow.size(of: 0).map { .init(height: $0.rows, width: $0.columns) }
            process.env = (process.env ?? []) + ["TERM=xterm"]
        }
        if let variables {
            let bytes = try FileDescriptor(owning: variables).readAll(limit: 4 << 20)
            process.env = (process.env ?? []) + bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }  // the last one counts
        }
        if let directory = options.value("cwd") { process.cwd = directory }
        if let user = options.value("user-spec") { process.forUser(user, bounding: process.capabilities?.bounding ?? []) }
        let session = ExecSession(
            state: state, spec: spec, ext: ext, process: process, userSpec: options.value("user-spec") ?? ext?.userSpec,
            detach: options.isSet("detach"), interactive: options.isSet("interactive"), filterCache: filters,
            pidFile: options.value("pid-file"))
        return try session.run()
    }

    private static func descriptor(_ text: String?) throws -> Int32? {
        guard let text else { return nil }
        guard let number = Int32(text), number > 2 else { throw OptionError("--env-fd \(text) is no descriptor above 2") }
        return number
    }

    /// The container's process with the program of the command line.
    private static func ownProcess(_ options: ParsedOptions, _ spec: RuntimeSpec) throws -> RuntimeSpec.Process {
        guard var process = spec.process else { throw OptionError("config.json has no process") }
        let program = options.value("state") == nil ? options.operands.dropFirst() : options.operands[...]
        if program.isEmpty { throw OptionError("exec needs a program") }
        process.args = Array(program)
        process.terminal = false
        return process
    }

    /// `--process` as a number is a descriptor that the caller has handed down.
    private static func processDescriptor(_ options: ParsedOptions) -> [Int32] {
        guard let source = options.value("process") else { return [] }
        // A shell's <(…) is a descriptor too, and its name leads nowhere once this program has sealed itself.
        let directory = "/dev/fd/"
        let number = Int32(source.hasPrefix(directory) ? source.dropFirst(directory.count) : source[...])
        return number.map { $0 > 2 ? [$0] : [] } ?? []
    }

    private static func process(_ options: ParsedOptions, _ spec: RuntimeSpec) throws -> RuntimeSpec.Process {
        var process: RuntimeSpec.Process
        if let source = options.value("process") {
            let bytes: [UInt8]
            if let descriptor = processDescriptor(options).first {
                bytes = try FileDescriptor(owning: descriptor).readAll(limit: 4 << 20)
            } else {
                bytes = try readFile(source, limit: 4 << 20)
            }
            process = try Bundle.decode(RuntimeSpec.Process.self, from: bytes, called: "--process")
        } else {
            process = try ownProcess(options, spec)
        }
        if options.isSet("tty") { process.terminal = true }
        process.env = (process.env ?? []) + (options.values["env"] ?? [])  // the last one counts
        if let cwd = options.value("cwd") { process.cwd = cwd }
        if let profile = options.value("apparmor") { process.apparmorProfile = profile }
        if let label = options.value("process-label") { process.selinuxLabel = label }
        if options.isSet("no-new-privs") { process.noNewPrivileges = true }
        try setIdentity(&process, options)
        return process
    }

    private static func setIdentity(_ process: inout RuntimeSpec.Process, _ options: ParsedOptions) throws {
        if let user = options.value("user") {
            // Digits alone: UInt32 takes a sign, and a prefix that is a number is not one (CVE-2026-30892).
            let parts = user.split(separator: ":", omittingEmptySubsequences: false).map { $0.allSatisfy(\.isNumber) ? UInt32($0) : nil }
            guard let uid = parts.first ?? nil, parts.count < 3, !parts.contains(nil) else {
                throw OptionError("--user \(user) is not UID[:GID]")
            }
            process.user = RuntimeSpec.User(uid: uid, gid: (parts.count > 1 ? parts[1] : nil) ?? process.user?.gid ?? 0)
        }
        for text in options.values["additional-gids"] ?? [] {
            guard let group = UInt32(text) else { throw OptionError("--additional-gids \(text) is not a number") }
            var user = process.user ?? RuntimeSpec.User()
            user.additionalGids = (user.additionalGids ?? []) + [group]
            process.user = user
        }
        for name in options.values["cap"] ?? [] {
            let full = name.uppercased().hasPrefix("CAP_") ? name.uppercased() : "CAP_" + name.uppercased()
            // As in config.json: what nobody knows cannot be granted, and is a warning (`LaunchPlanner`).
            guard Capability(named: full) != nil else {
                RuntimeLog.warn("ignoring unknown capability \(full)")
                continue
            }
            var sets = process.capabilities ?? RuntimeSpec.Capabilities()
            sets.bounding = (sets.bounding ?? []) + [full]
            sets.effective = (sets.effective ?? []) + [full]
            sets.permitted = (sets.permitted ?? []) + [full]
            // Ambient needs inheritable, which a process has only where its container's configuration gives it (CVE-2022-24769).
            if sets.inheritable?.contains(full) ?? false { sets.ambient = (sets.ambient ?? []) + [full] }
            process.capabilities = sets
        }
    }
}
