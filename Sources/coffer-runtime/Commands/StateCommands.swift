import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

private func output(_ bytes: [UInt8]) throws {
    let standard = FileDescriptor(owning: try retrying("dup") { dup(1) })
    try standard.writeAll(bytes + [UInt8(ascii: "\n")])
}

/// `state ID`: runtime-spec's state as JSON.
enum StateCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, [:])
        let record = try ContainerDirectory(root: global.root, id: try options.containerID()).load()
        let status = try record.currentStatus()
        let (spec, _) = try Bundle.read(directory: record.bundle)
        let state = RuntimeContainerState(
            ociVersion: "1.2.0", id: record.id, status: status, pid: status == .stopped ? 0 : record.state.pid,
            bundle: record.bundle, annotations: spec.annotations)
        try output(try StrictJSONEncoder().encode(state))
        return 0
    }
}

/// `list [-q] [-f table|json]`
enum ListCommand {
    private struct Row: Codable {
        var ociVersion = "1.2.0"
        var id: String
        var pid: Int32
        var status: String
        var bundle: String
        var created: String
        var owner = "root"
    }

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["quiet": false, "format": true], aliases: ["q": "quiet", "f": "format"])
        let rows = try ContainerDirectory.all(root: global.root).map { directory in
            let record = try directory.load()
            let status = try record.currentStatus()
            return Row(
                id: record.id, pid: status == .stopped ? 0 : record.state.pid, status: status.rawValue, bundle: record.bundle,
                created: record.created)
        }
        if options.isSet("quiet") {
            for row in rows { print(row.id) }
        } else if options.value("format") == "json" {
            try output(try StrictJSONEncoder().encode(rows))
        } else {
            let table =
                [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
                + rows.map { [$0.id, "\($0.pid)", $0.status, $0.bundle, $0.created, $0.owner] }
            let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
            for row in table {
                let cells = row.enumerated().map { index, cell in
                    index == row.count - 1 ? cell : cell + String(repeating: " ", count: max(12, widths[index] + 4) - cell.count)
                }
                print(cells.joined())
            }
        }
        return 0
    }
}

/// `kill [-a] ID [SIGNAL]`
enum KillCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["all": false], aliases: ["a": "all"])
        let record = try ContainerDirectory(root: global.root, id: try options.containerID()).load()
        let name = options.operands.count > 1 ? options.operands[1] : "SIGTERM"
        guard let number = SignalNames.number(of: name) else { throw OptionError("unknown signal \"\(name)\"") }
        guard try record.currentStatus() != .stopped else { throw PlanError("container not running") }
        try Processes.signal(try Processes.open(record.state.pid), number)
        return 0
    }
}

/// `delete [--force] ID`
enum DeleteCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["force": false], aliases: ["f": "force"])
        let directory = ContainerDirectory(root: global.root, id: try options.containerID())
        let record: ContainerRecord
        do {
            record = try directory.load()
        } catch let error as PlanError where options.isSet("force") && error.description.hasPrefix("container does not exist") {
            return 0
        }
        if try record.currentStatus() != .stopped {
            guard options.isSet("force") else {
                throw PlanError("cannot delete container \(record.id) that is not stopped: \(try record.currentStatus().rawValue)")
            }
            let process = try Processes.open(record.state.pid)
            try Processes.signal(process, SIGKILL)
            var ended = pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)
            poll(&ended, 1, 10_000)
        }
        try CgroupDirectories.remove(record.state.cgroupPaths)
        try directory.remove()
        return 0
    }
}

/// Signals by name or number (signal(7)).
enum SignalNames {
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT",
        "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ]

    static func number(of text: String) -> Int32? {
        if let number = Int32(text) { return (1...64).contains(number) ? number : nil }
        let name = text.uppercased()
        let bare = name.hasPrefix("SIG") ? String(name.dropFirst(3)) : name
        return names.firstIndex(of: bare).map { Int32($0 + 1) }
    }
}
