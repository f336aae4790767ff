import GRDB

extension StateDatabase {
    private static let columns = """
        SELECT containers.*, id_ranges.start AS range_start FROM containers
        LEFT JOIN id_ranges ON id_ranges.container = containers.id
        """

    private static func record(_ row: Row) -> ContainerRecord {
        var record = ContainerRecord(
            id: row["id"], name: row["name"], image: row["image"], imageID: row["image_id"], created: row["created"],
            phase: ContainerRecord.Phase(rawValue: row["phase"]) ?? .creating, autoRemove: row["auto_remove"],
            rangeStart: row["range_start"], details: row["details"])
        record.monitorLostAt = row["monitor_lost_at"]
        record.startError = row["start_error"]
        record.startErrorCode = row["start_error_code"]
        return record
    }

    /// Inserts a container, with a name of its own when `record.name` is empty and a free ID range when `ranges` is given.
    ///
    /// - Returns: the record with name and range filled in.
    /// - Throws: `EngineError` when the name is taken or no range is free.
    public func insert(_ record: ContainerRecord, ranges: IDRangePool?, volumes: [VolumeUse] = []) throws(EngineError) -> ContainerRecord {
        try write { database in
            var record = record
            if record.name.isEmpty {
                record.name = try Self.freeName(database)
            } else if let other = try String.fetchOne(
                database, sql: "SELECT id FROM containers WHERE name = ?", arguments: [record.name])
            {
                throw EngineError(
                    "Conflict. The container name \"/\(record.name)\" is already in use by container \"\(other)\"",
                    remedy: "remove (or rename) that container to be able to reuse that name")
            }
            try database.execute(
                sql: """
                    INSERT INTO containers (id, name, image, image_id, created, phase, auto_remove, details)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    record.id, record.name, record.image, record.imageID, record.created, record.phase.rawValue,
                    record.autoRemove, record.details,
                ])
            if let ranges { record.rangeStart = try Self.allocate(ranges, for: record.id, database) }
            for volume in volumes { try Self.insert(volume, of: record, database) }
            return record
        }
    }

    private static func freeName(_ database: Database) throws -> String {
        for attempt in 0..<64 {
            let name = ContainerName.random() + (attempt < 16 ? "" : "\(attempt)")
            if try String.fetchOne(database, sql: "SELECT id FROM containers WHERE name = ?", arguments: [name]) == nil {
                return name
            }
        }
        throw EngineError("no free container name found", remedy: "name the container with --name")
    }

    /// Every container, newest first.
    public func containers() throws(EngineError) -> [ContainerRecord] {
        try read { database in
            try Row.fetchAll(database, sql: Self.columns + " ORDER BY created DESC").map(Self.record)
        }
    }

    /// The container with this ID, or nil.
    public func container(id: String) throws(EngineError) -> ContainerRecord? {
        try read { database in
            try Row.fetchOne(database, sql: Self.columns + " WHERE id = ?", arguments: [id]).map(Self.record)
        }
    }

    /// The container that a user means: by full ID, by name, by the beginning of its ID.
    ///
    /// - Throws: `EngineError` when there is none, or when several IDs begin so.
    public func container(named reference: String) throws(EngineError) -> ContainerRecord {
        let bare = reference.hasPrefix("/") ? String(reference.dropFirst()) : reference
        let isPrefix = !bare.isEmpty && bare.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
        let found = try read { database in
            if let exact = try Row.fetchOne(database, sql: Self.columns + " WHERE id = ?1 OR name = ?1", arguments: [bare]) {
                return [Self.record(exact)]
            }
            guard isPrefix else { return [] }
            let sql = Self.columns + " WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2"
            return try Row.fetchAll(database, sql: sql, arguments: [bare]).map(Self.record)
        }
        guard let first = found.first else { throw .noSuchContainer(reference) }
        if found.count > 1 {
            throw EngineError(
                "Multiple IDs found with provided prefix: \(reference)", remedy: "give more digits of the ID", code: .failure)
        }
        return first
    }

    /// Records how far a container got.
    public func setPhase(_ phase: ContainerRecord.Phase, of id: String) throws(EngineError) {
        try write { database in
            try database.execute(
                sql: "UPDATE containers SET phase = ?, monitor_lost_at = NULL, start_error = '', start_error_code = 0 WHERE id = ?",
                arguments: [phase.rawValue, id])
        }
    }

    /// Records what loosened a container's level.
    func setRelaxations(_ relaxations: [String], of record: ContainerRecord, _ details: ContainerDetails) throws(EngineError) {
        var details = details
        details.relaxations = relaxations
        let text = try details.encoded()
        try write { try $0.execute(sql: "UPDATE containers SET details = ? WHERE id = ?", arguments: [text, record.id]) }
    }

    /// Records that a start failed; the container stays as it was before.
    public func setStartError(_ message: String, code: Int32, of id: String) throws(EngineError) {
        try write { database in
            try database.execute(
                sql: "UPDATE containers SET phase = 'created', start_error = ?, start_error_code = ? WHERE id = ?",
                arguments: [message, code, id])
        }
    }

    /// Records that a container's monitor died without leaving an exit code.
    public func setMonitorLost(at moment: Int64, of id: String) throws(EngineError) {
        try write { database in
            try database.execute(sql: "UPDATE containers SET monitor_lost_at = ? WHERE id = ?", arguments: [moment, id])
        }
    }

    /// Gives a container another name.
    public func rename(_ id: String, to name: String) throws(EngineError) {
        try write { database in
            if let other = try String.fetchOne(database, sql: "SELECT id FROM containers WHERE name = ?", arguments: [name]) {
                throw EngineError(
                    "Conflict. The container name \"/\(name)\" is already in use by container \"\(other)\"", code: .failure)
            }
            try database.execute(sql: "UPDATE containers SET name = ? WHERE id = ?", arguments: [name, id])
        }
    }

    /// Forgets a container; its range and its claims on volumes go with it.
    public func delete(_ id: String) throws(EngineError) {
        try write { try $0.execute(sql: "DELETE FROM containers WHERE id = ?", arguments: [id]) }
    }

    /// The IDs of containers made from an image, "sha256:…".
    public func containers(ofImage imageID: String) throws(EngineError) -> [ContainerRecord] {
        try read { database in
            try Row.fetchAll(database, sql: Self.columns + " WHERE image_id = ?", arguments: [imageID]).map(Self.record)
        }
    }
}
