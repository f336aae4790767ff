import Glibc
import LaunchPlan
import LinuxKernel

/// Containers as users know them: create, start, list, stop, remove. One value per command; several commands work on the
/// same state root at once.
///
/// There is no daemon. The row in the database is written before anything else exists, so that whatever a killed command
/// leaves behind is known, and the next command takes it away (see `reconcile`).
public struct Engine {
    public let root: StateRoot
    /// The caller's environment.
    public let environment: [String: String]
    public let database: StateDatabase

    /// Opens the state below `root`, whose directories exist.
    ///
    /// - Throws: `EngineError` when the database cannot be opened.
    public init(root: StateRoot, environment: [String: String]) throws(EngineError) {
        self.root = root
        self.environment = environment
        database = try StateDatabase(path: root.database)
    }

    /// A container, its directory and what it is doing.
    public struct Container: Sendable {
        public let record: ContainerRecord
        public let directory: ContainerDirectory
        public let status: ContainerStatus
    }

    /// The container that a user means by name, ID or the beginning of an ID, with its true status.
    ///
    /// - Throws: `EngineError` when there is none, or several.
    public func container(_ reference: String) throws(EngineError) -> Container {
        let record = try database.container(named: reference)
        guard let container = try settled(record) else { throw .noSuchContainer(reference) }
        return container
    }

    /// Every container, newest first, after reconciliation.
    public func containers() throws(EngineError) -> [Container] {
        let records = try database.containers()
        var result: [Container] = []
        for record in records {
            if let container = try settled(record) { result.append(container) }
        }
        try sweepDirectories(known: Set(records.map(\.id)))
        return result
    }

    /// What the container is doing now, by its lock and its state file. Changes nothing.
    func status(of record: ContainerRecord, _ directory: ContainerDirectory) throws(EngineError) -> ContainerStatus {
        switch record.phase {
        case .creating: return .creating
        case .created: return .created
        case .removing: return .removing
        case .started, .launching: break
        }
        let state = try RuntimeState.load(directory.state)
        if let lostAt = record.monitorLostAt { return .lost(state, at: lostAt) }
        guard let state else { return .creating }
        if state.status == .exited { return .exited(state) }
        do {
            return .running(state, paused: try CgroupDirectories.isFrozen(state.cgroupPaths))
        } catch {
            throw EngineError("the freezer of container \(record.name) cannot be read: \(error)")
        }
    }
}

/// Nanoseconds since the epoch, now.
func nanosecondsNow() -> Int64 {
    var value = timespec()
    clock_gettime(CLOCK_REALTIME, &value)
    return Int64(value.tv_sec) * 1_000_000_000 + Int64(value.tv_nsec)
}
