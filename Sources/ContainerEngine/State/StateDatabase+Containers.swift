import SQLite

extension StateDatabase {
    /// The columns in the order in which `record` reads them.
    private static let columns = """
        SELECT id, name, image, image_id, created, phase, auto_remove, id_ranges.start, details, monitor_lost_at, start_error, start_error_code
        FROM containers LEFT JOIN id_ranges ON id_ranges.container = containers.id
        """

    private static func record(_ row: borrowing SQLiteRow) -> ContainerRecord {
        var record = ContainerRecord(
            id: row.text(0), name: row.text(1), image: row.text(2), imageID: row.text(3), created: row.integer(4),
            phase: ContainerRecord.Phase(rawValue: row.text(5)) ?? .creating, autoRemove: row.integer(6) != 0,
            rangeStart: row.optionalInteger(7).map { UInt32(truncatingIfNeeded: $0) }, details: row.text(8))
        record.monitorLostAt = row.optionalInteger(9)
        record.startError = row.text(10)
        record.startErrorCode = Int32(truncatingIfNeeded: row.integer(11))
        return record
    }

    private static func records(_ condition: String, _ values: [SQLiteValue], _ database: SQLiteConnection) throws(SQLiteError) -> [ContainerRecord] {
        try database.rows(columns + condition, values) { record($0) }
    }

    /// The ID of the container that has a name.
    private static func id(named name: String, _ database: SQLiteConnection) throws(SQLiteError) -> String? {
        try database.rows("SELECT id FROM containers WHERE name = ?", [.text(name)]) { $0.text(0) }.first
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
            } else if let other = try Self.id(named: record.name, database) {
                throw EngineError(
                    "Conflict. The container name \"/\(record.name)\" is already in use by container \"\(other)\"",
                    remedy: "remove (or rename) that container to be able to reuse that name")
            }
            try database.execute(
                """
                INSERT INTO containers (id, name, image, image_id, created, phase, auto_remove, details)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    .text(record.id), .text(record.name), .text(record.image), .text(record.imageID), .integer(record.created),
                    .text(record.phase.rawValue), .integer(record.autoRemove ? 1 : 0), .text(record.details),
                ])
            if let ranges { record.rangeStart = try Self.allocate(ranges, for: record.id, database) }
            for volume in volumes { try Self.insert(volume, of: record, database) }
            return record
        }
    }

    private static func freeName(_ database: SQLiteConnection) throws -> String {
        for attempt in 0..<64 {
            let name = ContainerName.random() + (attempt < 16 ? "" : "\(attempt)")
            if try id(named: name, database) == nil { return name }
        }
        throw EngineError("no free container name found", remedy: "name the container with --name")
    }

    /// Every container, newest first.
    public func containers() throws(EngineError) -> [ContainerRecord] {
        try read { try Self.records(" ORDER BY created DESC", [], $0) }
    }

    /// The container with this ID, or nil.
    public func container(id: String) throws(EngineError) -> ContainerRecord? {
        try read { try Self.records(" WHERE id = ?", [.text(id)], $0).first }
    }

    /// The container that a user means: by full ID, by name, by the beginning of its ID.
    ///
    /// - Throws: `EngineError` when there is none, or when several IDs begin so.
    public func container(named reference: String) throws(EngineError) -> ContainerRecord {
        let bare = reference.hasPrefix("/") ? String(reference.dropFirst()) : reference
        let isPrefix = !bare.isEmpty && bare.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
        let found = try read { database in
            let exact = try Self.records(" WHERE id = ?1 OR name = ?1 LIMIT 1", [.text(bare)], database)
            guard exact.isEmpty, isPrefix else { return exact }
            return try Self.records(" WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2", [.text(bare)], database)
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
                "UPDATE containers SET phase = ?, monitor_lost_at = NULL, start_error = '', start_error_code = 0 WHERE id = ?",
                [.text(phase.rawValue), .text(id)])
        }
    }

    /// Records what loosened a container's level.
    func setRelaxations(_ relaxations: [String], of record: ContainerRecord, _ details: ContainerDetails) throws(EngineError) {
        var details = details
        details.relaxations = relaxations
        let text = try details.encoded()
        try write { try $0.execute("UPDATE containers SET details = ? WHERE id = ?", [.text(text), .text(record.id)]) }
    }

    /// Records that a start failed; the container stays as it was before.
    public func setStartError(_ message: String, code: Int32, of id: String) throws(EngineError) {
        try write { database in
            try database.execute(
                "UPDATE containers SET phase = 'created', start_error = ?, start_error_code = ? WHERE id = ?",
                [.text(message), .integer(Int64(code)), .text(id)])
        }
    }

    /// Records that a container's monitor died without leaving an exit code.
    public func setMonitorLost(at moment: Int64, of id: String) throws(EngineError) {
        try write { database in
            try database.execute("UPDATE containers SET monitor_lost_at = ? WHERE id = ?", [.integer(moment), .text(id)])
        }
    }

    /// Gives a container another name.
    public func rename(_ id: String, to name: String) throws(EngineError) {
        try write { database in
            if let other = try Self.id(named: name, database) {
                throw EngineError(
                    "Conflict. The container name \"/\(name)\" is already in use by container \"\(other)\"", code: .failure)
            }
            try database.execute("UPDATE containers SET name = ? WHERE id = ?", [.text(name), .text(id)])
        }
    }

    /// Forgets a container; its range and its claims on volumes go with it.
    public func delete(_ id: String) throws(EngineError) {
        try write { try $0.execute("DELETE FROM containers WHERE id = ?", [.text(id)]) }
    }

    /// The IDs of containers made from an image, "sha256:…".
    public func containers(ofImage imageID: String) throws(EngineError) -> [ContainerRecord] {
        try read { try Self.records(" WHERE image_id = ?", [.text(imageID)], $0) }
    }
}
