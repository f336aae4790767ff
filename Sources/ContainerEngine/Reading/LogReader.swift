import CLinux
import Glibc
import LinuxKernel
import Rendering
import StrictJSON

/// What `logs` was asked for.
public struct LogQuery: Sendable {
    public var follow = false
    /// The newest so many lines; nil is all.
    public var tail: Int?
    public var since: Timestamp?
    public var until: Timestamp?
    public var timestamps = false

    public init() {}
}

/// Reads a container's json-file log with its rotated predecessors, oldest first.
public struct LogReader {
    private let directory: ContainerDirectory
    private let query: LogQuery
    /// Called with each text and whether it was written to standard error; false stops.
    private let emit: (_ text: String, _ isError: Bool) -> Bool

    public init(_ directory: ContainerDirectory, _ query: LogQuery, emit: @escaping (String, Bool) -> Bool) {
        self.directory = directory
        self.query = query
        self.emit = emit
    }

    /// Shows the log, and with `follow` what is added until the container has ended.
    ///
    /// - Throws: `EngineError` when the log cannot be read.
    public func run() throws(EngineError) {
        do {
            if query.follow {
                try follow()
            } else {
                _ = try showExisting()
            }
        } catch {
            throw EngineError("the log \(directory.log) cannot be read: \(error)", code: .failure)
        }
    }

    /// The file that is being written, and how far it was read.
    private struct Position: ~Copyable {
        var file: FileDescriptor?
        var partial: [UInt8] = []
    }

    private func rotated() -> [String] {
        // Nine is more than any policy keeps.
        (1...9).reversed().map { "\(directory.log).\($0)" }.filter { access($0, F_OK) == 0 }
    }

    private func showExisting() throws(KernelError) -> Position? {
        let older = rotated()
        var lines: [[UInt8]] = []
        let current = try openLog(directory.log)
        for path in older {
            guard let file = try openLog(path) else { continue }
            try collect(file, into: &lines)
        }
        var position = Position(file: nil)
        if let current {
            position.partial = try collect(current, into: &lines)
            position.file = consume current
        }
        if let tail = query.tail { lines = trimmed(lines, to: tail) }
        for line in lines where !show(line) { return nil }
        return position
    }

    /// The last `count` lines that the program wrote. One of them can be stored in several parts: only the last part has a
    /// newline at its end.
    private func trimmed(_ lines: [[UInt8]], to count: Int) -> [[UInt8]] {
        if count == 0 { return [] }
        var left = count
        for index in lines.indices.reversed() {
            if index < lines.count - 1, isComplete(lines[index]) { left -= 1 }
            if left == 0 { return Array(lines[(index + 1)...]) }
        }
        return lines
    }

    private func isComplete(_ line: [UInt8]) -> Bool { entry(line)?.text.hasSuffix("\n") ?? true }

    private func openLog(_ path: String) throws(KernelError) -> FileDescriptor? {
        do {
            return try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW)
        } catch {
            if error.errno == ENOENT { return nil }
            throw error
        }
    }

    /// Reads whole lines to the end of the file; what is left behind the last newline is returned.
    @discardableResult
    private func collect(_ file: borrowing FileDescriptor, into lines: inout [[UInt8]]) throws(KernelError) -> [UInt8] {
        var rest: [UInt8] = []
        while true {
            let part = try file.read(upTo: 1 << 18)
            if part.isEmpty { return rest }
            rest += part
            var start = 0
            while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
                lines.append(Array(rest[start..<end]))
                start = end + 1
                // Without `--tail` and `--follow` nothing needs to stay in memory; a bound keeps a huge log from doing so.
                if let tail = query.tail, lines.count > 4 * tail + 65536 { lines = trimmed(lines, to: tail) }
            }
            rest.removeFirst(start)
        }
    }

    private func entry(_ line: [UInt8]) -> (text: String, isError: Bool, time: Timestamp)? {
        do {
            let value = try JSONParser().parse(line)
            guard let text = value["log"]?.string, let time = value["time"]?.string.flatMap({ Timestamp(rfc3339: $0) }) else { return nil }
            return (text, value["stream"]?.string == "stderr", time)
        } catch {
            // A line that was cut when the machine lost power says nothing that could be shown.
            return nil
        }
    }

    private func show(_ line: [UInt8]) -> Bool {
        guard let (text, isError, time) = entry(line) else { return true }
        if let since = query.since, time < since { return true }
        if let until = query.until, until < time { return true }
        return emit(query.timestamps ? time.rfc3339Nano + " " + text : text, isError)
    }

    private func follow() throws(KernelError) {
        let watch = FileDescriptor(owning: try retrying("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC)) })
        let events = UInt32(IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)
        try retrying("inotify_add_watch", directory.path) { inotify_add_watch(watch.rawValue, directory.path, events) }
        guard var position = try showExisting() else { return }
        while true {
            // Asked before reading: what was written before the end is then read for certain.
            let isAlive = try ContainerLock.isHeld(directory.lock)
            if try !showNew(&position) { return }
            if !isAlive { return }
            if let until = query.until, until < .now { return }
            var wait = pollfd(fd: watch.rawValue, events: Int16(POLLIN), revents: 0)
            // The lock says nothing when it is freed: a second is the longest that an end goes unnoticed.
            if try retrying("poll", "", { poll(&wait, 1, 1000) }) > 0 { _ = try watch.read(upTo: 65536) }
        }
    }

    /// Shows what was added to the current file, and goes on to the next when it was rotated away.
    private func showNew(_ position: inout Position) throws(KernelError) -> Bool {
        while true {
            if position.file == nil { position.file = try openLog(directory.log) }
            let inode: UInt64
            do {
                guard let file = position.file.take() else { return true }
                var lines: [[UInt8]] = []
                let before = position.partial
                let rest = try collect(file, into: &lines)
                if !lines.isEmpty {
                    lines[0] = before + lines[0]
                    position.partial = rest
                } else {
                    position.partial = before + rest
                }
                inode = UInt64(try file.status().st_ino)
                position.file = consume file
                for line in lines where !show(line) { return false }
            }
            var named = stat()
            guard lstat(directory.log, &named) == 0, UInt64(named.st_ino) != inode else { return true }
            position.file = nil
            position.partial = []
        }
    }
}
