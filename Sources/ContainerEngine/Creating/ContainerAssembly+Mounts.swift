import Glibc
import LinuxKernel
import OCISpec

extension ContainerAssembly {
    /// Makes and checks the sources of the user's mounts.
    ///
    /// - Returns: lines for the user.
    func prepareMounts(_ spec: RuntimeSpec, owner: UInt32) throws(EngineError) -> [String] {
        var notes: [String] = []
        for mount in details.mounts {
            switch mount.source {
            case .bind(let path):
                try prepareBind(mount, path)
                if mount.changeOwner { try changeOwner(of: path, spec) } else if let note = try ownerNote(mount, path, spec) { notes.append(note) }
            case .volume(let name?): try engine.makeVolume(name, owner: engine.root.isRootful ? 0 : owner)
            case .volume(nil), .tmpfs: break
            }
        }
        return notes
    }

    private func prepareBind(_ mount: MountRequest, _ path: String) throws(EngineError) {
        if access(path, F_OK) == 0 { return }
        guard errno == ENOENT else { throw EngineError("the mount source \(path) cannot be reached: \(KernelError.last("access").reason)") }
        guard mount.createSource else {
            throw EngineError("invalid mount config for type \"bind\": bind source path does not exist: \(path)")
        }
        // As Docker: a directory that -v names is made.
        var partial = ""
        for part in path.split(separator: "/") {
            partial += "/" + part
            if mkdir(partial, 0o755) != 0, errno != EEXIST {
                throw EngineError("the mount source \(path) does not exist and cannot be made: \(KernelError.last("mkdir").reason)")
            }
        }
    }

    /// Why a host directory will not be usable inside, when its owner has no ID there.
    private func ownerNote(_ mount: MountRequest, _ path: String, _ spec: RuntimeSpec) throws(EngineError) -> String? {
        guard let maps = spec.linux?.uidMappings, !mount.idMapped else { return nil }
        var status = stat()
        guard stat(path, &status) == 0 else { throw EngineError("\(path): \(KernelError.last("stat").reason)") }
        // In the owner namespace of a user, 0 is the user; every other owner is unmapped or subordinate.
        let ownerInside: UInt32? = engine.root.isRootful ? status.st_uid : status.st_uid == geteuid() ? 0 : nil
        if let id = ownerInside, maps.contains(where: { id >= $0.hostID && id - $0.hostID < $0.size }) { return nil }
        // Everybody may read it, and more was not asked for.
        if mount.readOnly, status.st_mode & 0o005 == (status.st_mode & S_IFMT == S_IFDIR ? 0o005 : 0o004) { return nil }
        return "\(path) belongs to user \(status.st_uid), who has no ID in the container and appears as nobody there; "
            + "use --userns keep-id to be that user inside, or -v \(path):\(mount.destination):U to give it to the container"
    }

    // MARK: Owners

    /// Host directories that no container may be given.
    private static let systemDirectories: Set<String> = [
        "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
        "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/log",
        "/var/tmp",
    ]

    /// `:U`: the source and everything in it belong to the container's user from now on.
    private func changeOwner(of path: String, _ spec: RuntimeSpec) throws(EngineError) {
        if Self.systemDirectories.contains(path) {
            throw EngineError("-v \(path): a directory of the system cannot be given to a container with :U", remedy: "name a directory of your own")
        }
        let user = spec.process?.user ?? RuntimeSpec.User()
        let isNamed = details.user.split(separator: ":").first.map { UInt32($0) == nil } ?? false
        let uid = Self.host(isNamed ? 0 : user.uid, spec.linux?.uidMappings)
        let gid = Self.host(isNamed ? 0 : user.gid, spec.linux?.gidMappings)
        try OwnedTrees.changeOwner(of: path, uid: uid, gid: gid)
    }

    private static func host(_ id: UInt32, _ maps: [RuntimeSpec.IDMapping]?) -> UInt32 {
        guard let maps else { return id }
        return maps.first { id >= $0.containerID && id - $0.containerID < $0.size }.map { $0.hostID + (id - $0.containerID) } ?? id
    }
}
