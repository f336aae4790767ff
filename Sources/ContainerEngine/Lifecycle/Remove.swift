import Glibc
import ImageStore
import LinuxKernel

extension Engine {
    /// Removes a container's directory and then its row. The caller holds its lock, or knows that nobody can.
    ///
    /// The row goes last: as long as it is there, whatever is left will be found.
    ///
    /// - Parameter volumes: remove its anonymous volumes too.
    func erase(_ record: ContainerRecord, volumes: Bool = true) throws(EngineError) {
        try removeTree(root.container(record.id).path)
        let orphans = volumes && record.hasVolumes ? try database.anonymousVolumes(onlyOf: record.id) : []
        try database.delete(record.id)
        for volume in orphans {
            do throws(EngineError) {
                try removeVolume(volume)
            } catch {
                // Another command may be faster.
                if error != .noSuchVolume(volume) { throw error }
            }
        }
    }

    /// `rm`: removes a container that does not run; with `force` it is killed first.
    ///
    /// - Throws: `EngineError` when it runs and `force` is false.
    public func remove(_ reference: String, force: Bool, volumes: Bool) throws(EngineError) {
        let container = try container(reference)
        let name = container.record.name
        if !force { try container.checkIntact() }
        if force, isDamaged(container) { return try removeDamaged(container, volumes: volumes) }
        if container.status.isRunning {
            let word = container.status.word
            guard force else {
                throw EngineError(
                    "cannot remove container \"/\(name)\": container is \(word)",
                    remedy: "stop the container before removing or force remove", code: .failure)
            }
        }
        do throws(EngineError) {
            if container.status.isRunning { try end(container, signal: .kill, timeout: 0) }
            try eraseLocked(container, volumes: volumes)
        } catch {
            // One that removes itself (--rm), or of a command that was killed on its way, may be gone: that is what was asked for.
            if force, try isGone(container) { return }
            throw error
        }
    }

    /// Whether a container disappears within a second. A row whose directory is missing after that belongs to a command that
    /// was killed between the two: it goes now.
    private func isGone(_ container: Container) throws(EngineError) -> Bool {
        for _ in 0..<120 {
            if try database.container(id: container.record.id) == nil { return true }
            usleep(10_000)
        }
        guard access(container.directory.lock, F_OK) != 0, errno == ENOENT else { return false }
        try erase(container.record)
        return true
    }

    /// Whether the usual way would fail: the state says nothing, or what should be the lock file is none.
    private func isDamaged(_ container: Container) -> Bool {
        switch container.status {
        // On its way, or running without the file that would say so.
        case .damaged, .creating: return true
        default: break
        }
        do {
            let _: Bool = try ContainerLock.isHeld(container.directory.lock)
            return false
        } catch {
            return true
        }
    }

    /// Removes a container of which nothing but its row can be relied on: its monitor is found by its command line, and
    /// everything in it ends with that.
    private func removeDamaged(_ container: Container, volumes: Bool) throws(EngineError) {
        try killMonitors(of: container)
        try killLeftovers(nil, container.record)
        let lock: ContainerLock?
        do throws(EngineError) {
            lock = try takeLock(container, waiting: 2_000)
        } catch {
            // What should be a lock file is none: nobody can hold it.
            return try erase(container.record, volumes: volumes || container.record.autoRemove)
        }
        guard let lock else {
            throw EngineError("cannot remove container \"/\(container.record.name)\": another command is working on it", code: .failure)
        }
        try erase(container.record, volumes: volumes || container.record.autoRemove)
        _ = consume lock
    }

    /// Ends every monitor that serves the container. A process that only calls itself so ends itself.
    private func killMonitors(of container: Container) throws(EngineError) { try killMonitors(ofBundle: container.directory.path) }

    /// - Parameter path: the container's directory.
    func killMonitors(ofBundle path: String) throws(EngineError) {
        let wanted = Array("coffer-runtime\0monitor\0--bundle\0\(path)\0".utf8)
        do {
            for pid in try Processes.all() {
                guard try Processes.commandLine(of: pid)?.starts(with: wanted) ?? false else { continue }
                let process = try Processes.open(pid)
                // The descriptor holds the process; only now is the command line that of the process we would signal.
                guard try Processes.commandLine(of: pid)?.starts(with: wanted) ?? false else { continue }
                try Processes.signal(process, SIGKILL)
            }
        } catch {
            if error.errno != ESRCH { throw EngineError("the monitor of \(path) cannot be ended: \(error)") }
        }
    }

    private func eraseLocked(_ container: Container, volumes: Bool) throws(EngineError) {
        let name = container.record.name
        guard let lock = try takeLock(container, waiting: 10_000) else {
            throw EngineError("cannot remove container \"/\(name)\": another command is working on it", code: .failure)
        }
        try erase(container.record, volumes: volumes || container.record.autoRemove)
        _ = consume lock
    }

    /// The container's lock, or nil when somebody else holds it for longer than `waiting` milliseconds.
    func takeLock(_ container: Container, waiting: Int) throws(EngineError) -> ContainerLock? {
        do {
            // A monitor that is ending lets go within microseconds; only who works longer is asked less often.
            for attempt in 0...(waiting + 20) {
                if let lock = try ContainerLock.take(container.directory.lock, create: attempt == 0) { return lock }
                usleep(attempt < 20 ? 50 : 1000)
            }
            return nil
        } catch {
            // The directory went with another command's removal.
            if error.errno == ENOENT { throw .noSuchContainer(container.record.name) }
            throw EngineError("\(container.directory.lock) cannot be locked: \(error.reason)")
        }
    }

    /// Removes a tree of the engine.
    func removeTree(_ path: String) throws(EngineError) {
        do {
            try TreeOperations().remove(path)
        } catch {
            throw EngineError("\(path) cannot be removed: \(error)")
        }
    }
}
