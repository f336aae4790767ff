import Glibc
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
        for volume in orphans { try removeVolume(volume) }
    }

    /// `rm`: removes a container that does not run; with `force` it is killed first.
    ///
    /// - Throws: `EngineError` when it runs and `force` is false.
    public func remove(_ reference: String, force: Bool, volumes: Bool) throws(EngineError) {
        let container = try container(reference)
        let name = container.record.name
        if container.status.isRunning {
            let word = container.status.word
            guard force else {
                throw EngineError(
                    "cannot remove container \"/\(name)\": container is \(word)",
                    remedy: "stop the container before removing or force remove", code: .failure)
            }
            try end(container, signal: .kill, timeout: 0)
        }
        guard let lock = try takeLock(container, waiting: 10_000) else {
            throw EngineError("cannot remove container \"/\(name)\": another command is working on it", code: .failure)
        }
        try erase(container.record, volumes: volumes || container.record.autoRemove)
        _ = consume lock
    }

    /// The container's lock, or nil when somebody else holds it for longer than `waiting` milliseconds.
    func takeLock(_ container: Container, waiting: Int) throws(EngineError) -> ContainerLock? {
        do {
            for attempt in 0...waiting {
                if let lock = try ContainerLock.take(container.directory.lock, create: attempt == 0) { return lock }
                usleep(1000)
            }
            return nil
        } catch {
            // The directory went with another command's removal.
            if error.errno == ENOENT { throw .noSuchContainer(container.record.name) }
            throw EngineError("\(container.directory.lock) cannot be locked: \(error.reason)")
        }
    }

    /// Removes a volume's directory and its row.
    func removeVolume(_ name: String) throws(EngineError) {
        try removeTree(root.volumes + "/" + name)
        try database.deleteVolume(name)
    }

    /// Removes a tree of the engine. A user's containers own files that the user may not remove; those go in the owner
    /// namespace, and only when they must: it costs a process.
    func removeTree(_ path: String) throws(EngineError) {
        do {
            try TreeRemoval.remove(path)
        } catch {
            guard !root.isRootful, error.errno == EACCES || error.errno == EPERM else {
                throw EngineError("\(path) cannot be removed: \(error.reason)")
            }
            try OwnedTrees.remove(path)
        }
    }
}

/// Removal of a directory tree without following links and without crossing into what is mounted.
public enum TreeRemoval {
    /// Removes `path` and everything below it; a path that does not exist is no error.
    public static func remove(_ path: String) throws(KernelError) {
        guard let slash = path.lastIndex(of: "/") else { throw KernelError(call: "unlink", errno: EINVAL, subject: path) }
        let parent: FileDescriptor
        do {
            parent = try FileDescriptor.open(String(path[..<slash]), O_RDONLY | O_DIRECTORY)
        } catch {
            if error.errno == ENOENT { return }
            throw error
        }
        try remove(String(path[path.index(after: slash)...]), in: parent)
    }

    private static func remove(_ name: String, in parent: borrowing FileDescriptor) throws(KernelError) {
        if unlinkat(parent.rawValue, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw .last("unlink", name) }
        if unlinkat(parent.rawValue, name, AT_REMOVEDIR) == 0 || errno == ENOENT { return }
        guard errno == ENOTEMPTY || errno == EEXIST else { throw .last("rmdir", name) }
        let directory = try openDirectory(name, in: parent)
        for entry in try entries(of: directory) { try remove(entry, in: directory) }
        if unlinkat(parent.rawValue, name, AT_REMOVEDIR) != 0, errno != ENOENT { throw .last("rmdir", name) }
    }

    private static func openDirectory(_ name: String, in parent: borrowing FileDescriptor) throws(KernelError) -> FileDescriptor {
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        do {
            return try parent.open(at: name, flags)
        } catch {
            guard error.errno == EACCES else { throw error }
            // overlayfs makes its work directory with mode 000.
            if fchmodat(parent.rawValue, name, 0o700, 0) != 0 { throw .last("chmod", name) }
            return try parent.open(at: name, flags)
        }
    }

    static func entries(of directory: borrowing FileDescriptor) throws(KernelError) -> [String] {
        let copy = try directory.duplicate()
        guard let stream = fdopendir(copy.release()) else { throw .last("fdopendir") }
        defer { closedir(stream) }
        rewinddir(stream)
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
