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
    /// Told, in one sentence with its remedy, of what is damaged and was passed over.
    public let warn: @Sendable (String) -> Void

    /// Opens the state below `root`, whose directories exist.
    ///
    /// - Throws: `EngineError` when the database cannot be opened.
    public init(
        root: StateRoot, environment: [String: String], warn: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(EngineError) {
        self.root = root
        self.environment = environment
        self.warn = warn
        database = try StateDatabase(path: root.database)
    }

    /// A container, its directory and what it is doing.
    public struct Container: Sendable {
        public let record: ContainerRecord
        public let directory: ContainerDirectory
        public let status: ContainerStatus

        /// What is stored with the row; nil when that cannot be read.
        var details: ContainerDetails? {
            do { return try ContainerDetails(decoding: record.details, of: record.name) } catch { return nil }
        }

        /// - Throws: `EngineError` for a damaged container, which can only be removed.
        func checkIntact() throws(EngineError) {
            guard case .damaged(let reason) = status else { return }
            throw EngineError(
                "container \(record.name) is damaged (\(reason))", remedy: "remove it: coffer rm -f \(record.name)", code: .failure)
        }
    }

    /// The container that a user means by name, ID or the beginning of an ID, with its true status.
    ///
    /// - Throws: `EngineError` when there is none, or several.
    public func container(_ reference: String) throws(EngineError) -> Container {
        let record = try database.container(named: reference)
        guard let container = try settled(record) else { throw .noSuchContainer(reference) }
        return container
    }

    /// As `container`, for what needs more of it than its row.
    ///
    /// - Throws: `EngineError` when there is none, or several, or it is damaged.
    func intactContainer(_ reference: String) throws(EngineError) -> Container {
        let found = try container(reference)
        try found.checkIntact()
        return found
    }

    /// Every container, newest first, after reconciliation. One that is damaged does not hide the others: it is listed as such.
    public func containers() throws(EngineError) -> [Container] {
        let records = try database.containers()
        var result: [Container] = []
        for record in records {
            guard let container = try settled(record) else { continue }
            result.append(container)
            do throws(EngineError) {
                try container.checkIntact()
                let _: ContainerDetails = try ContainerDetails(decoding: record.details, of: record.name)
            } catch {
                warn(error.description)
            }
        }
        do throws(EngineError) {
            try sweepDirectories(known: Set(records.map(\.id)))
        } catch {
            warn(error.description)
        }
        return result
    }

    /// What the container is doing now, by its lock and its state file. Changes nothing.
    func status(of record: ContainerRecord, _ directory: ContainerDirectory) throws(EngineError) -> ContainerStatus {
        switch record.phase {
        case .creating, .probing: return .creating
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
