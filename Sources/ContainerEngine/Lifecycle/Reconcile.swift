import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// Reconciliation: what a killed command, monitor or machine left behind is found by its free lock, and taken away or
/// listed as what it is.
extension Engine {
    /// The container with its true status, `damaged` where that cannot be found out; nil when it turned out to be a leftover
    /// that is now gone.
    ///
    /// - Throws: `EngineError` when the database cannot be used.
    func settled(_ record: ContainerRecord) throws(EngineError) -> Container? {
        do throws(EngineError) {
            return try reconciled(record)
        } catch {
            // The row may have gone meanwhile; a database that fails fails here as well.
            guard let current = try database.container(id: record.id) else { return nil }
            return Container(record: current, directory: root.container(record.id), status: .damaged(error.summary))
        }
    }

    ///
    /// A row claims something only together with its lock: a command that creates or a monitor that runs holds it. A row
    /// that claims to be at work while its lock is free is a leftover.
    private func reconciled(_ record: ContainerRecord) throws(EngineError) -> Container? {
        let directory = root.container(record.id)
        switch record.phase {
        case .probing:
            try settleProbe(record)
            return nil
        case .created: return Container(record: record, directory: directory, status: .created)
        case .started where record.monitorLostAt != nil, .launching where record.monitorLostAt != nil:
            return Container(record: record, directory: directory, status: try status(of: record, directory))
        default: break
        }
        // An ended container keeps its state file; only one that should be removed is of interest then.
        let found: ContainerStatus
        do throws(EngineError) {
            found = try status(of: record, directory)
        } catch {
            found = .damaged(error.summary)
        }
        if case .exited = found, !record.autoRemove { return Container(record: record, directory: directory, status: found) }
        do {
            guard let lock = try ContainerLock.take(directory.lock) else {
                return Container(record: record, directory: directory, status: found)
            }
            return try settle(record, directory, lock)
        } catch let error as KernelError {
            // Without directory or lock file nobody can be at work on it, unless the row is so new that both are still to come.
            guard error.errno == ENOENT else { throw EngineError("\(directory.lock) cannot be locked: \(error)") }
            return try settleUnlocked(record, directory, found)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(directory.path): \(error)")
        }
    }

    /// Decides about a row whose lock we now hold, so that no other command decides at the same time.
    private func settle(
        _ record: ContainerRecord, _ directory: ContainerDirectory, _ lock: borrowing ContainerLock
    ) throws(EngineError) -> Container? {
        // The row may have changed while we came to the lock.
        guard let current = try database.container(id: record.id) else { return nil }
        switch current.phase {
        case .created: return Container(record: current, directory: directory, status: .created)
        case .creating, .removing, .probing:
            try erase(current)
            return nil
        case .started, .launching: break
        }
        let state: RuntimeState?
        do throws(EngineError) {
            state = try RuntimeState.load(directory.state)
        } catch {
            // Nothing has to be known of what goes anyway.
            guard current.autoRemove else { throw error }
            state = nil
        }
        if let state, state.status == .exited {
            if current.autoRemove {
                try erase(current)
                return nil
            }
            return Container(record: current, directory: directory, status: .exited(state))
        }
        try killLeftovers(state, current)
        if current.autoRemove {
            try erase(current)
            return nil
        }
        // Never seen running: as if `run` or `start` had not been called.
        guard let state else {
            if current.phase == .launching {
                try erase(current)
                return nil
            }
            try database.setPhase(.created, of: current.id)
            return Container(record: current, directory: directory, status: .created)
        }
        let now = nanosecondsNow()
        try database.setMonitorLost(at: now, of: current.id)
        return Container(record: current, directory: directory, status: .lost(state, at: now))
    }

    /// A row without a lock file. The row is written first, then the directory: for a moment that is how a live `create`
    /// looks. It is given a second.
    private func settleUnlocked(
        _ record: ContainerRecord, _ directory: ContainerDirectory, _ found: ContainerStatus
    ) throws(EngineError) -> Container? {
        // Only one who runs has a state that says so: its lock file was taken from under it.
        if found.isRunning { throw EngineError("\(directory.lock) is missing") }
        let age = nanosecondsNow() - record.created
        if record.phase == .creating || record.phase == .launching, age >= 0, age < 1_000_000_000 {
            return Container(record: record, directory: directory, status: .creating)
        }
        try erase(record)
        return nil
    }

    /// Ends what a dead monitor may have left: whoever is in its cgroups, and its recorded processes if they still are the
    /// ones that were recorded (start times differ when a PID is used again).
    func killLeftovers(_ state: RuntimeState?, _ record: ContainerRecord) throws(EngineError) {
        try killLeftovers(state, groups: try plannedGroups(record))
    }

    /// - Parameter planned: groups that exist and are to go.
    func killLeftovers(_ state: RuntimeState?, groups planned: [String]) throws(EngineError) {
        do {
            if let state, state.bootID == Self.bootID() {
                for (pid, ticks) in [(state.monitorPid, state.monitorStartTicks), (state.pid, state.pidStartTicks)] where pid > 1 {
                    try Self.kill(pid, startedAt: ticks)
                }
            }
            let groups = Array(Set(planned + (state?.cgroupPaths ?? [])))
            try Self.killAll(in: groups)
            try CgroupDirectories.remove(groups)
        } catch {
            throw EngineError("leftovers of a dead monitor cannot be removed: \(error)")
        }
    }

    /// The cgroups that the container was to have and that exist: a monitor that died between making them and writing its
    /// state has left them without a word. The row knows their names; the bundle may be incomplete, or changed since.
    private func plannedGroups(_ record: ContainerRecord) throws(EngineError) -> [String] {
        let path: String
        do throws(EngineError) {
            path = try ContainerDetails(decoding: record.details, of: record.name).request.security.cgroupPath(of: record.id)
        } catch {
            path = SecurityRequest().cgroupPath(of: record.id)
        }
        return try existingGroups(path)
    }

    /// The groups of a path that exist, whoever made them.
    func existingGroups(_ path: String) throws(EngineError) -> [String] {
        do {
            return try GroupManager.candidates(cgroupsPath: path, rootless: !root.isRootful).filter { access($0, F_OK) == 0 }
        } catch {
            throw EngineError("the cgroups of this machine cannot be read: \(error)")
        }
    }

    private static func kill(_ pid: Int32, startedAt ticks: UInt64) throws(KernelError) {
        let process: FileDescriptor
        do {
            process = try Processes.open(pid)
        } catch {
            if error.errno == ESRCH { return }
            throw error
        }
        // The descriptor holds the process; only now is the start time that of the process we would signal.
        guard try Processes.startTicks(of: pid) == ticks else { return }
        do {
            try Processes.signal(process, SIGKILL)
        } catch {
            if error.errno != ESRCH { throw error }
        }
    }

    static func killAll(in cgroups: [String]) throws(KernelError) {
        // Frozen processes do not die before they are thawed.
        do {
            guard try CgroupDirectories.setFrozen(false, cgroups) || !cgroups.isEmpty else { return }
        } catch {
            if error.errno != ENOENT && error.errno != ENODEV { throw error }
        }
        // Where the kernel has it, one write ends all, and no new one slips through meanwhile.
        if try CgroupDirectories.kill(cgroups) { return }
        for _ in 0..<100 {
            var pids = Set<Int32>()
            for directory in cgroups {
                do {
                    pids.formUnion(try CgroupDirectories.processes(in: directory))
                } catch {
                    if error.errno != ENOENT && error.errno != ENODEV { throw error }
                }
            }
            if pids.isEmpty { return }
            for pid in pids where Glibc.kill(pid, SIGKILL) != 0 && errno != ESRCH { throw .last("kill", "\(pid)") }
            usleep(5_000)
        }
    }

    /// What a monitor runs when a `--rm` container has ended and nobody is attached: removes it. The monitor waits for this,
    /// so its lock is held on our behalf; taking it would wait for ever.
    ///
    /// - Parameter path: the state root.
    /// - Returns: the exit code.
    public static func removeEnded(in path: String, id: String) -> Int32 {
        do {
            let engine = try Engine(root: StateRoot(path: path), environment: [:])
            guard let record = try engine.database.container(id: id), record.autoRemove else { return 0 }
            try engine.erase(record)
            return 0
        } catch {
            return 1
        }
    }

    /// The running boot's ID (random(4)).
    static func bootID() -> String {
        do {
            let bytes = try readFile("/proc/sys/kernel/random/boot_id", limit: 64)
            return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        } catch {
            return ""
        }
    }

    /// Removes directories below `containers/` that no row knows: their rows were lost with the power.
    func sweepDirectories(known: Set<String>) throws(EngineError) {
        let names: [String]
        do {
            names = try DirectoryListing.names(of: root.containers)
        } catch {
            throw EngineError("\(root.containers) cannot be read: \(error.reason)")
        }
        for name in names where name.utf8.count == 64 && !known.contains(name) {
            // A container created since the rows were read is no stranger.
            if try database.container(id: name) != nil { continue }
            do {
                guard let lock = try ContainerLock.take(root.container(name).lock) else { continue }
                try removeTree(root.container(name).path)
                _ = consume lock
            } catch let error as KernelError where error.errno == ENOENT || error.errno == ENOTDIR {
                try removeTree(root.container(name).path)
            } catch {
                warn("\(root.containers)/\(name) belongs to no container: \(error); remove it")
            }
        }
    }
}
