import Glibc
import LinuxKernel

/// What a container uses, in the shape that runc's `events` has and engines read. Times in nanoseconds, sizes in bytes.
public struct ResourceUse: Codable, Sendable {
    public struct Processor: Codable, Sendable {
        public struct Usage: Codable, Sendable {
            public var total: UInt64?
            public var percpu: [UInt64]?
            public var kernel: UInt64?
            public var user: UInt64?
        }
        public struct Throttling: Codable, Sendable {
            public var periods: UInt64?
            public var throttledPeriods: UInt64?
            public var throttledTime: UInt64?
        }
        public var usage: Usage
        public var throttling: Throttling
    }
    public struct MemoryEntry: Codable, Sendable {
        public var limit: UInt64
        public var usage: UInt64?
        public var max: UInt64?
        public var failcnt: UInt64
    }
    public struct Memory: Codable, Sendable {
        public var cache: UInt64?
        public var usage: MemoryEntry?
        public var swap: MemoryEntry?
        public var raw: [String: UInt64]?
    }
    public struct PIDs: Codable, Sendable {
        public var current: UInt64?
        public var limit: UInt64?
    }
    public var cpu: Processor
    public var memory: Memory
    public var pids: PIDs

    /// Reads the groups' files; what a hierarchy has no file for stays absent.
    public static func read(_ groups: [String]) throws -> ResourceUse {
        let files = GroupFiles(groups)
        let accounted = try files.table("/cpuacct.stat") ?? [:]
        let statistics = try files.table("/cpu.stat") ?? [:]
        // cpuacct.stat counts in USER_HZ, which is 100 on every architecture.
        let ticks: UInt64 = 10_000_000
        let usage = Processor.Usage(
            total: try files.number("/cpuacct.usage") ?? statistics["usage_usec"].map { $0 * 1000 },
            percpu: try files.text("/cpuacct.usage_percpu")?.split(whereSeparator: { $0 == " " || $0 == "\n" }).compactMap { UInt64($0) },
            kernel: accounted["system"].map { $0 * ticks } ?? statistics["system_usec"].map { $0 * 1000 },
            user: accounted["user"].map { $0 * ticks } ?? statistics["user_usec"].map { $0 * 1000 })
        let throttling = Processor.Throttling(
            periods: statistics["nr_periods"], throttledPeriods: statistics["nr_throttled"],
            throttledTime: statistics["throttled_time"] ?? statistics["throttled_usec"].map { $0 * 1000 })
        let details = try files.table("/memory.stat")
        let memory = Memory(
            cache: details?["cache"] ?? details?["file"], usage: try entry(files, "memory") ?? unifiedEntry(files, "memory"),
            swap: try entry(files, "memory.memsw") ?? unifiedEntry(files, "memory.swap"), raw: details)
        return ResourceUse(
            cpu: Processor(usage: usage, throttling: throttling), memory: memory,
            pids: PIDs(current: try files.number("/pids.current"), limit: try files.number("/pids.max")))
    }

    private static func entry(_ files: GroupFiles, _ name: String) throws -> MemoryEntry? {
        guard let usage = try files.number("/\(name).usage_in_bytes") else { return nil }
        return MemoryEntry(
            limit: try files.number("/\(name).limit_in_bytes") ?? 0, usage: usage, max: try files.number("/\(name).max_usage_in_bytes"),
            failcnt: try files.number("/\(name).failcnt") ?? 0)
    }

    private static func unifiedEntry(_ files: GroupFiles, _ name: String) throws -> MemoryEntry? {
        guard let usage = try files.number("/\(name).current") else { return nil }
        return MemoryEntry(limit: try files.number("/\(name).max") ?? .max, usage: usage, max: try files.number("/\(name).peak"), failcnt: 0)
    }
}

/// Files of a container's groups by their names, in whichever group they are.
private struct GroupFiles {
    let groups: [String]
    init(_ groups: [String]) { self.groups = groups }

    func text(_ name: String) throws(KernelError) -> String? {
        for group in groups {
            do {
                return String(decoding: try readFile(group + name, limit: 1 << 20), as: UTF8.self)
            } catch {
                if error.errno != ENOENT && error.errno != EOPNOTSUPP { throw error }
            }
        }
        return nil
    }

    /// nil also for "max".
    func number(_ name: String) throws(KernelError) -> UInt64? {
        guard let text = try text(name) else { return nil }
        return UInt64(text.prefix { $0 != "\n" })
    }

    /// Lines of "name value".
    func table(_ name: String) throws(KernelError) -> [String: UInt64]? {
        guard let text = try text(name) else { return nil }
        var result: [String: UInt64] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count == 2, let value = UInt64(fields[1]) { result[String(fields[0])] = value }
        }
        return result
    }
}
