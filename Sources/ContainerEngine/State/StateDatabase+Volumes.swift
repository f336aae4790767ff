import SQLite

/// A volume that a container mounts.
public struct VolumeUse: Sendable, Equatable {
    public let name: String
    /// Made for this container alone: goes with it under `--rm` and `rm -v`.
    public let isAnonymous: Bool

    public init(name: String, isAnonymous: Bool) {
        self.name = name
        self.isAnonymous = isAnonymous
    }
}

extension StateDatabase {
    static func insert(_ volume: VolumeUse, of record: ContainerRecord, _ database: SQLiteConnection) throws(SQLiteError) {
        try database.execute(
            "INSERT OR IGNORE INTO volumes (name, created, anonymous) VALUES (?, ?, ?)",
            [.text(volume.name), .integer(record.created), .integer(volume.isAnonymous ? 1 : 0)])
        try database.execute(
            "INSERT OR IGNORE INTO volume_uses (volume, container) VALUES (?, ?)", [.text(volume.name), .text(record.id)])
    }

    /// The anonymous volumes that only this container uses.
    public func anonymousVolumes(onlyOf id: String) throws(EngineError) -> [String] {
        try read { database in
            try database.rows(
                """
                SELECT name FROM volumes JOIN volume_uses ON volume = name
                WHERE anonymous AND name IN (SELECT volume FROM volume_uses WHERE container = ?)
                GROUP BY name HAVING COUNT(*) = 1
                """, [.text(id)]
            ) { $0.text(0) }
        }
    }

    /// Forgets a volume that nobody uses.
    public func deleteVolume(_ name: String) throws(EngineError) {
        try write { try $0.execute("DELETE FROM volumes WHERE name = ?", [.text(name)]) }
    }
}
