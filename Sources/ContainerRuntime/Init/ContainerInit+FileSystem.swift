import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension ContainerInit {
    /// Assembles the root and attaches it where it can be pivoted to.
    mutating func makeRoot(_ source: RootStep, _ index: Int) throws {
        let tree: FileDescriptor
        switch source {
        case .directory:
            guard let raw = prepared.trees.removeValue(forKey: index) else { throw LaunchFailure(.root, "no root directory") }
            tree = FileDescriptor(owning: raw)
            // Without a mount namespace the runtime has mounted it already, and knows it again (`HostMount`).
            if !plan.sharesMounts { try attach(tree, at: nil) }
        case .overlay(let overlay):
            tree = try overlayMount(overlay)
            try attach(tree, at: "root")
        }
        root = RootDirectory(tree)
        try checkSpecialDirectories()
    }

    private func attach(_ tree: borrowing FileDescriptor, at name: String?) throws {
        let raw = stage.rawValue
        let from = tree.rawValue
        try performing(.root, "attaching the root") {
            try retrying("move_mount") { cl_move_mount(from, "", raw, name ?? "", 0x4 | (name == nil ? 0x40 : 0)) }
        }
    }

    /// Overlay with relative names in the staging directory: short, and nothing of the host's paths in mountinfo.
    private func overlayMount(_ overlay: OverlayRoot) throws -> FileDescriptor {
        let raw = stage.rawValue
        try performing(.root, "entering the staging directory") { try retrying("fchdir") { fchdir(raw) } }
        return try performing(.root, "mounting the overlay root") {
            do {
                return try overlayMount(overlay, oneByOne: true)
            } catch let error as KernelError where error.errno == EINVAL {
                return try overlayMount(overlay, oneByOne: false)
            }
        }
    }

    /// - Parameter oneByOne: `lowerdir+` (Linux 6.5), which has no limit. Before, overlayfs takes any option and refuses it at the end.
    private func overlayMount(_ overlay: OverlayRoot, oneByOne: Bool) throws -> FileDescriptor {
        let context = try FileSystemContext("overlay")
        let names = overlay.lowerDirectories.indices.map { "l\($0)" }
        if oneByOne {
            for name in names { try context.set("lowerdir+", name) }
        } else {
            try context.set("lowerdir", names.joined(separator: ":"))
        }
        try context.set("upperdir", "rw/upper")
        try context.set("workdir", "rw/work")
        if plan.newNamespaces.contains("user") { try context.set(flag: "userxattr") }  // Linux 5.11
        return try context.mount([.noSetuid, .noDevices])
    }

    /// /proc, /sys and /dev of an image must be real directories or absent (rule R7, CVE-2019-16884, CVE-2026-41579).
    private func checkSpecialDirectories() throws {
        for name in ["/proc", "/sys", "/dev"] {
            let raw = root.descriptor.rawValue
            var status = stat()
            if fstatat(raw, String(name.dropFirst()), &status, AT_SYMLINK_NOFOLLOW) != 0 { continue }
            if status.st_mode & S_IFMT != S_IFDIR {
                throw LaunchFailure(.root, "\(name) of the image is not a directory: it must be mounted on ordinary directory", subject: name)
            }
        }
    }

    mutating func makeMount(_ mount: MountStep, _ index: Int) throws {
        if let reason = prepared.missing[index] {
            results.append(.init(step: index, result: .unavailable(reason)))
            return
        }
        switch mount.source {
        case .bind: try attachBind(mount, index)
        case .inside(let path, let recursive): try attachInside(mount, path, recursive: recursive, index)
        case .controlGroups: try mountGroups(mount, index)
        case .fileSystem(let type, let options): try mountFileSystem(mount, type, options, index)
        }
    }

    /// What may be mounted over in the container's own procfs: what lxcfs serves, as runc has it.
    private static let coverable = [
        "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
        "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid",
    ]

    static let procMagic = 0x9fa0  // PROC_SUPER_MAGIC

    /// Resolved in the root. A mount point that turns out to lie in the procfs, by whatever links, is refused: programs and
    /// runtimes write there and would write into the mounted file (CVE-2019-16884, CVE-2023-27561, CVE-2025-52881).
    ///
    /// - Parameter followsLink: where a link at the path's end leads, not the link.
    func mountPoint(_ path: String, directory: Bool, followsLink: Bool = true) throws -> FileDescriptor {
        let target = followsLink ? directory ? try root.makeDirectories(path) : try root.makeFile(path) : try ownMountPoint(path)
        let raw = target.rawValue
        let isProcess = try retrying("fstatfs", path) { cl_filesystem_magic(raw) } == Self.procMagic
        if isProcess, path != "/proc", !Self.coverable.contains(path) {
            throw LaunchFailure(.mount, "\(path) lies inside /proc of the container: nothing may be mounted there", subject: path)
        }
        return target
    }

    private mutating func mountFileSystem(_ mount: MountStep, _ type: String, _ options: [MountOption], _ index: Int) throws {
        if mount.destination == "/proc", type != "proc" {
            throw LaunchFailure(.mount, "only a procfs may be mounted on /proc of the container", subject: "/proc")
        }
        var options = options
        if type == "tmpfs", !options.contains(where: { $0.key == "mode" }), let mode = try permissions(of: mount.destination) {
            options.append(MountOption(key: "mode", value: String(mode, radix: 8)))
        }
        let target = try performing(.mount, "mounting \(type) on \(mount.destination)") {
            let target = try mountPoint(mount.destination, directory: true)
            // Only a real directory of the root takes these: a link would move them (CVE-2019-19921).
            if type == "proc" || type == "sysfs" { return try root.openWithoutLinks(mount.destination, RootDirectory.pathOnly | O_DIRECTORY) }
            return target
        }
        let tree = try performing(.mount, "mounting \(type) on \(mount.destination)") {
            let context = try FileSystemContext(type)
            for option in options {
                if let value = option.value { try context.set(option.key, value) } else { try context.set(flag: option.key) }
            }
            return try context.mount(MountAttributes(rawValue: mount.setAttributes & ~1))
        }
        if mount.copyUp {
            try performing(.mount, "copying up into \(mount.destination)") { try copyTree(from: target, to: tree) }
        }
        try performing(.mount, "mounting \(type) on \(mount.destination)") {
            if type == "tmpfs" && mount.destination == "/dev" { try linkStandardStreams(in: tree) }
            try Mounts.attach(tree, on: target)
        }
        // tmpfs is read-only only after what belongs in it was made: device nodes, links, mount points.
        if mount.setAttributes & 1 != 0, type != "tmpfs" || mount.destination != "/dev" {
            try performing(.mount, "making \(mount.destination) read-only") {
                try Mounts.setAttributes(tree, set: .readOnly, recursive: false)
            }
        }
    }

    /// Of a directory of the image, or nil when there is none: a tmpfs takes them over unless it was told others (as runc and crun have it).
    private func permissions(of path: String) throws -> UInt32? {
        let found = try performing(.mount, "looking at \(path)") { try root.openIfPresent(path, RootDirectory.pathOnly) }
        guard let found else { return nil }
        let status = try found.status()
        return status.st_mode & S_IFMT == S_IFDIR ? UInt32(status.st_mode & 0o7777) : nil
    }

    /// /dev/fd, stdin, stdout, stderr, core, ptmx (runtime-spec, "Default Devices" and /dev symbolic links).
    private func linkStandardStreams(in dev: borrowing FileDescriptor) throws {
        let raw = dev.rawValue
        let links = [
            ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr"),
            ("pts/ptmx", "ptmx"),
        ]
        for (target, name) in links { try retrying("symlinkat", name) { symlinkat(target, raw, name) } }
    }

    private mutating func mountGroups(_ mount: MountStep, _ index: Int) throws {
        let trees = prepared.groupTrees
        if prepared.mountsUnified { return try mountUnified(mount, index) }
        if let (name, tree) = trees.first, name.isEmpty {
            try performing(.mount, "mounting control groups on \(mount.destination)") {
                try Mounts.attach(FileDescriptor(owning: tree), on: try mountPoint(mount.destination, directory: true))
            }
            return
        }
        try performing(.mount, "mounting control groups on \(mount.destination)") {
            let target = try mountPoint(mount.destination, directory: true)
            let context = try FileSystemContext("tmpfs")
            try context.set("mode", "0755")
            let top = try context.mount([.noSetuid, .noDevices, .noExecute])
            let raw = top.rawValue
            // Mount points too, for what the configuration mounts here besides (podman: the hierarchy "systemd"), while they can be made.
            let names = Set(trees.map(\.controller)).union(namesMounted(below: mount.destination))
            for name in names { try retrying("mkdirat", name) { mkdirat(raw, name, 0o755) } }
            try Mounts.attach(top, on: target)
            for (controller, tree) in trees {
                try retrying("move_mount", controller) { cl_move_mount(tree, "", raw, controller, 0x4) }
            }
            try Mounts.setAttributes(top, set: .readOnly, recursive: false)
        }
        if trees.isEmpty {
            results.append(.init(step: index, result: .partial("empty: the container has no control groups of its own")))
        }
    }

    private func namesMounted(below directory: String) -> [String] {
        plan.steps.compactMap { step in
            guard case .mount(let mount) = step, mount.destination.hasPrefix(directory + "/") else { return nil }
            let name = mount.destination.dropFirst(directory.count).split(separator: "/").first.map(String.init)
            return name == "." || name == ".." ? nil : name
        }
    }

    /// A mount of this process's control group namespace: its own group is all that there is.
    private mutating func mountUnified(_ mount: MountStep, _ index: Int) throws {
        try performing(.mount, "mounting control groups on \(mount.destination)") {
            let target = try mountPoint(mount.destination, directory: true)
            let context = try FileSystemContext("cgroup2")
            try Mounts.attach(try context.mount(MountAttributes(rawValue: mount.setAttributes)), on: target)
        }
    }

    mutating func makeDevice(_ device: DeviceStep, _ index: Int) throws {
        try performing(.device, "device \(device.path)") {
            if let raw = prepared.trees.removeValue(forKey: index) {
                let tree = FileDescriptor(owning: raw)
                try Mounts.attach(tree, on: try mountPoint(device.path, directory: false))
                return
            }
            // Of the container's own devpts; --privileged lists the host's (runtime-spec, "Default Devices").
            if device.path == "/dev/ptmx" { return }
            try makeNode(device)
        }
    }

    private func makeNode(_ device: DeviceStep) throws {
        let components = device.path.split(separator: "/")
        guard let name = components.last.map(String.init) else { throw KernelError(call: "mknodat", errno: EINVAL) }
        let parent = try root.makeDirectories("/" + components.dropLast().joined(separator: "/"))
        let raw = parent.rawValue
        let kind = device.type == "b" ? S_IFBLK : device.type == "p" ? S_IFIFO : S_IFCHR
        let number = UInt64(deviceNumber(device.major, device.minor))
        // The mode comes with the node: a chmod by name would follow a link that somebody has put there meanwhile, in a directory that is shared.
        let umask = cl_umask(0)
        defer { cl_umask(UInt32(umask)) }
        if cl_mknodat(raw, name, UInt32(kind) | (device.mode & 0o7777), number) != 0 {
            // What lies there already is taken, as it is, only when it is the very device.
            let number = errno
            var found = stat()
            guard number == EEXIST, fstatat(raw, name, &found, AT_SYMLINK_NOFOLLOW) == 0, found.st_mode & S_IFMT == kind,
                kind == S_IFIFO || found.st_rdev == deviceNumber(device.major, device.minor)
            else { throw KernelError(call: "mknodat", errno: number, subject: device.path) }
            return
        }
        if device.uid == 0 && device.gid == 0 { return }
        try retrying("fchownat", device.path) { fchownat(raw, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW) }
    }

    func makeReadOnly(_ path: String) throws {
        try performing(.readOnlyPath, "making \(path) read-only") {
            guard let target = try root.openIfPresent(path, RootDirectory.pathOnly) else { return }  // nothing there to protect
            let tree = try Mounts.cloneTree(target, recursive: true)
            try Mounts.setAttributes(tree, set: [.readOnly, .noSetuid, .noDevices, .noExecute], recursive: true)
            try Mounts.attach(tree, on: target)
        }
    }

    func makeMask(_ path: String) throws {
        try performing(.mask, "masking \(path)") {
            guard let target = try root.openIfPresent(path, RootDirectory.pathOnly) else { return }  // nothing there to hide
            if try target.status().st_mode & S_IFMT == S_IFDIR {
                let context = try FileSystemContext("tmpfs")
                try context.set("size", "0")
                try context.set("mode", "0555")
                let empty = try context.mount([.readOnly, .noSetuid, .noDevices, .noExecute])
                try Mounts.attach(empty, on: target)
                return
            }
            let null = prepared.nullDevice
            let copy = try cloneOrFirst(null)
            try Mounts.attach(copy, on: target)
        }
    }

    /// Before Linux 6.15 only an attached mount can be cloned: the first mask attaches the original, later ones copy it.
    private func cloneOrFirst(_ tree: Int32) throws(KernelError) -> FileDescriptor {
        let copy = cl_open_tree(tree, "", 1 | UInt32(O_CLOEXEC) | 0x1000)
        if copy >= 0 { return FileDescriptor(owning: copy) }
        if errno != EINVAL { throw .last("open_tree", "/dev/null") }
        return FileDescriptor(owning: try retrying("fcntl") { cl_fcntl(tree, F_DUPFD_CLOEXEC, 3) })
    }

    mutating func pivot(_ target: PivotStep) throws {
        for step in plan.steps {
            if case .workingDirectory(let path) = step { try makeWorkingDirectory(path) }
        }
        try resolveIdentity()
        let raw = root.descriptor.rawValue
        try performing(.pivot, "switching the root") {
            for step in plan.steps {
                guard case .mount(let mount) = step, mount.destination == "/dev", mount.setAttributes & 1 != 0 else { continue }
                try Mounts.setAttributes(try root.open("/dev", RootDirectory.pathOnly), set: .readOnly, recursive: false)
            }
            if target.readOnly { try Mounts.setAttributes(root.descriptor, set: .readOnly, recursive: false) }
            if target.moves, !target.sharesMounts { try hideHostSystems() }
            try retrying("fchdir") { fchdir(raw) }
            if target.sharesMounts {
                try Mounts.changeRootToWorkingDirectory()
            } else if target.moves {
                try Mounts.moveWorkingDirectoryToRoot()
            } else {
                try Mounts.pivotToWorkingDirectory()
            }
            guard let propagation = target.propagation.flatMap(MountPropagation.init(rawValue:)) else { return }
            try Mounts.setPropagation(propagation, recursive: target.recursivePropagation)
        }
        root = RootDirectory(.none)
        stage = .none
    }

    /// Where the old root stays below, so does the host's /proc without masks, and would let a nested user namespace mount another such
    /// (mount_too_revealing in fs/namespace.c). Those that lie in the new root are the container's own.
    private func hideHostSystems() throws {
        let own = try ownEntry()
        let number = try procfs.openBeneath("\(own)/fdinfo/\(root.descriptor.rawValue)", O_RDONLY).readAll(limit: 4096)
        let table = try procfs.openBeneath("\(own)/mountinfo", O_RDONLY).readAll(limit: 64 << 20)
        guard let top = String(decoding: number, as: UTF8.self).split(separator: "\n").first(where: { $0.hasPrefix("mnt_id:") }) else {
            throw LaunchFailure(.pivot, "the kernel does not say which mount the root is")
        }
        for point in Self.outsideSystems(String(decoding: table, as: UTF8.self), root: top.dropFirst(7).drop { $0 == "\t" }).reversed() {
            if cl_umount2(point, 2) == 0 || errno == ENOENT { continue }  // MNT_DETACH
            // In a user namespace the host's mounts are locked: covered then.
            try retrying("mount", point) { cl_mount("none", point, "tmpfs", 1, "size=0,mode=0") }  // MS_RDONLY
        }
    }

    /// Mount points of every procfs and sysfs that does not lie below a mount, by its number (proc_pid_mountinfo(5)).
    static func outsideSystems(_ table: String, root: Substring) -> [String] {
        var inside: Set<Substring> = [root]
        var result: [String] = []
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 1, fields.count > 4 else { continue }
            if inside.contains(fields[1]) { inside.insert(fields[0]) }
            if !inside.contains(fields[0]), ["proc", "sysfs"].contains(fields[dash + 1]) { result.append(String(fields[4])) }
        }
        return result
    }

    private func makeWorkingDirectory(_ path: String) throws {
        do {
            try performing(.workingDirectory, "making the working directory \(path)") {
                let made = try root.makeDirectories(path)
                try made.close()
            }
        } catch let failure as LaunchFailure where failure.errno == EROFS || failure.errno == EACCES || failure.errno == EPERM {
            // Entering it will say what is wrong, if anything is.
        }
    }
}
