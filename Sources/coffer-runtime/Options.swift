import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel

/// A command line that cannot be understood.
struct OptionError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The exit code of a launch that failed.
enum ExitCode {
    /// 127: program not found; 126: found, but not executable; 125 for everything before (docker-run(1), "Exit Status").
    static func of(_ failure: LaunchFailure) -> Int32 {
        guard failure.step == LaunchStep.Kind.execute.rawValue else { return 125 }
        return failure.errno == ENOENT ? 127 : 126
    }
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
    func isSet(_ name: String) -> Bool { values[name]?.last == "true" }

    /// The one operand that names the container.
    func containerID() throws -> String {
        guard let id = operands.first else { throw OptionError("a container ID is required") }
        return try ContainerDirectory.checked(id)
    }
}

/// Options before the command.
struct GlobalOptions {
    var root: String
    /// Who makes control groups: runc's and crun's default is the files themselves.
    var groups: GroupManager.Preference

    nonisolated(unsafe) private static var logFile: String?
    nonisolated(unsafe) private static var logsJSON = false

    private static let table: [String: Bool] = [
        "root": true, "log": true, "log-format": true, "systemd-cgroup": false, "cgroup-manager": true, "rootless": true,
        "debug": false, "version": false, "help": false,
    ]

    init(taking arguments: inout [String]) throws {
        let parsed = try ParsedOptions(arguments, Self.table, aliases: ["v": "version", "h": "help"], stopsAtOperand: true)
        arguments = parsed.operands
        if parsed.isSet("version") {
            print("coffer-runtime version \(RuntimeVersion.current)\nspec: 1.2.0")
            exit(0)
        }
        if parsed.isSet("help") {
            print(usage, terminator: "")
            exit(0)
        }
        Self.logFile = parsed.value("log")
        Self.logsJSON = parsed.value("log-format") == "json"
        switch (parsed.value("cgroup-manager"), parsed.isSet("systemd-cgroup")) {
        case ("systemd", _), (nil, true): groups = .systemd
        case (nil, false), ("cgroupfs", false): groups = .cgroupfs
        case ("cgroupfs", true): throw OptionError("--systemd-cgroup and --cgroup-manager cgroupfs contradict each other")
        case (let other, _): throw OptionError("unknown cgroup manager \"\(other ?? "")\": systemd or cgroupfs")
        }
        root = parsed.value("root") ?? Self.defaultRoot
    }

    private static var defaultRoot: String {
        if geteuid() == 0 { return "/run/coffer-runtime" }
        let directory = getenv("XDG_RUNTIME_DIR").map { String(cString: $0) } ?? "/tmp/coffer-runtime-\(geteuid())"
        return directory + "/coffer-runtime"
    }

    /// Prints an error where people and engines look for it.
    static func report(_ message: String) {
        writeError("coffer-runtime: \(message)\n")
        guard let logFile else { return }
        let clean = message.filter { $0 != "\n" && $0 != "\"" && $0 != "\\" }
        let line =
            logsJSON
            ? "{\"level\":\"error\",\"msg\":\"\(clean)\",\"time\":\"\(RuntimeClock.now())\"}\n"
            : "time=\"\(RuntimeClock.now())\" level=error msg=\"\(clean)\"\n"
        do {
            try FileDescriptor.open(logFile, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600).writeAll(Array(line.utf8))
        } catch {
            writeError("coffer-runtime: \(error)\n")
        }
    }
}
