import Glibc
import LaunchPlan
import LinuxKernel

/// `top`: the processes of a container as the host sees them.
public struct ProcessListing: Sendable, Equatable {
    public let header: [String]
    public let rows: [[String]]
}

extension Engine {
    /// The processes of a running container.
    ///
    /// - Parameter options: of ps(1); none gives the columns of `ps -ef`, without needing that program.
    public func processes(of reference: String, options: [String]) throws(EngineError) -> ProcessListing {
        let container = try container(reference)
        guard case .running(let state, _) = container.status else {
            throw EngineError("container \(container.record.id) is not running", code: .failure)
        }
        do {
            let pids = try ContainerProcesses.all(sharing: state.pid, state.cgroupPaths)
            if !options.isEmpty { return try Self.runPS(options, pids) }
            let bootTime = try Self.bootTime()
            let rows = try pids.sorted().compactMap { pid throws(KernelError) in try ProcessRow(pid, bootTime: bootTime)?.cells }
            return ProcessListing(header: ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], rows: rows)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("the processes of container \(reference) cannot be read: \(error)", code: .failure)
        }
    }

    /// Seconds since the epoch at which the machine started (proc_stat(5)).
    private static func bootTime() throws(KernelError) -> Int64 {
        let text = String(decoding: try readFile("/proc/stat", limit: 16 << 20), as: UTF8.self)
        return text.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap { Int64($0.dropFirst(6)) } ?? 0
    }

    /// ps(1) with the user's options, and of its lines those of the container.
    private static func runPS(_ options: [String], _ pids: Set<Int32>) throws -> ProcessListing {
        let (readEnd, writeEnd) = try makePipe()
        let output = FileDescriptor(owning: readEnd)
        let input = FileDescriptor(owning: writeEnd)
        let child = try SpawnedProcess.start("/bin/ps", ["ps"] + options, descriptors: [nil, input.rawValue, 2])
        try input.close()
        let text = String(decoding: try output.readAll(limit: 16 << 20), as: UTF8.self)
        guard try child.wait() == .exited(0) else { throw EngineError("error running ps with these options", code: .failure) }
        let lines = text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        guard let header = lines.first, let column = header.firstIndex(of: "PID") else {
            throw EngineError("Couldn't find PID field in ps output", code: .failure)
        }
        let rows = lines.dropFirst().filter { $0.count > column && Int32($0[column]).map(pids.contains) ?? false }.map { cells in
            // The last column is the command, whose words belong together.
            cells.count <= header.count
                ? cells : Array(cells[..<(header.count - 1)]) + [cells[(header.count - 1)...].joined(separator: " ")]
        }
        return ProcessListing(header: header, rows: Array(rows))
    }
}

/// Which processes are in a container.
enum ContainerProcesses {
    /// By the control groups where it has some, else by the pid namespace of its first process: what `exec` brought in
    /// belongs to both.
    static func all(sharing pid: Int32, _ cgroups: [String]) throws(KernelError) -> Set<Int32> {
        var result = Set<Int32>()
        for directory in cgroups { result.formUnion(try CgroupDirectories.processes(in: directory)) }
        if !result.isEmpty { return result }
        let namespace = try link("/proc/\(pid)/ns/pid")
        for name in try DirectoryListing.names(of: "/proc") {
            guard let candidate = Int32(name) else { continue }
            do {
                if try link("/proc/\(candidate)/ns/pid") == namespace { result.insert(candidate) }
            } catch {
                // Ended meanwhile, or somebody else's: not in this container.
                if ![ENOENT, ESRCH, EACCES, EPERM].contains(error.errno) { throw error }
            }
        }
        return result
    }

    private static func link(_ path: String) throws(KernelError) -> String {
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = try retrying("readlink", path) { readlink(path, &buffer, buffer.count) }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}

/// One process in the columns of `ps -ef`.
struct ProcessRow {
    let cells: [String]

    /// Nil when the process has ended.
    init?(_ pid: Int32, bootTime: Int64) throws(KernelError) {
        let line: [UInt8]
        let arguments: [UInt8]
        var status = stat()
        do {
            line = try readFile("/proc/\(pid)/stat", limit: 8192)
            arguments = try readFile("/proc/\(pid)/cmdline", limit: 1 << 20)
            try retrying("lstat") { lstat("/proc/\(pid)", &status) }
        } catch {
            if error.errno == ENOENT || error.errno == ESRCH { return nil }
            throw error
        }
        // The name may hold spaces and parentheses: fields count from the last ")".
        guard let open = line.firstIndex(of: UInt8(ascii: "(")), let end = line.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = String(decoding: line[(end + 1)...], as: UTF8.self).split(separator: " ").map(String.init)
        guard fields.count > 19, let user = Int64(fields[11]), let system = Int64(fields[12]), let start = Int64(fields[19]) else { return nil }
        let ticks = max(1, Int64(sysconf(Int32(_SC_CLK_TCK))))
        let started = bootTime + start / ticks
        let seconds = (user + system) / ticks
        let age = max(1, Int64(time(nil)) - started)
        let name = String(decoding: line[(open + 1)..<end], as: UTF8.self)
        let command = arguments.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        cells = [
            Self.userName(status.st_uid), "\(pid)", fields[1], "\(min(99, seconds * 100 / age))", Self.startText(started),
            Self.terminal(Int64(fields[4]) ?? 0), Self.duration(seconds), command.isEmpty ? "[\(name)]" : command,
        ]
    }

    private static func userName(_ id: uid_t) -> String {
        getpwuid(id).flatMap { $0.pointee.pw_name.map { String(cString: $0) } } ?? "\(id)"
    }

    private static func startText(_ moment: Int64) -> String {
        var time = time_t(moment)
        var parts = tm()
        localtime_r(&time, &parts)
        var now = Glibc.time(nil)
        var today = tm()
        localtime_r(&now, &today)
        var buffer = [CChar](repeating: 0, count: 16)
        let isToday = parts.tm_year == today.tm_year && parts.tm_yday == today.tm_yday
        let count = strftime(&buffer, buffer.count, isToday ? "%H:%M" : "%b%d", &parts)
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func terminal(_ device: Int64) -> String {
        let major = (device >> 8) & 0xfff
        let minor = device & 0xff | (device >> 12) & 0xfff00
        return major == 136 ? "pts/\(minor)" : device == 0 ? "?" : "\(major):\(minor)"
    }

    private static func duration(_ seconds: Int64) -> String {
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(two(seconds / 3600)):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
    }
}
