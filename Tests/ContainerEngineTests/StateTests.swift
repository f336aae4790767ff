import Glibc
import LinuxKernel
import Testing

@testable import ContainerEngine

/// A state root of a test's own, removed with it.
final class TemporaryRoot {
    let root: StateRoot

    init(isRootful: Bool = true) throws {
        root = StateRoot(path: try TemporaryDirectory().path, isRootful: isRootful)
        try root.prepare()
    }

    deinit {
        // Some tests damage the database on purpose: the engine that clears up gets a fresh one.
        for suffix in ["", "-wal", "-shm"] { unlink(root.database + suffix) }
        try? Engine(root: root, environment: [:]).removeTree(root.path)
    }

    func engine() throws -> Engine { try Engine(root: root, environment: [:]) }
}

func record(_ id: Character, name: String, phase: ContainerRecord.Phase = .created, autoRemove: Bool = false) throws -> ContainerRecord {
    var details = ContainerDetails(request: RunRequest(image: "img"))
    details.arguments = ["sleep", "1000"]
    return ContainerRecord(
        id: String(repeating: id, count: 64), name: name, image: "img", imageID: "sha256:1", created: 1, phase: phase,
        autoRemove: autoRemove, rangeStart: nil, details: try details.encoded())
}

@Suite("State database")
struct StateDatabaseTests {
    @Test func namesAreUnique() throws {
        let state = try TemporaryRoot()
        let database = try state.engine().database
        _ = try database.insert(try record("a", name: "web"), ranges: nil)
        let error = #expect(throws: EngineError.self) { try database.insert(try record("b", name: "web"), ranges: nil) }
        #expect(error?.summary.contains("\"/web\" is already in use") == true)
        #expect(try database.containers().count == 1)
    }

    @Test func aContainerWithoutANameGetsOne() throws {
        let state = try TemporaryRoot()
        let stored = try state.engine().database.insert(try record("a", name: ""), ranges: nil)
        #expect(stored.name.split(separator: "_").count == 2)
    }

    @Test func references() throws {
        let state = try TemporaryRoot()
        let database = try state.engine().database
        _ = try database.insert(try record("a", name: "web"), ranges: nil)
        var second = try record("a", name: "db")
        second.id = "aaa" + String(repeating: "b", count: 61)
        _ = try database.insert(second, ranges: nil)
        #expect(try database.container(named: "web").id.hasPrefix("aaaa"))
        #expect(try database.container(named: "/web").name == "web")
        #expect(try database.container(named: "aaaa").name == "web")
        #expect(try database.container(named: "aaab").name == "db")
        #expect(try database.container(named: second.id).name == "db")
        #expect(throws: EngineError("No such container: nope", code: .failure)) { try database.container(named: "nope") }
        let ambiguous = #expect(throws: EngineError.self) { try database.container(named: "aaa") }
        #expect(ambiguous?.summary == "Multiple IDs found with provided prefix: aaa")
        // What LIKE would have taken for a pattern.
        #expect(throws: EngineError.self) { try database.container(named: "a%") }
        #expect(throws: EngineError.self) { try database.container(named: "") }
    }

    @Test func manyWritersAtOnce() async throws {
        let state = try TemporaryRoot()
        let root = state.root
        let pool = IDRangePool(subuid: "", subgid: "")
        let starts = try await withThrowingTaskGroup(of: UInt32?.self) { group in
            for index in 0..<16 {
                group.addTask {
                    // Each as a command of its own would: with its own connection.
                    let database = try StateDatabase(path: root.database)
                    var row = try record("a", name: "")
                    row.id = String(repeating: String(index, radix: 16), count: 64)
                    return try database.insert(row, ranges: pool).rangeStart
                }
            }
            return try await group.reduce(into: [UInt32?]()) { $0.append($1) }
        }
        #expect(Set(starts.compactMap { $0 }).count == 16)
        #expect(try state.engine().database.containers().count == 16)
    }

    /// Where SQLite does not wait: each has read the new file and wants to change its journal.
    @Test func manyFirstCommandsAtOnce() async throws {
        for _ in 0..<60 {
            let state = try TemporaryRoot()
            let path = state.root.database
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 { group.addTask { _ = try StateDatabase(path: path) } }
                try await group.waitForAll()
            }
        }
    }

    @Test func aNewerSchemaIsRefused() throws {
        let state = try TemporaryRoot()
        let database = try state.engine().database
        try database.write { try $0.execute("PRAGMA user_version = 99") }
        let error = #expect(throws: EngineError.self) { try state.engine() }
        #expect(error?.summary.contains("written by a newer coffer") == true)
    }

    @Test func aDamagedFileIsNamed() throws {
        let state = try TemporaryRoot()
        let file = open(state.root.database, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let text = String(repeating: "no database ", count: 400)
        try #require(write(file, text, text.utf8.count) > 0)
        close(file)
        let error = #expect(throws: EngineError.self) { try state.engine() }
        #expect(error?.summary.contains("state.db") == true)
    }

    @Test func theRootIsClosedToOthers() throws {
        let state = try TemporaryRoot()
        var status = stat()
        try #require(stat(state.root.path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
    }
}

@Suite("ID ranges")
struct IDRangeTests {
    @Test func defaultsLieAboveOthers() {
        let pool = IDRangePool(subuid: "alice:100000:65536\n", subgid: "")
        #expect(pool.firstFree(used: []) == 0x7000_0000)
        #expect(pool.firstFree(used: [0x7000_0000]) == 0x7001_0000)
    }

    @Test func theRangesOfOthersAreLeftAlone() {
        let pool = IDRangePool(subuid: "alice:1879048192:65536\n", subgid: "bob:1879113728:100\n")
        // Alice has the first 65,536, Bob reaches into the next: the first free one begins where Bob's ends.
        #expect(pool.firstFree(used: []) == 1_879_113_828)
    }

    @Test func theLineCofferCounts() {
        let pool = IDRangePool(subuid: "coffer:500000:131072\nalice:100000:65536\n", subgid: "coffer:500000:131072\n")
        #expect(pool.firstFree(used: []) == 500_000)
        #expect(pool.firstFree(used: [500_000]) == 565_536)
        #expect(pool.firstFree(used: [500_000, 565_536]) == nil)
    }

    @Test func aLineForUsersOnlyDoesNotCount() {
        let pool = IDRangePool(subuid: "coffer:500000:131072\n", subgid: "")
        #expect(pool.firstFree(used: []) == 0x7000_0000)
    }

    @Test func linesThatAreNoneAreSkipped() {
        let pool = IDRangePool(subuid: "broken\na:b:c\ncoffer:-5:10\n:::\n", subgid: "coffer:1:0\n")
        #expect(pool.firstFree(used: []) == 0x7000_0000)
    }

    @Test func removingAContainerFreesItsRange() throws {
        let state = try TemporaryRoot()
        let database = try state.engine().database
        let pool = IDRangePool(subuid: "coffer:500000:65536\n", subgid: "coffer:500000:65536\n")
        let first = try database.insert(try record("a", name: "a"), ranges: pool)
        #expect(first.rangeStart == 500_000)
        let error = #expect(throws: EngineError.self) { try database.insert(try record("b", name: "b"), ranges: pool) }
        #expect(error?.summary.contains("no free range") == true)
        #expect(try database.containers().count == 1)
        try database.delete(first.id)
        #expect(try database.insert(try record("b", name: "b"), ranges: pool).rangeStart == 500_000)
    }
}
