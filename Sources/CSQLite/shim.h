#include <sqlite3.h>

// SQLITE_TRANSIENT is a cast of -1 to a function, which Swift does not import: SQLite copies the text before this returns. An empty text may have no
// address, which SQLite would take for NULL.
static inline int csqlite_bind_text(sqlite3_stmt *statement, int position, const unsigned char *text, int length) {
    return sqlite3_bind_text(statement, position, text ? (const char *)text : "", length, SQLITE_TRANSIENT);
}
