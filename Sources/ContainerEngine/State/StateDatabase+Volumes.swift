import SQLite
import StrictJSON

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

/// A volume as the database knows it.
public struct VolumeRecord: Sendable, Equatable {
    public let name: String
    /// Nanoseconds since the epoch.
    public let created: Int64
    /// Made without a name, for one container.
    public let isAnonymous: Bool
    public let labels: [String: String]
    /// Names of the containers that mount it, running or not.
    public let users: [String]
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

    /// Inserts a volume of no container (`volume create`).
    ///
    /// - Returns: false when there is one of this name; it stays as it is.
    func insertVolume(_ name: String, created: Int64, isAnonymous: Bool, labels: [String: String]) throws(EngineError) -> Bool {
        let text = String(decoding: try JSONBytes.encode(labels), as: UTF8.self)
        return try write { database in
            let inserted = try database.rows(
                "INSERT OR IGNORE INTO volumes (name, created, anonymous, labels) VALUES (?, ?, ?, ?) RETURNING name",
                [.text(name), .integer(created), .integer(isAnonymous ? 1 : 0), .text(text)]
            ) { $0.text(0) }
            return !inserted.isEmpty
        }
    }

    /// Every volume, by name.
    public func volumes() throws(EngineError) -> [VolumeRecord] {
        try read { database in
            var users: [String: [String]] = [:]
            let uses = try database.rows(
                "SELECT volume, containers.name FROM volume_uses JOIN containers ON id = container ORDER BY containers.name"
            ) { (volume: $0.text(0), user: $0.text(1)) }
            for use in uses { users[use.volume, default: []].append(use.user) }
            return try database.rows("SELECT name, created, anonymous, labels FROM volumes ORDER BY name") { row in
                VolumeRecord(
                    name: row.text(0), created: row.integer(1), isAnonymous: row.integer(2) != 0, labels: Self.labels(row.text(3)),
                    users: users[row.text(0)] ?? [])
            }
        }
    }

    /// Labels that cannot be read are none: they decide about nothing but filters.
    private static func labels(_ text: String) -> [String: String] {
        do { return try StrictJSONDecoder().decode([String: String].self, from: Array(text.utf8)) } catch { return [:] }
    }

    /// Forgets a volume that nobody uses, after `body`, in one transaction: no container can take it meanwhile.
    ///
    /// - Throws: `EngineError` when a container uses it, or what `body` throws; the row then stays.
    func deleteVolume(_ name: String, after body: () throws -> Void) throws(EngineError) {
        try write { database in
            let users = try database.rows(
                "SELECT containers.name FROM volume_uses JOIN containers ON id = container WHERE volume = ?", [.text(name)]
            ) { $0.text(0) }
            if !users.isEmpty {
                throw EngineError(
                    "remove \(name): volume is in use - [\(users.joined(separator: ", "))]",
                    remedy: "remove the container first: coffer rm \(users[0])", code: .failure)
            }
            try body()
            try database.execute("DELETE FROM volumes WHERE name = ?", [.text(name)])
        }
    }
}
