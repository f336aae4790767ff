import CSQLite

/// A statement that SQLite refused, or could not finish.
public struct SQLiteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The extended result code (sqlite.org/rescode.html).
    public let code: Int32
    public let message: String
    public var description: String { message }
}

/// A value that is bound to a parameter of a statement.
public enum SQLiteValue: Sendable, Equatable {
    case text(String)
    case integer(Int64)
}

/// An open database file, used by one thread.
///
/// It is never closed but by the end of its process: closing the last connection would copy the write-ahead log into the database, flush the disk
/// twice and remove both side files, at the end of every command. SQLite does without, and copies when the log has grown.
public final class SQLiteConnection {
    private let handle: OpaquePointer

    /// What a transaction is for.
    public enum Purpose: String {
        /// Sees one state of the database throughout.
        case reading = "BEGIN DEFERRED"
        /// Is the only one that writes from its begin on.
        case writing = "BEGIN IMMEDIATE"
    }

    /// Opens a database file, and makes it where there is none.
    ///
    /// - Parameter busyTimeout: milliseconds to wait for other processes' transactions.
    /// - Throws: `SQLiteError`. A file that is no database is noticed by the first statement.
    public init(path: String, busyTimeout: Int32) throws(SQLiteError) {
        var opened: OpaquePointer?
        let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nil)
        guard let opened else { throw SQLiteError(code: code, message: "out of memory") }
        guard code == SQLITE_OK else {
            let error = SQLiteError(code: code, message: String(cString: sqlite3_errmsg(opened)))
            sqlite3_close_v2(opened)
            throw error
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, busyTimeout)
    }

    /// Runs statements that have no parameters and whose rows nobody wants.
    public func execute(script: String) throws(SQLiteError) {
        try check(sqlite3_exec(handle, script, nil, nil, nil))
    }

    /// Runs one statement whose rows nobody wants.
    public func execute(_ sql: String, _ values: [SQLiteValue] = []) throws(SQLiteError) {
        _ = try rows(sql, values) { _ in }
    }

    /// Runs one statement and makes a value of each of its rows.
    ///
    /// - Parameter values: for the parameters of the statement, in their order.
    public func rows<Value>(_ sql: String, _ values: [SQLiteValue] = [], _ body: (borrowing SQLiteRow) -> Value) throws(SQLiteError) -> [Value] {
        var prepared: OpaquePointer?
        try check(sqlite3_prepare_v2(handle, sql, -1, &prepared, nil))
        guard let statement = prepared else { throw SQLiteError(code: SQLITE_MISUSE, message: "no statement in \"\(sql)\"") }
        defer { sqlite3_finalize(statement) }
        for (index, value) in values.enumerated() {
            let position = Int32(index + 1)
            switch value {
            case .integer(let number): try check(sqlite3_bind_int64(statement, position, number))
            case .text(var text):
                try check(text.withUTF8 { csqlite_bind_text(statement, position, $0.baseAddress, Int32($0.count)) })
            }
        }
        var result: [Value] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: result.append(body(SQLiteRow(statement: statement)))
            case SQLITE_DONE: return result
            default: throw lastError
            }
        }
    }

    /// Runs `body` in a transaction, which is committed when it returns and rolled back when it throws.
    public func transaction<Value>(_ purpose: Purpose, _ body: (SQLiteConnection) throws -> Value) throws -> Value {
        try execute(script: purpose.rawValue)
        do {
            let value = try body(self)
            try execute(script: "COMMIT")
            return value
        } catch {
            // Where SQLite has rolled back itself (a full disk), there is nothing left to roll back; the first failure is the one to report.
            if sqlite3_get_autocommit(handle) == 0 { sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
            throw error
        }
    }

    private func check(_ code: Int32) throws(SQLiteError) {
        if code != SQLITE_OK { throw lastError }
    }

    private var lastError: SQLiteError {
        SQLiteError(code: sqlite3_extended_errcode(handle), message: String(cString: sqlite3_errmsg(handle)))
    }
}

/// One row of a result, as long as its statement stands on it. Columns count from 0.
public struct SQLiteRow: ~Copyable {
    fileprivate let statement: OpaquePointer

    /// The text of a column; NULL is "".
    public func text(_ column: Int32) -> String {
        guard let bytes = sqlite3_column_text(statement, column) else { return "" }
        return String(decoding: UnsafeBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))), as: UTF8.self)
    }

    /// The number of a column; NULL is 0.
    public func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }

    /// The number of a column; NULL is nil.
    public func optionalInteger(_ column: Int32) -> Int64? {
        sqlite3_column_type(statement, column) == SQLITE_NULL ? nil : integer(column)
    }
}
