import Glibc
import SQLite
import Testing

@Suite("SQLite")
struct SQLiteTests {
    private func withDatabase(_ body: (SQLiteConnection, String) throws -> Void) throws {
        var template = Array("/tmp/coffer-sqlite-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer {
            for suffix in ["", "-wal", "-shm", "-journal"] { unlink("\(directory)/a.db\(suffix)") }
            rmdir(directory)
        }
        try body(try SQLiteConnection(path: "\(directory)/a.db", busyTimeout: 50), "\(directory)/a.db")
    }

    @Test func valuesSurviveTheWay() throws {
        try withDatabase { database, _ in
            try database.execute(script: "CREATE TABLE a (t TEXT, i INTEGER); CREATE TABLE b (x)")
            let texts = ["", "plain", "'; DROP TABLE b; --", "é\u{1F512}", "nul\0inside"]
            for (index, text) in texts.enumerated() {
                try database.execute("INSERT INTO a VALUES (?, ?)", [.text(text), .integer(Int64.max - Int64(index))])
            }
            try database.execute("INSERT INTO a VALUES (NULL, NULL)")
            let found = try database.rows("SELECT t, i FROM a ORDER BY rowid") { ($0.text(0), $0.integer(1), $0.optionalInteger(1)) }
            #expect(found.map(\.0) == texts + [""])
            #expect(found[1].1 == .max - 1)
            #expect(found[5].1 == 0)
            #expect(found[5].2 == nil)
            #expect(try database.rows("SELECT x FROM b") { _ in 0 }.isEmpty)
        }
    }

    @Test func whatFailsLeavesNothing() throws {
        try withDatabase { database, path in
            try database.execute(script: "CREATE TABLE a (i INTEGER UNIQUE); INSERT INTO a VALUES (1)")
            #expect(throws: SQLiteError.self) {
                try database.transaction(.writing) { database in
                    try database.execute("INSERT INTO a VALUES (2)")
                    try database.execute("INSERT INTO a VALUES (1)")
                }
            }
            #expect(try database.rows("SELECT i FROM a") { $0.integer(0) } == [1])
            let error = #expect(throws: SQLiteError.self) { try database.execute("SELECT missing FROM a") }
            #expect(error?.message == "no such column: missing")
            #expect(throws: SQLiteError.self) { try database.execute("") }
            // The next transaction is not inside the one that failed; another process would wait for one that was left open.
            let other = try SQLiteConnection(path: path, busyTimeout: 50)
            try other.transaction(.writing) { try $0.execute("INSERT INTO a VALUES (3)") }
            #expect(try database.transaction(.reading) { try $0.rows("SELECT i FROM a ORDER BY i") { $0.integer(0) } } == [1, 3])
        }
    }

    @Test func twoWritersTakeTurns() throws {
        try withDatabase { database, path in
            try database.execute(script: "CREATE TABLE a (i INTEGER)")
            let other = try SQLiteConnection(path: path, busyTimeout: 1)
            try database.transaction(.writing) { _ in
                let error = #expect(throws: SQLiteError.self) { try other.transaction(.writing) { _ in } }
                #expect(error?.code == 5)  // SQLITE_BUSY
            }
            try other.transaction(.writing) { try $0.execute("INSERT INTO a VALUES (1)") }
        }
    }
}
