import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let namespaces: Group = [
        ("ns-user-unshare", unsharing(CLONE_NEWUSER, "unshare(CLONE_NEWUSER)")),
        ("ns-user-clone", cloneUser),
        ("ns-user-clone3", cloneUserByStructure),
        ("ns-mount-unshare", unsharing(CLONE_NEWNS, "unshare(CLONE_NEWNS)")),
        ("ns-network-unshare", unsharing(CLONE_NEWNET, "unshare(CLONE_NEWNET)")),
        ("ns-pid-unshare", unsharing(CLONE_NEWPID, "unshare(CLONE_NEWPID)")),
        ("ns-cgroup-unshare", unsharing(CLONE_NEWCGROUP, "unshare(CLONE_NEWCGROUP)")),
        ("ns-time-unshare", unsharing(CLONE_NEWTIME, "unshare(CLONE_NEWTIME)")),
        ("ns-uts-unshare", unsharing(CLONE_NEWUTS, "unshare(CLONE_NEWUTS)")),
        ("ns-ipc-unshare", unsharing(CLONE_NEWIPC, "unshare(CLONE_NEWIPC)")),
        ("ns-setns", enterOwnNamespace),
        ("ns-foreign-open", openForeignNamespace),
        ("ns-same-mount", sameNamespace("mnt")),
        ("ns-same-pid", sameNamespace("pid")),
        ("ns-same-network", sameNamespace("net")),
        ("ns-same-ipc", sameNamespace("ipc")),
        ("ns-same-uts", sameNamespace("uts")),
        ("ns-same-user", sameNamespace("user")),
        ("ns-same-cgroup", sameNamespace("cgroup")),
        ("ns-same-time", { sameNamespace("time")($0).asInformation }),
        ("pid-view", seeHostProcess),
        ("pid-signal", signalHostProcess),
        ("pid-pidfd", holdHostProcess),
        ("id-host-root", mapHostRoot),
        ("id-caller", mapCaller),
        ("id-full-range", becomeLastUser),
    ]

    private static func unsharing(_ flag: Int, _ what: String) -> Attempt {
        { Reply(cl_unshare(UInt64(flag))).whenItSucceeds(what).unlessMissing($0) }
    }

    private static func cloneUser(_ situation: Situation) -> Finding {
        let reply = systemCall(Int(SYS_clone), UInt(CLONE_NEWUSER) | UInt(SIGCHLD))
        return afterClone(reply, "clone(CLONE_NEWUSER)", situation)
    }

    private static func cloneUserByStructure(_ situation: Situation) -> Finding {
        var arguments = cl_clone_args()
        arguments.flags = UInt64(CLONE_NEWUSER)
        arguments.exit_signal = UInt64(SIGCHLD)
        let reply = Reply(cl_clone3(&arguments))
        return afterClone(reply, "clone3(CLONE_NEWUSER)", situation)
    }

    private static func afterClone(_ reply: Reply, _ what: String, _ situation: Situation) -> Finding {
        if reply.succeeded && reply.value == 0 { _exit(0) }
        if reply.succeeded, case .notMade(let number) = awaitChild(Int32(reply.value)) {
            return .inconclusive("\(what) succeeded, and its child could not be waited for: \(errnoName(number))")
        }
        return reply.whenItSucceeds(what).unlessMissing(situation)
    }

    private static func enterOwnNamespace(_ situation: Situation) -> Finding {
        var file = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC)
        // Without a /proc, a process is named by a descriptor too (Linux 5.8).
        if file < 0 { file = cl_pidfd_open(getpid(), 0) }
        if file < 0 { return .denied(errno, "a descriptor of its own namespace") }
        defer { close(file) }
        return Reply(cl_setns(file, Int32(CLONE_NEWUTS))).whenItSucceeds("setns(2) into its own UTS namespace")
    }

    private static func openForeignNamespace(_ situation: Situation) -> Finding {
        var denial: Int32?
        var seen = 0
        for pid in ForeignProcesses.visible(situation) {
            seen += 1
            for kind in ["mnt", "user", "net", "pid", "ipc", "uts"] {
                let file = open("/proc/\(pid)/ns/\(kind)", O_RDONLY | O_CLOEXEC)
                if file < 0 {
                    denial = errno
                    continue
                }
                defer { close(file) }
                var found = stat()
                guard fstat(file, &found) == 0 else { continue }
                if pid == situation.facts.hostProcess?.pid || FileIdentity(found) != fileIdentity(of: "/proc/self/ns/\(kind)") {
                    return .reached("the \(kind) namespace of process \(pid), which is not the container's, was opened")
                }
            }
        }
        return ForeignProcesses.finding(seen, denial, "their namespaces")
    }

    private static func sameNamespace(_ kind: String) -> Attempt {
        { situation in
            guard let host = situation.facts.namespaces[kind] else {
                return .inconclusive("the request does not say which \(kind) namespace is the host's")
            }
            guard let own = fileIdentity(of: "/proc/self/ns/\(kind)") else {
                let number = errno
                if number == ENOENT && fileIdentity(of: "/proc/self/ns/user") != nil { return .absent("this kernel has no \(kind) namespaces") }
                return .inconclusive("/proc/self/ns/\(kind): \(errnoName(number))")
            }
            return own.inode == host
                ? .reached("its \(kind) namespace is \(own.inode), the host's") : .held("its \(kind) namespace is \(own.inode), the host's \(host)")
        }
    }

    // MARK: Processes of the host

    /// Whether the number belongs to the canary and not to a process of the twin that happens to have it; nil where that is not to be seen.
    private static func isCanary(_ canary: HostProcess) -> Bool? {
        text(of: "/proc/\(canary.pid)/comm").map { $0.hasPrefix(canary.name.prefix(15)) && $0.utf8.count <= canary.name.utf8.count + 1 }
    }

    private static func seeHostProcess(_ situation: Situation) -> Finding {
        guard let canary = situation.facts.hostProcess else { return .inconclusive("the request names no process of the host") }
        switch head(of: "/proc/\(canary.pid)/comm") {
        case .failure(let error):
            if access("/proc/\(canary.pid)", F_OK) == 0 { return .reached("/proc/\(canary.pid) is there") }
            return .denied(error.errno, "/proc/\(canary.pid)/comm")
        case .success:
            return isCanary(canary) == true
                ? .reached("/proc/\(canary.pid) is the host's process “\(canary.name)”") : .held("number \(canary.pid) is another process here")
        }
    }

    private static func signalHostProcess(_ situation: Situation) -> Finding {
        guard let canary = situation.facts.hostProcess else { return .inconclusive("the request names no process of the host") }
        let reply = Reply(kill(canary.pid, 0))
        if reply.succeeded && isCanary(canary) == false { return .held("number \(canary.pid) is another process here") }
        return reply.whenItSucceeds("kill(\(canary.pid), 0)")
    }

    private static func holdHostProcess(_ situation: Situation) -> Finding {
        guard let canary = situation.facts.hostProcess else { return .inconclusive("the request names no process of the host") }
        let file = cl_pidfd_open(canary.pid, 0)
        let reply = Reply(file)
        if file >= 0 { close(file) }
        if reply.succeeded && isCanary(canary) == false { return .held("number \(canary.pid) is another process here") }
        return reply.whenItSucceeds("pidfd_open(\(canary.pid))")
    }

    // MARK: Identity

    /// What an owner without a number here is shown as.
    private static func nobody() -> UInt32 {
        text(of: "/proc/sys/kernel/overflowuid").flatMap { UInt32($0.prefix { $0.isNumber }) } ?? 65534
    }

    /// Files of the kernel belong to root of the first user namespace.
    private static func mapHostRoot(_ situation: Situation) -> Finding {
        for path in ["/proc/sys/kernel", "/sys/kernel", "/proc"] where [0x9fa0, 0x6265_6572].contains(cl_path_magic(path)) {
            guard let found = status(of: path) else { continue }
            return found.st_uid == nobody()
                ? .held("\(path), which belongs to root of the host, belongs to nobody here (\(found.st_uid))")
                : .reached("root of the host is user \(found.st_uid) here: \(path) belongs to it")
        }
        return .inconclusive("there is neither a /proc nor a /sys whose owner could be asked")
    }

    private static func mapCaller(_ situation: Situation) -> Finding {
        guard let path = situation.facts.callerFile else { return .inconclusive("the request names no file of the caller") }
        guard let found = status(of: path) else { return .inconclusive("\(path): \(errnoName(errno))") }
        return found.st_uid == nobody()
            ? .held("\(path), which belongs to the caller, belongs to nobody here (\(found.st_uid))")
            : .reached("the caller is user \(found.st_uid) here: \(path) belongs to it")
    }

    private static func becomeLastUser(_ situation: Situation) -> Finding {
        let last: UInt32 = 4_294_967_294
        return Reply(cl_setresuid(last, last, last)).whenItSucceeds("setresuid(\(last))")
    }
}

/// Processes that are not the container's own.
enum ForeignProcesses {
    /// The canary first, then processes in other namespaces than this one and those that do not show their namespaces; 64 at the most.
    static func visible(_ situation: Situation) -> [Int32] {
        let own = ["mnt", "pid", "user"].map { link(at: "/proc/self/ns/\($0)") }
        var found: [Int32] = []
        if let canary = situation.facts.hostProcess, text(of: "/proc/\(canary.pid)/comm")?.hasPrefix(canary.name.prefix(15)) == true {
            found.append(canary.pid)
        }
        let ancestors = ownProcesses()
        for name in names(in: "/proc") {
            guard let pid = Int32(name), !ancestors.contains(pid), !found.contains(pid), found.count < 64 else { continue }
            // A process of the container shows the same three, or hides them: then the attempts find out.
            if ["mnt", "pid", "user"].map({ link(at: "/proc/\(pid)/ns/\($0)") }) != own { found.append(pid) }
        }
        return found
    }

    /// This process, its parents and its siblings that the program started: not what is looked for.
    private static func ownProcesses() -> Set<Int32> {
        var pids: Set<Int32> = [getpid()]
        var pid = getppid()
        while pid > 0 && pids.insert(pid).inserted {
            guard let line = text(of: "/proc/\(pid)/stat"), let rest = line.lastIndex(of: ")") else { break }
            pid = line[rest...].split(separator: " ").dropFirst(2).first.flatMap { Int32($0) } ?? 0
        }
        // Process 1 may be a stranger also where it is an ancestor: the host's.
        if getppid() != 1 { pids.remove(1) }
        return pids
    }

    /// What is to be said when none of them let itself be opened.
    static func finding(_ seen: Int, _ denial: Int32?, _ what: String) -> Finding {
        if let denial { return .denied(denial, "\(what), of \(seen) processes") }
        return .held(seen == 0 ? "no process but the container's own is to be seen" : "none of \(seen) processes shows \(what)")
    }
}
