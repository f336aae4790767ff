import Glibc
import ImageStore
import LinuxKernel

/// Volumes of their own: `volume create`, `rm`, `prune`.
extension Engine {
    /// `volume create`. One that exists stays as it is, as Docker's.
    ///
    /// - Parameter name: nil makes an anonymous one.
    /// - Returns: its name.
    public func createVolume(_ name: String?, labels: [String: String]) throws(EngineError) -> String {
        let chosen = try name.map { name throws(EngineError) in try VolumeName.validated(name) } ?? Self.newID()
        let isNew = try database.insertVolume(chosen, created: nanosecondsNow(), isAnonymous: name == nil, labels: labels)
        if isNew || access(root.volumeData(chosen), F_OK) != 0 { try makeVolume(chosen, owner: root.isRootful ? 0 : 1) }
        return chosen
    }

    /// Makes a volume's directory, empty: under another name first, so that whoever finds it finds it whole.
    ///
    /// - Parameter owner: as the owner namespace counts. Rootful volumes keep the image's own IDs, as layers do, and are shifted
    ///   when they are mounted.
    func makeVolume(_ name: String, owner: UInt32) throws(EngineError) {
        let data = root.volumeData(name)
        if access(data, F_OK) == 0 { return }
        let new = "\(root.volumes)/.new-\(Self.newID())"
        do {
            try retrying("mkdir", new) { mkdir(new, 0o700) }
            try TreeOperations().makeOverlayDirectories([new + "/_data"], owner: owner)
            if Glibc.rename(new, root.volumes + "/" + name) == 0 { return }
            // Another command has made it meanwhile.
            guard errno == EEXIST || errno == ENOTEMPTY else { throw KernelError.last("rename", new) }
        } catch {
            let failure = EngineError("volume \(name) cannot be made: \(error)")
            try removeTree(new)
            throw failure
        }
        try removeTree(new)
    }

    /// `volume rm`: removes a volume that no container uses.
    ///
    /// The directory is renamed while the row still protects it: a command that is killed leaves a volume, or a directory that
    /// no volume's name leads to.
    public func removeVolume(_ name: String) throws(EngineError) {
        guard try database.volumes().contains(where: { $0.name == name }) else { throw .noSuchVolume(name) }
        let directory = root.volumes + "/" + name
        let doomed = "\(root.volumes)/.removed-\(Self.newID())"
        try database.deleteVolume(name) {
            if Glibc.rename(directory, doomed) != 0, errno != ENOENT {
                throw EngineError("\(directory) cannot be removed: \(KernelError.last("rename").reason)")
            }
        }
        try removeTree(doomed)
    }

    /// `volume prune`: removes what no container uses and `isWanted` picks, and what killed commands left.
    ///
    /// - Returns: the names, and the bytes that came free.
    public func pruneVolumes(_ isWanted: (VolumeRecord) -> Bool) throws(EngineError) -> (names: [String], bytes: Int64) {
        var names: [String] = []
        var bytes: Int64 = 0
        for volume in try database.volumes() where volume.users.isEmpty && isWanted(volume) {
            do throws(EngineError) {
                let size = volumeSize(volume.name) ?? 0
                try removeVolume(volume.name)
                names.append(volume.name)
                bytes += size
            } catch {
                warn(error.description)
            }
        }
        for name in try directories(of: root.volumes) where isLeftover(name) { try removeTree(root.volumes + "/" + name) }
        return (names, bytes)
    }

    /// What a killed command left. One that is being made now is a moment old.
    private func isLeftover(_ name: String) -> Bool {
        if name.hasPrefix(".removed-") { return true }
        var status = stat()
        guard name.hasPrefix(".new-"), lstat(root.volumes + "/" + name, &status) == 0 else { return false }
        return nanosecondsNow() / 1_000_000_000 - Int64(status.st_mtim.tv_sec) > 3600
    }

    /// Bytes that a volume occupies on disk; nil, with a warning, where that cannot be read.
    public func volumeSize(_ name: String) -> Int64? {
        do {
            if access(root.volumeData(name), F_OK) != 0, errno == ENOENT { return 0 }
            return try TreeOperations().diskUsage(root.volumeData(name))
        } catch {
            warn("the size of volume \(name) cannot be read: \(error)")
            return nil
        }
    }

    private func directories(of path: String) throws(EngineError) -> [String] {
        guard let stream = opendir(path) else { throw EngineError("\(path) cannot be read: \(KernelError.last("opendir").reason)") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names
    }

    /// `container prune`: removes every container that does not run.
    ///
    /// - Returns: the IDs, and the bytes that came free.
    public func pruneContainers() throws(EngineError) -> (ids: [String], bytes: Int64) {
        var ids: [String] = []
        var bytes: Int64 = 0
        for container in try containers() {
            switch container.status {
            case .created, .exited, .lost: break
            case .creating, .running, .removing, .damaged: continue
            }
            do throws(EngineError) {
                let size = try writableSize(of: container)
                try remove(container.record.id, force: false, volumes: false)
                ids.append(container.record.id)
                bytes += size
            } catch {
                warn(error.description)
            }
        }
        return (ids, bytes)
    }
}

extension EngineError {
    /// No volume has this name; Docker's text.
    static func noSuchVolume(_ name: String) -> EngineError { EngineError("get \(name): no such volume", code: .failure) }
}
