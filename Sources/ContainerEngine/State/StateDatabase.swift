import Glibc
import SQLite

/// The engine's state: which containers exist, and which ID range each owns. One SQLite file that many commands open at once.
///
/// Write-ahead logging lets `ps` read while a `run` writes. `synchronous` is NORMAL: a commit is not flushed to the disk at
/// once, which after a power failure can lose the newest rows but never corrupts the file; no container survives a power
/// failure either, and directories without a row are swept by reconciliation.
public struct StateDatabase {
    /// Raised with every change of the tables.
    static let schemaVersion = 2
    /// Milliseconds that a command waits for another one's transaction; each takes about a millisecond.
    private static let busyTimeout: Int32 = 20_000
    private let connection: SQLiteConnection
    private let path: String

    /// - Throws: `EngineError` when the file cannot be opened or was written by a newer version.
    public init(path: String) throws(EngineError) {
        self.path = path
        do {
            connection = try SQLiteConnection(path: path, busyTimeout: Self.busyTimeout)
            try connection.execute(script: "PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 64")
            try Self.migrate(connection, path)
        } catch let error as EngineError {
            throw error
        } catch {
            throw Self.failed(error, path)
        }
    }

    private static func failed(_ error: any Error, _ path: String) -> EngineError {
        // SQLITE_CORRUPT and SQLITE_NOTADB, in the low byte of an extended code.
        if let failure = error as? SQLiteError, [11, 26].contains(failure.code & 0xff) {
            return EngineError(
                "state database \(path) is damaged: \(error)",
                remedy: "restore it from a copy; or move it and its -wal and -shm files away, which forgets all containers and removes their files")
        }
        return EngineError("state database \(path): \(error)", remedy: "check free space and permissions of its directory")
    }

    private static func migrate(_ connection: SQLiteConnection, _ path: String) throws {
        let version = try version(connection)
        if version == schemaVersion { return }
        if version > schemaVersion {
            throw EngineError(
                "state database \(path) was written by a newer coffer (schema \(version), this one knows \(schemaVersion))",
                remedy: "use the newer program")
        }
        try logAhead(connection)
        try connection.transaction(.writing) { database in
            // Another command may have been faster between the look and the lock.
            let version = try Self.version(database)
            if version < 1 { try database.execute(script: schema1) }
            if version < 2 { try database.execute(script: schema2) }
        }
    }

    /// Changing the journal needs the file for one connection alone, and SQLite answers SQLITE_BUSY at once where two that both read it want that:
    /// each would wait for the other. The busy timeout means nothing there; of two first commands, one is soon through.
    private static func logAhead(_ connection: SQLiteConnection) throws(SQLiteError) {
        for _ in 0..<1000 {
            do throws(SQLiteError) {
                return try connection.execute(script: "PRAGMA journal_mode = WAL")
            } catch {
                if error.code & 0xff != 5 { throw error }
                usleep(5_000)
            }
        }
        try connection.execute(script: "PRAGMA journal_mode = WAL")
    }

    private static func version(_ connection: SQLiteConnection) throws(SQLiteError) -> Int64 {
        try connection.rows("PRAGMA user_version") { $0.integer(0) }.first ?? 0
    }

    private static let schema1 = """
        CREATE TABLE containers (
            id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, image_id TEXT NOT NULL,
            created INTEGER NOT NULL, phase TEXT NOT NULL, auto_remove INTEGER NOT NULL, monitor_lost_at INTEGER,
            start_error TEXT NOT NULL DEFAULT '', start_error_code INTEGER NOT NULL DEFAULT 0, details TEXT NOT NULL
        ) STRICT;
        CREATE INDEX containers_by_image ON containers (image_id);
        CREATE TABLE id_ranges (
            start INTEGER PRIMARY KEY NOT NULL, container TEXT NOT NULL UNIQUE REFERENCES containers (id) ON DELETE CASCADE
        ) STRICT;
        CREATE TABLE volumes (
            name TEXT PRIMARY KEY NOT NULL, created INTEGER NOT NULL, anonymous INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE volume_uses (
            volume TEXT NOT NULL REFERENCES volumes (name),
            container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
            PRIMARY KEY (volume, container)
        ) STRICT;
        PRAGMA user_version = 1;
        """

    private static let schema2 = """
        ALTER TABLE volumes ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
        PRAGMA user_version = 2;
        """

    /// Runs `body` in one transaction that writes; other writers wait.
    func write<Value>(_ body: (SQLiteConnection) throws -> Value) throws(EngineError) -> Value {
        do {
            return try connection.transaction(.writing, body)
        } catch let error as EngineError {
            throw error
        } catch {
            throw Self.failed(error, path)
        }
    }

    /// Runs `body` in one transaction that only reads.
    func read<Value>(_ body: (SQLiteConnection) throws -> Value) throws(EngineError) -> Value {
        do {
            return try connection.transaction(.reading, body)
        } catch let error as EngineError {
            throw error
        } catch {
            throw Self.failed(error, path)
        }
    }
}
