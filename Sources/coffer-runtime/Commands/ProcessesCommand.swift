import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import StrictJSON

/// `ps [-f table|json] ID [PS OPTIONS]`: the numbers as JSON, or the host's ps(1) with the lines of the container.
enum ProcessesCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["format": true], aliases: ["f": "format"], stopsAtOperand: true)
        let directory = try global.container(options)
        let format = options.value("format") ?? "table"
        guard ["table", "json"].contains(format) else { throw OptionError("invalid format \"\(format)\": table or json") }
        let record = try directory.load()
        guard !record.state.cgroupPaths.isEmpty else { throw OptionError("container \(record.id) has no control group: its processes are not known") }
        let processes = try ContainerProcesses(record.state.cgroupPaths).list()
        if format == "json" {
            try output(try StrictJSONEncoder().encode(processes))
            return 0
        }
        let words = options.operands.count > 1 ? Array(options.operands.dropFirst()) : ["-ef"]
        let places: [String] = ["/usr/bin/ps", "/bin/ps"]
        guard let program = places.first(where: { access($0, X_OK) == 0 }) else {
            throw OptionError("ps is not installed: use --format json, or install the package procps")
        }
        try show(try lines(of: program, words), processes)
        return 0
    }

    private static func lines(of program: String, _ words: [String]) throws -> [Substring] {
        let (reading, writing) = try makePipe()
        let source = FileDescriptor(owning: reading)
        let process = try SpawnedProcess.start(program, ["ps"] + words, descriptors: [nil, writing, 2])
        close(writing)
        let text = String(decoding: try source.readAll(limit: 64 << 20), as: UTF8.self)
        guard try process.wait() == .exited(0) else { throw OptionError("ps \(words.joined(separator: " ")) failed") }
        return text.split(separator: "\n")
    }

    private static func show(_ lines: [Substring], _ processes: [Int32]) throws {
        guard let title = lines.first, let column = title.split(separator: " ").firstIndex(of: "PID") else {
            throw OptionError("ps printed no column PID: its lines cannot be told apart")
        }
        print(title)
        for line in lines.dropFirst() {
            let fields = line.split(separator: " ")
            if fields.count > column, let pid = Int32(fields[column]), processes.contains(pid) { print(line) }
        }
    }
}
