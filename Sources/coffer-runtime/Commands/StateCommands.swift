import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// Bytes and a newline on stdout.
func output(_ bytes: [UInt8]) throws {
    let standard = FileDescriptor(owning: try retrying("dup") { dup(1) })
    try standard.writeAll(bytes + [UInt8(ascii: "\n")])
}

/// What `state` and `list` say of a container: the specification's members, and those that other runtimes add.
struct ContainerSummary: Codable {
    var ociVersion: String
    var id: String
    /// As the host sees it; 0 when there is none.
    var pid: Int32
    var status: RuntimeContainerState.Status
    var bundle: String
    var rootfs: String
    /// RFC 3339.
    var created: String
    var annotations: [String: String]?
    var owner: String

    init(_ directory: ContainerDirectory) throws {
        let record = try directory.load()
        status = try directory.status(of: record)
        ociVersion = record.ociVersion
        id = record.id
        pid = status == .stopped ? 0 : record.state.pid
        bundle = record.bundle
        created = record.created
        owner = try Self.name(of: record.owner)
        rootfs = ""
        do {
            let (spec, _) = try directory.configuration(record)
            annotations = spec.annotations
            if let path = spec.root?.path { rootfs = path.hasPrefix("/") ? path : "\(record.bundle)/\(path)" }
        } catch let failure as LaunchFailure where failure.errno == ENOENT {
            // Its creation was killed before there was a configuration.
        }
    }

    /// From /etc/passwd alone: name services are for programs that can afford them.
    private static func name(of user: UInt32) throws -> String {
        if user == 0 { return "root" }
        for line in String(decoding: try readFile("/etc/passwd"), as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 2, fields[2] == "\(user)" { return String(fields[0]) }
        }
        return "#\(user)"
    }
}

/// `state ID`: runtime-spec's state as JSON.
enum StateCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, [:])
        try output(try StrictJSONEncoder(.pretty).encode(try ContainerSummary(try global.container(options))))
        return 0
    }
}

/// `list [-q] [-f table|json]`
enum ListCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["quiet": false, "format": true], aliases: ["q": "quiet", "f": "format"])
        let format = options.value("format") ?? "table"
        guard ["table", "json"].contains(format) else { throw OptionError("unknown format \"\(format)\": table or json") }
        let directories = try ContainerDirectory.all(root: global.root())
        if options.isSet("quiet") {
            for directory in directories { print(directory.id) }
            return 0
        }
        var rows: [ContainerSummary] = []
        for directory in directories {
            do {
                rows.append(try ContainerSummary(directory))
            } catch is NoSuchContainer {
                continue  // deleted meanwhile
            }
        }
        if format == "json" {
            try output(try StrictJSONEncoder().encode(rows))
            return 0
        }
        printTable(
            [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
                + rows.map { [$0.id, "\($0.pid)", $0.status.rawValue, $0.bundle, $0.created, $0.owner] })
        return 0
    }

    private static func printTable(_ table: [[String]]) {
        let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
        for row in table {
            let cells = row.enumerated().map { index, cell in
                index == row.count - 1 ? cell : cell + String(repeating: " ", count: max(12, widths[index] + 4) - cell.count)
            }
            print(cells.joined())
        }
    }
}

/// `kill [-a] ID [SIGNAL]`
enum KillCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["all": false], aliases: ["a": "all"])
        let directory = try global.container(options)
        try options.expectOperands(2)
        let record = try directory.load()
        let name = options.operands.count > 1 ? options.operands[1] : "SIGTERM"
        guard let number = SignalNames.number(of: name) else { throw OptionError("unknown signal \"\(name)\"") }
        if options.isSet("all") {
            try ContainerProcesses(record.state.cgroupPaths).signalAll(number)
            if try directory.status(of: record) == .stopped { return 0 }
        }
        let status = try directory.status(of: record)
        if number == SIGKILL, try killsAll(directory, record) { return 0 }
        guard status != .stopped, record.state.pid > 0 else { throw PlanError("container not running") }
        let process = try Processes.open(record.state.pid)
        guard try Processes.startTicks(of: record.state.pid) == record.state.pidStartTicks else { throw PlanError("container not running") }
        try Processes.signal(process, number)
        // Cgroup v1 keeps a frozen process from taking even this one.
        if number == SIGKILL, status == .paused, try !CgroupDirectories.setFrozen(false, record.state.cgroupPaths) {
            throw PlanError("container \(record.id) is frozen and cannot be thawed")
        }
        return 0
    }
}

extension KillCommand {
    /// Where the process namespace is another's, the death of the first process takes nobody along: then all of the group are killed.
    ///
    /// - Returns: false where there is nobody left, or the kernel does it.
    private static func killsAll(_ directory: ContainerDirectory, _ record: ContainerRecord) throws -> Bool {
        let namespaces = try directory.configuration(record).spec.linux?.namespaces ?? []
        if namespaces.contains(where: { $0.type == .pid && $0.path?.isEmpty ?? true }) { return false }
        let processes = ContainerProcesses(record.state.cgroupPaths)
        if try processes.list().isEmpty { return false }
        try processes.signalAll(SIGKILL)
        // Cgroup v1 keeps a frozen process from taking even this one.
        if try CgroupDirectories.isFrozen(record.state.cgroupPaths) { try CgroupDirectories.setFrozen(false, record.state.cgroupPaths) }
        return true
    }
}

/// `delete [--force] ID`, or `delete --regex [--force] PATTERN`
enum DeleteCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["force": false, "regex": false], aliases: ["f": "force", "r": "regex"])
        try options.expectOperands(1)
        if !options.isSet("regex") {
            try delete(try global.container(options), options)
            return 0
        }
        guard let text = options.operands.first else { throw OptionError("--regex needs a pattern") }
        var pattern = try Pattern(text)
        for directory in try ContainerDirectory.all(root: global.root()) where pattern.isFound(in: directory.id) {
            try delete(directory, options)
        }
        return 0
    }

    private static func delete(_ directory: ContainerDirectory, _ options: ParsedOptions) throws {
        let record: ContainerRecord
        do {
            record = try directory.load()
        } catch let error as NoSuchContainer {
            guard options.isSet("force") else { throw error }
            return try directory.remove()  // what a creation that was killed at once has left
        } catch let error as UnreadableState {
            guard options.isSet("force") else { throw error }
            RuntimeLog.warn("\(error)")
            return try ContainerDeletion.removeUnreadable(directory)
        }
        let status = try directory.status(of: record)
        let deletion = ContainerDeletion(directory, record)
        if status != .stopped, !options.isSet("force") {
            throw PlanError("cannot delete container \(record.id) that is not stopped: \(status.rawValue)")
        }
        try deletion.end()
        for complaint in try deletion.remove(creationWasKilled: record.state.pid == 0) { RuntimeLog.warn(complaint) }
    }
}

/// An extended regular expression (regex(7)), found anywhere in a text.
private struct Pattern: ~Copyable {
    private var compiled = regex_t()

    init(_ text: String) throws {
        guard regcomp(&compiled, text, REG_EXTENDED | (1 << 3)) == 0 else {  // REG_NOSUB, a cast in C
            throw OptionError("\"\(text)\" is no regular expression")
        }
    }

    deinit {
        var own = compiled
        regfree(&own)
    }

    mutating func isFound(in text: String) -> Bool { regexec(&compiled, text, 0, nil, 0) == 0 }
}

/// `pause ID`
enum PauseCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let (directory, record) = try Freezing.container(arguments, global)
        let status = try directory.status(of: record)
        guard status == .running || status == .created else { throw PlanError("container not running: cannot pause one that is \(status.rawValue)") }
        try Freezing.set(true, record)
        return 0
    }
}

/// `resume ID`
enum ResumeCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let (directory, record) = try Freezing.container(arguments, global)
        guard try directory.status(of: record) == .paused else { throw PlanError("container not paused") }
        try Freezing.set(false, record)
        return 0
    }
}

private enum Freezing {
    static func container(_ arguments: [String], _ global: GlobalOptions) throws -> (ContainerDirectory, ContainerRecord) {
        let options = try ParsedOptions(arguments, [:])
        let directory = try global.container(options)
        try options.expectOperands(1)
        return (directory, try directory.load())
    }

    static func set(_ frozen: Bool, _ record: ContainerRecord) throws {
        guard try CgroupDirectories.setFrozen(frozen, record.state.cgroupPaths) else {
            throw PlanError("container \(record.id) has no control group of its own that can be frozen")
        }
    }
}

/// Signals by name or number (signal(7)).
enum SignalNames {
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ]

    static func number(of text: String) -> Int32? {
        if let number = Int32(text) { return (0...64).contains(number) ? number : nil }
        let name = text.uppercased()
        let bare = name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name
        // Real-time signals count from both ends (signal(7)); 32 and 33 are glibc's own.
        if bare.hasPrefix("RTMIN"), let offset = bare == "RTMIN" ? 0 : Int32(bare.dropFirst(5)), (0...30).contains(offset) { return 34 + offset }
        if bare.hasPrefix("RTMAX"), let offset = bare == "RTMAX" ? 0 : Int32(bare.dropFirst(5)), (-30...0).contains(offset) { return 64 + offset }
        return names.firstIndex(of: bare).map { Int32($0 + 1) }
    }
}
