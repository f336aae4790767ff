import LinuxKernel
import SQLite

/// The host IDs from which rootful containers get ranges of 65,536 each, so that a process that escapes from one container
/// is nobody: not the host's root, and not a neighbour's.
public struct IDRangePool: Sendable, Equatable {
    /// How many IDs a container gets.
    public static let size: UInt32 = 65536
    /// 0x7000_0000…0x7FFF_FFFF: above what systemd hands out for its own dynamic containers (0x0008_0000…0x6FFF_FFFF) and
    /// below 2³¹, where some programs still see negative numbers.
    public static let defaultBase: UInt32 = 0x7000_0000
    static let defaultCount: UInt32 = 0x1000_0000

    /// Ranges of host IDs to allocate from.
    public let ranges: [SubordinateRange]
    /// Ranges that other users own by /etc/subuid or /etc/subgid.
    public let taken: [SubordinateRange]

    public init(ranges: [SubordinateRange], taken: [SubordinateRange]) {
        self.ranges = ranges
        self.taken = taken
    }

    /// The host's pool: what the line "coffer" of /etc/subuid names, else the default without the ranges of others.
    ///
    /// - Parameters: the contents of the two files, empty when they do not exist.
    public init(subuid: String, subgid: String) {
        let users = Self.entries(subuid)
        let groups = Self.entries(subgid)
        let own = users.filter { $0.owner == "coffer" && groups.contains($0) }.map(\.range)
        if own.contains(where: { $0.count >= Self.size }) {
            self.init(ranges: own, taken: [])
        } else {
            self.init(
                ranges: [SubordinateRange(start: Self.defaultBase, count: Self.defaultCount)],
                taken: (users + groups).map(\.range))
        }
    }

    private struct Entry: Equatable {
        let owner: Substring
        let range: SubordinateRange
    }

    private static func entries(_ text: String) -> [Entry] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count == 3, let start = UInt32(fields[1]), let count = UInt32(fields[2]), count > 0 else { return nil }
            return Entry(owner: fields[0], range: SubordinateRange(start: start, count: count))
        }
    }

    /// The first start that is neither used nor somebody else's, or nil.
    ///
    /// - Parameter used: starts in use, ascending.
    func firstFree(used: [UInt32]) -> UInt32? {
        let used = Set(used)
        for range in ranges {
            var start = UInt64(range.start)
            let end = UInt64(range.start) + UInt64(range.count)
            while start + UInt64(Self.size) <= end {
                if let blocker = overlapping(start) {
                    start = blocker
                } else if used.contains(UInt32(start)) {
                    start += UInt64(Self.size)
                } else {
                    return UInt32(start)
                }
            }
        }
        return nil
    }

    /// The end of the foreign range that reaches into the 65,536 IDs from `start`, or nil.
    private func overlapping(_ start: UInt64) -> UInt64? {
        taken.filter { UInt64($0.start) < start + UInt64(Self.size) && UInt64($0.start) + UInt64($0.count) > start }
            .map { UInt64($0.start) + UInt64($0.count) }.max()
    }
}

extension StateDatabase {
    /// First IDs of the ranges that containers own, ascending.
    static func startsInUse(_ database: SQLiteConnection) throws(SQLiteError) -> [UInt32] {
        try database.rows("SELECT start FROM id_ranges ORDER BY start") { UInt32(truncatingIfNeeded: $0.integer(0)) }
    }

    /// Takes a free range inside the caller's transaction.
    static func allocate(_ pool: IDRangePool, for id: String, _ database: SQLiteConnection) throws -> UInt32 {
        let used = try startsInUse(database)
        guard let start = pool.firstFree(used: used) else {
            throw EngineError(
                "no free range of 65,536 user IDs is left (\(used.count) containers own one each)",
                remedy: "remove containers, or give the line 'coffer' in /etc/subuid and /etc/subgid a larger range")
        }
        try database.execute("INSERT INTO id_ranges (start, container) VALUES (?, ?)", [.integer(Int64(start)), .text(id)])
        return start
    }
}
