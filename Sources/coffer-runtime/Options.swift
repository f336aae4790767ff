import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// A command line that cannot be understood.
struct OptionError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The exit code of a launch that failed.
enum ExitCode {
    /// 127: program not found; 126: found, but not executable; 1 for everything before, as every runtime has it.
    static func of(_ failure: LaunchFailure) -> Int32 {
        guard failure.step == LaunchStep.Kind.execute.rawValue else { return 1 }
        return failure.errno == ENOENT ? 127 : 126
    }

    /// Of an `exec` that did not come to its program, whose own codes are the small ones (as runc has it).
    static let failedExec: Int32 = 255
}

/// Options and operands of one command, by a table: name → takes a value. Long options as `--name value` or `--name=value`,
/// short ones as `-n value`. Parsing ends at the first operand where `stopsAtOperand` is set, or at `--`.
struct ParsedOptions {
    private(set) var values: [String: [String]] = [:]
    private(set) var operands: [String] = []

    init(_ arguments: [String], _ table: [String: Bool], aliases: [String: String] = [:], stopsAtOperand: Bool = false) throws {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                operands += rest
                return
            }
            guard argument.hasPrefix("-"), argument.count > 1 else {
                operands.append(argument)
                if stopsAtOperand {
                    operands += rest
                    return
                }
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let bare = String(parts[0].drop { $0 == "-" })
            let name = aliases[bare] ?? bare
            guard let takesValue = table[name] else { throw OptionError("unknown option \(argument)") }
            if !takesValue {
                values[name, default: []].append(parts.count > 1 ? parts[1] : "true")
            } else if parts.count > 1 {
                values[name, default: []].append(parts[1])
            } else {
                guard let value = rest.popFirst() else { throw OptionError("option \(argument) needs a value") }
                values[name, default: []].append(value)
            }
        }
    }

    func value(_ name: String) -> String? { values[name]?.last }

    /// Refuses operands beyond the first `count`.
    func expectOperands(_ count: Int) throws {
        if operands.count > count { throw OptionError("unexpected argument \"\(operands[count])\"") }
    }
    func isSet(_ name: String) -> Bool { values[name]?.last == "true" }

    /// The one operand that names the container.
    func containerID() throws -> String {
        guard let id = operands.first, !id.isEmpty else { throw OptionError("a container ID is required") }
        return try ContainerDirectory.checked(id)
    }
}

/// Options before the command.
struct GlobalOptions {
    private let namedRoot: String?
    /// `--cgroup-manager disabled`
    var withoutGroups: Bool
    /// Who makes control groups: runc's and crun's default is the files themselves.
    var groups: GroupManager.Preference

    private static let table: [String: Bool] = [
        "root": true, "log": true, "log-format": true, "log-level": true, "systemd-cgroup": false, "cgroup-manager": true, "rootless": true,
        "debug": false, "version": false, "help": false, "criu": true,
    ]

    /// What `--log-level` may be; what is more than errors and warnings is said from "debug" on.
    private static let levels = ["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"]

    init(taking arguments: inout [String]) throws {
        let parsed = try ParsedOptions(arguments, Self.table, aliases: ["v": "version", "h": "help"], stopsAtOperand: true)
        arguments = parsed.operands
        if parsed.isSet("version") {
            print("\(Help.program) version \(RuntimeVersion.current)\ncommit: \(RuntimeVersion.commit)")
            print("spec: \(RuntimeSpec.currentVersion)\nlibseccomp: \(FilterFacts.libraryVersion)")
            exit(0)
        }
        if parsed.isSet("help") {
            print(Help.ofProgram, terminator: "")
            exit(0)
        }
        let level = parsed.value("log-level") ?? "warning"
        guard Self.levels.contains(level) else { throw OptionError("unknown log level \"\(level)\": \(Self.levels.joined(separator: ", "))") }
        try RuntimeLog.configure(file: parsed.value("log"), format: parsed.value("log-format") ?? "text")
        if parsed.isSet("debug") || ["debug", "trace"].contains(level) { DebugLog.turnOn(RuntimeLog.debug) }
        withoutGroups = parsed.value("cgroup-manager") == "disabled"
        switch (parsed.value("cgroup-manager"), parsed.isSet("systemd-cgroup")) {
        case ("systemd", _), (nil, true): groups = .systemd
        case (nil, false), ("cgroupfs", false), ("disabled", false): groups = .cgroupfs
        case ("cgroupfs", true): throw OptionError("--systemd-cgroup and --cgroup-manager cgroupfs contradict each other")
        case (let other, _): throw OptionError("unknown cgroup manager \"\(other ?? "")\": systemd, cgroupfs or disabled")
        }
        namedRoot = parsed.value("root")
    }

    /// Where the state of containers is, absolute. Asked for by those commands alone that look there: the default may have to be made.
    func root() throws -> String {
        let root = try namedRoot ?? Self.defaultRoot()
        return root.hasPrefix("/") ? root : try workingDirectory() + "/" + root
    }

    private static func defaultRoot() throws -> String {
        if geteuid() == 0, UserNamespaces.isInitial { return "/run/coffer-runtime" }
        if let directory = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), !directory.isEmpty { return directory + "/coffer-runtime" }
        return try ownTemporaryDirectory() + "/coffer-runtime"
    }

    /// A directory in /tmp, where everybody may have made it first: what lies in it is believed, processes and hooks included, so that it must be the
    /// caller's own and closed (rule R12).
    private static func ownTemporaryDirectory() throws -> String {
        let path = "/tmp/coffer-runtime-\(geteuid())"
        if mkdir(path, 0o700) != 0 && errno != EEXIST { throw KernelError.last("mkdir", path) }
        let status = try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY | O_NOFOLLOW).status()
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw OptionError("\(path) is not this user's alone: set XDG_RUNTIME_DIR, or choose another directory with --root")
        }
        return path
    }

    /// The container that a command names.
    func container(_ options: ParsedOptions) throws -> ContainerDirectory {
        ContainerDirectory(root: try root(), id: try options.containerID())
    }
}

/// Where errors go beside stderr: `--log` in the format that engines read.
enum RuntimeLog {
    nonisolated(unsafe) private static var file: String?
    nonisolated(unsafe) private static var isJSON = false

    private struct Entry: Codable {
        var level: String
        var msg: String
        var time: String
    }

    static func configure(file: String?, format: String) throws {
        guard ["text", "json"].contains(format) else { throw OptionError("unknown log format \"\(format)\": text or json") }
        self.file = file.flatMap { $0.isEmpty ? nil : $0 }
        // A log that cannot be written would lose what an engine looks for.
        if let file = self.file { try FileDescriptor.open(file, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644).close() }
        isJSON = format == "json"
    }

    /// The error that ends this program. What execve(2) said of the container's program stands for itself, as with runc.
    static func report(_ error: any Error) {
        let sentence = ErrorSentence.of("\(error)")
        writeError("\(Help.program): \(sentence)\n")
        append("error", sentence)
    }

    /// As `report`, of a program that did not come to run.
    static func report(_ failure: LaunchFailure, of command: String) {
        let sentence = ErrorSentence.of(failure.message)
        writeError((failure.call == "execve" ? "" : "\(Help.program) \(command) failed: ") + sentence + "\n")
        append("error", sentence)
    }

    /// To the log, or where there is none, to stderr in a log's form.
    static func debug(_ message: String) { append("debug", ErrorSentence.of(message), toStandardError: file == nil) }

    /// Something that does not end it: to the log, or where there is none, to stderr, which may be the payload's too.
    static func warn(_ message: String) {
        let sentence = ErrorSentence.of(message)
        if file == nil { writeError("\(Help.program): warning: \(sentence)\n") } else { append("warning", sentence) }
    }

    /// A warning that nobody at a terminal can do anything about: to the log, and to stderr only with --debug.
    static func log(_ message: String) {
        if file != nil { append("warning", ErrorSentence.of(message)) } else if DebugLog.isOn { debug(message) }
    }

    private static func append(_ level: String, _ message: String, toStandardError: Bool = false) {
        if file == nil, !toStandardError { return }
        do {
            var line: [UInt8]
            if isJSON {
                line = try StrictJSONEncoder().encode(Entry(level: level, msg: message, time: RuntimeClock.now()))
            } else {
                let quoted = message.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] }
                line = Array("time=\"\(RuntimeClock.now())\" level=\(level) msg=\"\(String(quoted))\"".utf8)
            }
            line.append(UInt8(ascii: "\n"))
            guard let file else { return writeError(String(decoding: line, as: UTF8.self)) }
            try FileDescriptor.open(file, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644).writeAll(line)
        } catch {
            writeError("\(Help.program): \(error)\n")
        }
    }
}

/// Absolute.
func workingDirectory() throws -> String {
    guard let path = getcwd(nil, 0) else { throw KernelError.last("getcwd") }
    defer { free(path) }
    return String(cString: path)
}
