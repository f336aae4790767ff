import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// The end of a container: its processes, its groups, its record.
public struct ContainerDeletion {
    private let directory: ContainerDirectory
    private let record: ContainerRecord

    public init(_ directory: ContainerDirectory, _ record: ContainerRecord) {
        self.directory = directory
        self.record = record
    }

    /// Kills what still runs, and waits until it is gone.
    public func end() throws {
        if record.state.pid > 0 { try endFirst() }
        // Where the pid namespace is another's, the death of the first process takes nobody along.
        try ContainerProcesses(record.state.cgroupPaths).signalAll(SIGKILL)
    }

    private func endFirst() throws {
        guard let process = try openFirst() else { return }
        try kill(process)
        if try !hasEnded(process.rawValue) {
            throw PlanError("container \(record.id): process \(record.state.pid) does not end after SIGKILL")
        }
    }

    /// The first process of a pid namespace stays until the parents of all others have taken note of their ends, which one of them may never
    /// do (pid_namespaces(7)). It is through with itself by then, and runs nothing.
    private func hasEnded(_ pidfd: Int32) throws(KernelError) -> Bool {
        for _ in 0..<Self.patience {
            var ended = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
            if try retrying("poll", "", { poll(&ended, 1, 500) }) > 0 { return true }
            guard let entry = try Processes.entry(of: record.state.pid), entry.startTicks == record.state.pidStartTicks else { return true }
            if entry.isExiting { return true }
        }
        return false
    }

    /// Half seconds.
    private static let patience = 20

    private func openFirst() throws(KernelError) -> FileDescriptor? {
        // Opened before it is compared: the number cannot become another's in between.
        guard let process = try Processes.openIfPresent(record.state.pid) else { return nil }
        if try Processes.startTicks(of: record.state.pid) != record.state.pidStartTicks { return nil }
        return process
    }

    private func kill(_ process: borrowing FileDescriptor) throws {
        try Processes.signalIfPresent(process, SIGKILL)
        // A frozen process takes no signal, not even this one (cgroup v1).
        if try CgroupDirectories.isFrozen(record.state.cgroupPaths) {
            guard try CgroupDirectories.setFrozen(false, record.state.cgroupPaths) else { return }
        }
    }

    /// Removes everything that the runtime made, then runs the `poststop` hooks. Nothing may run any more.
    ///
    /// - Parameter creationWasKilled: it could not clean up after itself, nor write down what it had made.
    /// - Returns: what went wrong with hooks: a warning, the container is gone all the same (runtime-spec, "Lifecycle").
    public func remove(creationWasKilled: Bool = false) throws -> [String] {
        let (spec, complaints) = configuration()
        try CgroupDirectories.remove(record.state.cgroupPaths)
        try record.hostMount?.remove()
        if creationWasKilled, let path = record.groupPath, UserNamespaces.isInitial { try removeGroups(path) }
        try directory.remove()
        let state = RuntimeContainerState(
            ociVersion: record.ociVersion, id: record.id, status: .stopped, pid: nil, bundle: record.bundle, annotations: spec?.annotations)
        return complaints + HookRunner.runAfterEnd(spec?.hooks?.poststop ?? [], state)
    }

    /// The end of a container whose record is damaged: what lives in the groups that its configuration names is its own, and goes with them. Hooks
    /// are not run: nobody can tell them of what.
    public static func removeUnreadable(_ directory: ContainerDirectory) throws {
        var path = ContainerDirectory.ownGroup(directory.id)
        do {
            let spec = try Bundle.read(directory: directory.path, configuration: "\(directory.path)/\(RuntimeSpec.fileName)").spec
            if let named = spec.linux?.cgroupsPath, !named.isEmpty { path = named.hasPrefix("/") || named.contains(":") ? named : "/" + named }
        } catch {
            // None is kept, or it is damaged too: then the group that it would have without one.
        }
        let components = path.split(separator: "/")
        let isOwn = !components.isEmpty && !components.contains("..") && !components.contains(".")
        let groups =
            isOwn
            ? try GroupManager.candidates(cgroupsPath: path, rootless: !UserNamespaces.isInitial || geteuid() != 0)
                .filter { access($0, F_OK) == 0 } : []
        for group in groups {
            try CgroupDirectories.setFrozen(false, [group])
            try ContainerProcesses([group]).signalAll(SIGKILL)
        }
        try CgroupDirectories.remove(groups)
        try directory.remove()
    }

    /// Those in which nobody lives: another container may have the same path.
    private func removeGroups(_ path: String) throws {
        for mountPoint in Set(try CgroupMounts.detect().controllers.values) {
            let group = mountPoint + (path.hasPrefix("/") ? path : "/" + path)
            if access(group, F_OK) == 0, try CgroupDirectories.allProcesses(in: group).isEmpty { try CgroupDirectories.remove([group]) }
        }
    }

    /// The kept configuration; a creation that was killed at once has none. One that is damaged keeps nobody from removing the container.
    private func configuration() -> (spec: RuntimeSpec?, complaints: [String]) {
        do {
            return (try directory.configuration(record).spec, [])
        } catch let failure as LaunchFailure where failure.errno == ENOENT {
            return (nil, [])
        } catch {
            return (nil, ["the poststop hooks of \(record.id) are unknown and were not run: \(error)"])
        }
    }
}

/// Every process in a container's groups.
public struct ContainerProcesses {
    private let groups: [String]

    public init(_ groups: [String]) { self.groups = groups }

    /// In groups below too. Numbers as the caller's pid namespace has them.
    public func list() throws -> [Int32] {
        guard let group = groups.first else { return [] }
        do {
            return try Set(CgroupDirectories.allProcesses(in: group)).sorted()
        } catch  where error.errno == ENOENT {
            return []
        }
    }

    /// Signals all. One that has ended meanwhile is no error.
    public func signalAll(_ number: Int32) throws {
        for pid in try list() {
            guard let process = try Processes.openIfPresent(pid) else { continue }
            try Processes.signalIfPresent(process, number)
        }
    }
}
