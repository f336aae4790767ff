import OCISpec

extension ConfinementResolver {
    private static let devptsGroup: UInt32 = 5  // "tty" in every distribution
    private static let kernelFlags = ["nosuid", "noexec", "nodev"]

    /// All mounts in the order in which they are made: the kernel's, the level's temporary ones, the generated files, then
    /// the user's, parents before children (rule R7: /proc, /dev and /sys come first and are fresh).
    func mounts(in namespace: UserNamespace, network: NetworkReach) throws(ConfinementError) -> [Mount] {
        let chosen = try userMounts(namespace)
        let taken = Set(chosen.map(\.destination))
        var mounts = kernelMounts(namespace, network).filter { !taken.contains($0.destination) }
        for area in level.temporaryFileSystems where !taken.contains(area.path) {
            mounts.append(temporary(area.path, bytes: area.bytes, mode: area.mode))
        }
        let flags = Self.kernelFlags
        for file in request.generatedFiles where !taken.contains(file.destination) {
            mounts.append(
                Mount(
                    destination: file.destination, type: "bind", source: file.source,
                    options: ["bind", "private"] + flags + (rootReadOnly ? ["ro"] : [])))
        }
        return mounts + chosen
    }

    private func kernelMounts(_ namespace: UserNamespace, _ network: NetworkReach) -> [Mount] {
        let flags = Self.kernelFlags
        var mounts: [Mount] = []
        // procfs of the host's PID namespace cannot be mounted from another user namespace: it is bound instead.
        if request.pid == .host {
            mounts.append(Mount(destination: "/proc", type: "bind", source: "/proc", options: ["rbind", "rslave"] + flags))
        } else {
            mounts.append(Mount(destination: "/proc", type: "proc", source: "proc", options: flags))
        }
        mounts.append(
            Mount(
                destination: "/dev", type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]))
        var pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
        switch namespace {
        case .own(_, let gids, _): if Self.isMapped(Self.devptsGroup, gids) { pts.append("gid=\(Self.devptsGroup)") }
        case .host, .at: pts.append("gid=\(Self.devptsGroup)")
        }
        mounts.append(Mount(destination: "/dev/pts", type: "devpts", source: "devpts", options: pts))
        mounts += ipcMounts()
        // sysfs shows the network namespace it is mounted in, and may only be mounted by that one's owner.
        if network == .host {
            mounts.append(Mount(destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rslave"] + flags + ["ro"]))
        } else {
            mounts.append(Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: flags + ["ro"]))
        }
        mounts.append(Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: flags + ["relatime", "ro"]))
        return mounts
    }

    private func ipcMounts() -> [Mount] {
        let flags = Self.kernelFlags
        let size = request.shmSize ?? level.sharedMemoryBytes
        let ownShm = Mount(
            destination: "/dev/shm", type: "tmpfs", source: "shm", options: flags + ["mode=1777", "size=\(size)"])
        let ownQueues = Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: flags)
        switch request.ipc {
        case .private, .shareable: return [ownShm, ownQueues]
        case .none: return [ownQueues]
        case .at: return [ownShm]
        case .host:
            return ["/dev/shm", "/dev/mqueue"].map {
                Mount(destination: $0, type: "bind", source: $0, options: ["rbind", "rslave"] + flags)
            }
        }
    }

    private func temporary(_ path: String, bytes: UInt64?, mode: String) -> Mount {
        let size = bytes.map { ["size=\($0)"] } ?? []
        return Mount(
            destination: path, type: "tmpfs", source: "tmpfs",
            options: (noNewPrivileges ? ["nosuid"] : []) + ["nodev", "mode=\(mode)"] + size)
    }

    // MARK: The user's

    private func userMounts(_ namespace: UserNamespace) throws(ConfinementError) -> [Mount] {
        var mounts: [Mount] = []
        for volume in request.volumes {
            let destination = try Self.clean(volume.destination)
            if mounts.contains(where: { $0.destination == destination }) {
                throw ConfinementError("two mounts have the same destination \(destination)")
            }
            mounts.append(try mount(volume, at: destination, namespace))
        }
        for device in request.devices where device.path != device.hostPath {
            mounts.append(
                Mount(
                    destination: try Self.clean(device.path), type: "bind", source: device.hostPath,
                    options: ["bind", "private", "nosuid", "noexec"]))
        }
        // Parents first, so that no mount hides another; otherwise in the order of the flags.
        return mounts.enumerated().sorted {
            let depths = ($0.element.destination.split(separator: "/").count, $1.element.destination.split(separator: "/").count)
            return depths.0 != depths.1 ? depths.0 < depths.1 : $0.offset < $1.offset
        }.map(\.element)
    }

    /// An absolute path without "." and "..", which the kernel would resolve in the image.
    private static func clean(_ path: String) throws(ConfinementError) -> String {
        guard path.hasPrefix("/"), !path.utf8.contains(0) else {
            throw ConfinementError("the mount destination “\(path)” is not an absolute path")
        }
        let parts = path.split(separator: "/").filter { $0 != "." }
        if parts.contains("..") { throw ConfinementError("the mount destination “\(path)” contains “..”") }
        if parts.isEmpty { throw ConfinementError("nothing can be mounted on /, which is the image itself") }
        return "/" + parts.joined(separator: "/")
    }

    private func mount(_ volume: VolumeRequest, at destination: String, _ namespace: UserNamespace) throws(ConfinementError) -> Mount {
        let source: String
        switch volume.source {
        case .temporary(let bytes, let mode):
            guard !mode.isEmpty, mode.utf8.allSatisfy({ (0x30...0x37).contains($0) }) else {
                throw ConfinementError("--tmpfs \(destination): the mode “\(mode)” is not octal")
            }
            var mount = temporary(destination, bytes: bytes, mode: mode)
            if volume.noExec { mount.options.append("noexec") }
            if volume.readOnly { mount.options.append("ro") }
            return mount
        case .bind(let path), .volume(let path): source = path
        }
        guard source.hasPrefix("/"), !source.utf8.contains(0) else {
            throw ConfinementError("the mount source “\(source)” is not an absolute path")
        }
        var options = [volume.recursive ? "rbind" : "bind", volume.propagation.rawValue]
        // Recursively read-only: a writable mount below the source would stay writable otherwise.
        if volume.readOnly { options.append(volume.recursive ? "rro" : "ro") }
        if noNewPrivileges { options.append("nosuid") }
        options.append("nodev")
        if volume.noExec { options.append("noexec") }
        guard volume.idmap else { return Mount(destination: destination, type: "bind", source: source, options: options) }
        guard case .own(let uids, let gids, _) = namespace else {
            throw ConfinementError("the option idmap of \(destination) needs a user namespace of the container's own")
        }
        return Mount(
            destination: destination, type: "bind", source: source, options: options + ["idmap"], uidMappings: uids,
            gidMappings: gids)
    }
}
