import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let mounts: Group = [
        ("mount-remount", remountWritable),
        ("mount-unmask", unmask),
        ("mount-tmpfs", mounting("tmpfs")),
        ("mount-bind", bind),
        ("mount-proc", mounting("proc")),
        ("mount-sysfs", mounting("sysfs")),
        ("mount-cgroup1", mountFirstCgroup),
        ("mount-cgroup2", mounting("cgroup2")),
        ("mount-overlay", mounting("overlay", data: "lowerdir=/coffer-probe-nowhere,upperdir=/coffer-probe-nowhere,workdir=/coffer-probe-nowhere")),
        ("mount-fuse", mounting("fuse", data: "fd=-1,rootmode=40000,user_id=0,group_id=0")),
        ("mount-binfmt", mounting("binfmt_misc")),
        ("mount-devpts", mounting("devpts", data: "newinstance")),
        ("mount-mqueue", mounting("mqueue")),
        ("mount-disk", mountDisk),
        ("mount-propagate", changePropagation),
        ("mount-fsopen", opening("fsopen(\"tmpfs\")") { cl_fsopen("tmpfs", 1) }),
        (
            "mount-fspick",
            opening("fspick(\"/\")") { Int32(truncatingIfNeeded: withPath("/") { systemCall(Int(SYS_fspick), UInt(bitPattern: -100), $0, 1) }.value) }
        ),
        ("mount-open-tree", opening("open_tree(\"/\", OPEN_TREE_CLONE)") { cl_open_tree(-100, "/", 1 | 0x8000 | UInt32(O_CLOEXEC)) }),
        ("mount-move", looking("move_mount(-1, -1)") { Reply(cl_move_mount(-1, "", -1, "", 0x44)) }),
        ("mount-setattr", setNoAttribute),
        (
            "mount-pivot-root",
            looking("pivot_root(2) of what does not exist") { Reply(cl_pivot_root("/coffer-probe-nowhere", "/coffer-probe-nowhere")) }
        ),
        ("mount-umount", unmountProc),
        ("mount-over-proc", mountOverProc),
        ("proc-genuine", examineProc),
        ("chroot-escape", leaveRoot),
        ("mount-propagation", findSharedMount),
        ("mount-host-directory", { findHostDirectory($0, writable: false) }),
        ("mount-host-writable", { findHostDirectory($0, writable: true) }),
        ("mount-host-proc", findForeignProc),
        ("mount-kernel-fs", openKernelFileSystem),
    ]

    /// Runs a call with the address of a path.
    static func withPath(_ path: String, _ body: (UInt) -> Reply) -> Reply { path.withCString { body(UInt(bitPattern: $0)) } }

    private static func looking(_ what: String, _ call: @escaping @Sendable () -> Reply) -> Attempt {
        { call().whenItIsLookedAt(what).unlessMissing($0) }
    }

    private static func opening(_ what: String, _ call: @escaping @Sendable () -> Int32) -> Attempt {
        { situation in
            let file = call()
            let reply = Reply(file)
            if file >= 0 { close(file) }
            return reply.whenItSucceeds(what).unlessMissing(situation)
        }
    }

    // MARK: Locked mounts

    private static func remountWritable(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let readOnly = mounts.filter { $0.isReadOnly && !$0.superOptions.contains("ro") }.prefix(64)
        if readOnly.isEmpty { return .absent("nothing is mounted read-only that could be made writable") }
        return situation.withOwnMounts {
            var last: Int32 = 0
            for mount in readOnly {
                let flags = MS_REMOUNT | MS_BIND | mount.keptFlags
                if cl_mount(nil, mount.target, nil, UInt(flags), nil) == 0 {
                    let undone = cl_mount(nil, mount.target, nil, UInt(flags | MS_RDONLY), nil) == 0
                    return .reached("\(mount.target) was made writable\(undone ? "" : ", and could not be made read-only again")")
                }
                last = errno
            }
            return .denied(last, "remounting \(readOnly.count) read-only mounts as writable")
        }
    }

    /// MNT_EXPIRE takes nothing away at the first call: it answers EAGAIN where the mount could go, EBUSY where it is in use (umount2(2)).
    private static func unmask(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let masks = mounts.filter { mount in
            (mount.target.hasPrefix("/proc/") || mount.target.hasPrefix("/sys/"))
                && (mount.type == "tmpfs" || mount.type == "devtmpfs" || mount.root == "/null" || mount.isReadOnly)
                && !mount.target.hasPrefix("/sys/fs/cgroup")
        }.prefix(64)
        if masks.isEmpty { return .absent("no path below /proc or /sys is masked") }
        return situation.withOwnMounts {
            var last: Int32 = 0
            for mask in masks {
                let reply = Reply(cl_umount2(mask.target, MNT_EXPIRE | UMOUNT_NOFOLLOW))
                if reply.succeeded || reply.errno == EAGAIN || reply.errno == EBUSY { return .reached("\(mask.target) could be unmounted") }
                last = reply.errno
            }
            return .denied(last, "unmounting \(masks.count) masks")
        }
    }

    // MARK: The old interface

    /// A directory to mount on; whatever is mounted there goes at once.
    private static var mountPoint: String { status(of: "/tmp")?.isKind(S_IFDIR) == true ? "/tmp" : "/" }

    private static func mounted(
        _ situation: Situation, _ what: String, _ source: String?, _ type: String?, _ flags: Int, _ data: String?, at target: String? = nil
    ) -> Finding {
        situation.withOwnMounts {
            let target = target ?? mountPoint
            let result = source.withOptionalCString { from in
                type.withOptionalCString { kind in data.withOptionalCString { cl_mount(from, target, kind, UInt(flags), $0) } }
            }
            let reply = Reply(result)
            if reply.succeeded && cl_umount2(target, MNT_DETACH) != 0 {
                return .reached("\(what) succeeded, and could not be undone: \(errnoName(errno))")
            }
            if reply.errno == ENODEV { return Finding(.absent, errno: ENODEV, "\(what): this kernel has no such file system") }
            return reply.whenItIsLookedAt(what)
        }
    }

    private static func mounting(_ type: String, data: String? = nil) -> Attempt {
        { mounted($0, "mounting \(type)", "coffer-probe", type, 0, data) }
    }

    private static func bind(_ situation: Situation) -> Finding {
        mounted(situation, "mounting a directory at another place", mountPoint, nil, MS_BIND, nil)
    }

    private static func mountDisk(_ situation: Situation) -> Finding {
        // ENOTBLK, ENOENT: the driver was asked. The names of disk file systems are the kernel's own list.
        let types = (text(of: "/proc/filesystems") ?? "\text4\n").split(separator: "\n").filter { !$0.hasPrefix("nodev") }
        guard let type = types.last.map({ String($0.drop { $0 == "\t" || $0 == " " }) }) else {
            return .absent("this kernel has no file system of a disk")
        }
        return mounted(situation, "mounting \(type) from a disk that does not exist", "/dev/coffer-probe-nowhere", type, 0, nil)
    }

    /// A hierarchy that exists is shown again; none is ever made.
    private static func mountFirstCgroup(_ situation: Situation) -> Finding {
        let lines = (text(of: "/proc/self/cgroup") ?? "").split(separator: "\n")
        let hierarchies = lines.compactMap { $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).dropFirst().first }.filter {
            !$0.isEmpty
        }
        guard let options = hierarchies.first else { return .absent("no control group hierarchy of version 1 is in use") }
        let data = options.hasPrefix("name=") ? "none,\(options)" : String(options)
        return mounted(situation, "mounting the control groups of \(options)", "coffer-probe", "cgroup", 0, data)
    }

    private static func changePropagation(_ situation: Situation) -> Finding {
        situation.withOwnMounts {
            let reply = Reply(cl_mount(nil, "/", nil, UInt(MS_PRIVATE), nil))
            // EINVAL: its root is no mount, so that there is nothing to change, but nothing forbade it.
            return reply.whenItIsLookedAt("making / private")
        }
    }

    // MARK: The new interface

    private static func setNoAttribute(_ situation: Situation) -> Finding {
        var attributes = cl_mount_attr()
        attributes.attr_set = 1
        return Reply(cl_mount_setattr(-100, "/coffer-probe-nowhere", 0, &attributes)).whenItIsLookedAt("mount_setattr(2) of what does not exist")
            .unlessMissing(situation)
    }

    private static func unmountProc(_ situation: Situation) -> Finding {
        situation.withOwnMounts {
            let reply = Reply(cl_umount2("/proc", MNT_EXPIRE | UMOUNT_NOFOLLOW))
            if reply.succeeded || reply.errno == EAGAIN || reply.errno == EBUSY {
                return .reached("/proc could be unmounted (\(errnoName(reply.errno)))")
            }
            return .denied(reply.errno, "unmounting /proc")
        }
    }

    // MARK: What is mounted

    private static func mountOverProc(_ situation: Situation) -> Finding {
        guard status(of: "/proc/sys")?.isKind(S_IFDIR) == true else { return .held("there is no /proc/sys to mount something over") }
        return mounted(situation, "mounting a directory over /proc/sys", mountPoint, nil, MS_BIND, nil, at: "/proc/sys")
    }

    private static func examineProc(_ situation: Situation) -> Finding {
        guard let found = status(of: "/proc") else { return .absent("there is no /proc") }
        if cl_path_magic("/proc") != 0x9fa0 || found.st_ino != 1 {
            return names(in: "/proc").isEmpty ? .absent("/proc is empty") : .reached("/proc is not the root of a procfs")
        }
        let harmless: Set<String> = ["proc", "tmpfs", "devtmpfs", "binfmt_misc", "autofs", "cgroup", "cgroup2"]
        if let other = (situation.mounts ?? []).first(where: { $0.target.hasPrefix("/proc/") && !harmless.contains($0.type) }) {
            return .reached("\(other.target) is a mount of \(other.type)")
        }
        return .held("/proc is a procfs with its root, and nothing strange is mounted in it")
    }

    /// The classical way out: a directory held open outside of the new root.
    private static func leaveRoot(_ situation: Situation) -> Finding {
        guard let before = fileIdentity(of: "/") else { return .inconclusive("its root cannot be looked at: \(errnoName(errno))") }
        guard let directory = names(in: "/").map({ "/\($0)" }).first(where: { linkStatus(of: $0)?.isKind(S_IFDIR) == true }) else {
            return .inconclusive("its root has no directory that could become another root")
        }
        let root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if root < 0 { return .denied(errno, "opening its root") }
        defer { close(root) }
        guard chroot(directory) == 0 else { return .denied(errno, "chroot(\"\(directory)\")") }
        guard fchdir(root) == 0 else { return .denied(errno, "fchdir(2) to the former root") }
        for _ in 0..<64 where chdir("..") != 0 { return .denied(errno, "chdir(\"..\")") }
        guard chroot(".") == 0 else { return .denied(errno, "chroot(\".\")") }
        return fileIdentity(of: "/") == before ? .held("it may call chroot(2), and is still inside") : .reached("its root is another directory now")
    }

    private static func findSharedMount(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let tied = mounts.filter { $0.tags.contains { $0.hasPrefix("shared:") || $0.hasPrefix("master:") } }
        guard let first = tied.first else { return .held("none of \(mounts.count) mounts is shared or a slave") }
        return .reached("\(first.target) is \(first.tags.joined(separator: " ")), \(tied.count) of \(mounts.count) mounts in all")
    }

    private static func findHostDirectory(_ situation: Situation, writable: Bool) -> Finding {
        guard !situation.facts.hostDirectories.isEmpty else { return .inconclusive("the request names no directories of the host") }
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        for target in ["/"] + mounts.map(\.target) {
            guard let found = fileIdentity(of: target),
                let directory = situation.facts.hostDirectories.first(where: { $0.device == found.device && $0.inode == found.inode })
            else { continue }
            if !writable { return .reached("\(directory.path) of the host is mounted at \(target)") }
            if access(target, W_OK) == 0 { return .reached("\(directory.path) of the host is mounted at \(target), and may be written to") }
        }
        return .held("none of \(situation.facts.hostDirectories.count) directories of the host is mounted\(writable ? " and may be written to" : "")")
    }

    private static func findForeignProc(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let procs = mounts.filter { $0.type == "proc" && $0.root == "/" }
        for mount in procs where link(at: "\(mount.target)/self") != "\(getpid())" {
            guard fileIdentity(of: mount.target) != nil, !names(in: mount.target).isEmpty else { continue }
            return .reached("\(mount.target) shows the processes of another namespace")
        }
        return .held("each of \(procs.count) procfs is of its own process namespace")
    }

    private static func openKernelFileSystem(_ situation: Situation) -> Finding {
        guard let mounts = situation.mounts else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        let types: Set<String> = ["debugfs", "tracefs", "securityfs", "bpf", "efivarfs", "configfs", "pstore"]
        let found = mounts.filter { types.contains($0.type) }
        var last: Int32?
        for mount in found {
            let reply = tryOpen(mount.target, O_RDONLY | O_DIRECTORY)
            if reply.succeeded { return .reached("\(mount.type) at \(mount.target) was opened") }
            last = reply.errno
        }
        if let last { return .denied(last, "\(found.count) file systems of the kernel") }
        return .held("none of them is mounted")
    }
}

extension String? {
    /// `withCString` with nil for nil.
    func withOptionalCString<T>(_ body: (UnsafePointer<CChar>?) -> T) -> T {
        if let self { return self.withCString { body($0) } }
        return body(nil)
    }
}
