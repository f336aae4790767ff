import Glibc
import Probe

extension Attempts {
    static let cgroups: Group = [
        ("cgroup-release-agent", openInGroups(["release_agent"])),
        ("cgroup-notify", openInGroups(["notify_on_release"])),
        ("cgroup-mkdir", makeGroup),
        ("cgroup-procs", openInGroups(["cgroup.procs"])),
        (
            "cgroup-limits",
            openInGroups([
                "memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us", "memory.swap.max", "cgroup.subtree_control",
            ])
        ),
        ("cgroup-devices", openInGroups(["devices.allow"])),
        ("cgroup-writable", findWritableGroup),
    ]

    /// Where control groups are mounted.
    private static func groups(_ situation: Situation) -> [MountEntry]? {
        situation.mounts?.filter { $0.type == "cgroup" || $0.type == "cgroup2" }
    }

    private static func openInGroups(_ names: [String]) -> Attempt {
        { situation in
            guard let mounts = groups(situation) else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
            if mounts.isEmpty { return .held("no control groups are mounted") }
            var denial: Int32?
            for mount in mounts {
                for name in names {
                    let reply = tryOpen("\(mount.target)/\(name)", O_WRONLY)
                    if reply.succeeded { return .reached("\(mount.target)/\(name) was opened for writing") }
                    if reply.errno != ENOENT { denial = reply.errno }
                }
            }
            return .denied(denial ?? ENOENT, "\(names[0]) in \(mounts.count) hierarchies")
        }
    }

    private static func makeGroup(_ situation: Situation) -> Finding {
        guard let mounts = groups(situation) else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        if mounts.isEmpty { return .held("no control groups are mounted") }
        var denial: Int32 = ENOENT
        for mount in mounts {
            let path = "\(mount.target)/coffer-probe-\(getpid())"
            if mkdir(path, 0o700) == 0 {
                return rmdir(path) == 0
                    ? .reached("a control group was made in \(mount.target)")
                    : .reached("a control group was made in \(mount.target), and could not be removed: \(errnoName(errno))")
            }
            denial = errno
        }
        return .denied(denial, "mkdir(2) in \(mounts.count) hierarchies")
    }

    private static func findWritableGroup(_ situation: Situation) -> Finding {
        guard let mounts = groups(situation) else { return .inconclusive("no mounts are to be seen in /proc/self/mountinfo") }
        guard let writable = mounts.first(where: { !$0.isReadOnly && !$0.superOptions.contains("ro") }) else {
            return .held(mounts.isEmpty ? "no control groups are mounted" : "each of \(mounts.count) hierarchies is read-only")
        }
        return .reached("\(writable.target) is mounted writable")
    }
}
