import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// One behaviour for each capability that matters, with arguments that the kernel refuses after it has asked for the capability.
    static let capabilities: Group = [
        ("cap-sys-admin", looking("sethostname(2) with length -1") { systemCall(Int(SYS_sethostname), 0, minusOne) }),
        ("cap-sys-boot", looking("reboot(2) with wrong numbers") { systemCall(Int(SYS_reboot), 0, 0, 0, 0) }),
        ("cap-sys-time", changeClock),
        ("cap-sys-module", loadModule),
        ("cap-sys-module-delete", removeModule),
        ("cap-sys-rawio", reachPorts),
        ("cap-dac-read-search", openByHandle),
        ("cap-net-raw", socketMade("socket(AF_INET, SOCK_RAW)", AF_INET, Int32(SOCK_RAW.rawValue), 1)),
        ("cap-net-raw6", socketMade("socket(AF_INET6, SOCK_RAW)", AF_INET6, Int32(SOCK_RAW.rawValue), 58)),
        ("cap-net-admin", setLoopback),
        ("cap-net-filter", asking("nf_tables", protocol: 12, type: 0x0A01, flags: 0x301)),
        ("cap-net-xfrm", asking("xfrm", protocol: 6, type: 0x12, flags: 0x301, body: [])),
        ("cap-net-bind", bindLowPort),
        ("cap-sys-ptrace", lookIntoClosedProcess),
        ("cap-bpf", makeMap),
        ("cap-perfmon", countKernelEvents),
        ("cap-syslog", readLogDevice),
        ("cap-audit-control", asking("the audit system", protocol: 9, type: 1000, flags: 5, body: [])),
        ("cap-audit-read", listenToAudit),
        ("cap-sys-resource", raiseLimit),
        ("cap-sys-resource-oom", lowerScore),
        ("cap-sys-pacct", looking("acct(2) into what does not exist") { withPath("/coffer-probe-nowhere/file") { systemCall(Int(SYS_acct), $0) } }),
        ("cap-sys-swap", looking("swapon(2) of what does not exist") { withPath("/coffer-probe-nowhere") { systemCall(Int(SYS_swapon), $0, 0) } }),
        ("cap-sys-chroot", { _ in Reply(chroot("/")).whenItSucceeds("chroot(\"/\")") }),
        ("cap-sys-nice", raisePriority),
        ("cap-ipc-lock", lockMemory),
        ("cap-inheritable", findInherited),
        ("cap-dangerous", findDangerous),
        ("cap-setgroups", takeStrangeGroup),
    ]

    private static func looking(_ what: String, _ call: @escaping @Sendable () -> Reply) -> Attempt {
        { call().whenItIsLookedAt(what).unlessMissing($0) }
    }

    /// A tick that is out of range: refused with EINVAL after the capability was asked for (adjtimex(2)).
    private static func changeClock(_ situation: Situation) -> Finding {
        // struct timex: modes (ADJ_TICK) first, the tick at byte 88.
        var change = [UInt64](repeating: 0, count: 26)
        change[0] = 0x4000
        change[11] = 1
        return change.withUnsafeMutableBytes { systemCall(Int(SYS_adjtimex), UInt(bitPattern: $0.baseAddress)) }.whenItIsLookedAt(
            "adjtimex(2) with a wrong tick")
    }

    private static func loadModule(_ situation: Situation) -> Finding {
        withPath("") { systemCall(Int(SYS_init_module), 0, 0, $0) }.whenItIsLookedAt("init_module(2) of nothing").unlessMissing(situation)
    }

    private static func removeModule(_ situation: Situation) -> Finding {
        withPath("coffer_probe_nowhere") { systemCall(Int(SYS_delete_module), $0, UInt(O_NONBLOCK)) }
            .whenItIsLookedAt("delete_module(2) of what does not exist").unlessMissing(situation)
    }

    /// The permission is this child's alone, and is not used.
    private static func reachPorts(_ situation: Situation) -> Finding {
        let first = systemCall(Int(SYS_iopl), 3)
        if first.succeeded { return first.whenItSucceeds("iopl(3)") }
        let second = systemCall(Int(SYS_ioperm), 0x80, 1, 1)
        return (second.succeeded ? second : first).whenItSucceeds("iopl(3), ioperm(2)").unlessMissing(situation)
    }

    /// "shocker" (2014): with the capability, any file of the file system by its number.
    private static func openByHandle(_ situation: Situation) -> Finding {
        // struct file_handle: bytes, type, and 128 bytes of handle.
        var handle = [UInt32](repeating: 0, count: 34)
        handle[0] = 128
        var mount: Int32 = 0
        let root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if root < 0 { return .denied(errno, "opening its root") }
        defer { close(root) }
        return handle.withUnsafeMutableBufferPointer { buffer in
            let address = UInt(bitPattern: buffer.baseAddress)
            let named = withPath("/") { path in
                withUnsafeMutablePointer(to: &mount) {
                    systemCall(Int(SYS_name_to_handle_at), UInt(bitPattern: -100), path, address, UInt(bitPattern: $0), 0)
                }
            }
            // Where the file system gives none, one that fits nothing: the capability is asked for first.
            if !named.succeeded { (buffer[0], buffer[1]) = (8, 1) }
            let reply = systemCall(Int(SYS_open_by_handle_at), UInt(root), address, UInt(O_RDONLY | O_CLOEXEC))
            if reply.succeeded { close(Int32(reply.value)) }
            return reply.whenItIsLookedAt("open_by_handle_at(2)").unlessMissing(situation)
        }
    }

    // MARK: Network

    static func socketMade(_ what: String, _ family: Int32, _ kind: Int32, _ number: Int32) -> Attempt {
        { situation in
            let file = socket(family, kind | Int32(SOCK_CLOEXEC.rawValue), number)
            let reply = Reply(file)
            if file >= 0 { close(file) }
            return reply.whenItSucceeds(what).unlessMissing(situation)
        }
    }

    /// One question to a subsystem of netlink that only a privileged process may ask.
    private static func asking(_ what: String, protocol number: Int32, type: UInt16, flags: UInt16, body: [UInt8] = [0, 0, 0, 0]) -> Attempt {
        { situation in
            NetlinkQuestion(number: number, type: type, flags: flags, body: body).ask(
                what, also: [ECONNREFUSED, EAFNOSUPPORT, EPROTONOSUPPORT]
            )
            .unlessMissing(situation)
        }
    }

    /// RTM_NEWLINK for lo that changes nothing.
    private static func setLoopback(_ situation: Situation) -> Finding {
        // struct ifinfomsg: family, padding, type, index 1, flags 0, change 0.
        var body = [UInt8](repeating: 0, count: 16)
        body[4] = 1
        return NetlinkQuestion(number: 0, type: 16, flags: 5, body: body).ask("setting the interface lo", also: [ENODEV])
    }

    private static func bindLowPort(_ situation: Situation) -> Finding {
        guard let host = situation.facts.namespaces["net"] else {
            return .inconclusive("the request does not say which network namespace is the host's")
        }
        if let own = fileIdentity(of: "/proc/self/ns/net"), own.inode != host { return .held("its network is its own, and so are the ports") }
        let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if file < 0 { return .denied(errno, "socket(2)") }
        defer { close(file) }
        // tcpmux, which nobody uses; it is bound for a moment and not listened on.
        let reply = SocketAddress.v4([127, 0, 0, 1], port: 1).with { Reply(Glibc.bind(file, $0, $1)) }
        if reply.errno == EADDRINUSE { return .reached("port 1 of the host is in use, and nothing else forbade it") }
        return reply.whenItSucceeds("bind(2) to port 1 of the host")
    }

    private static func listenToAudit(_ situation: Situation) -> Finding {
        let file = socket(16, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 9)
        if file < 0 { return Finding.denied(errno, "a netlink socket of the audit system").unlessMissing(situation) }
        defer { close(file) }
        // struct sockaddr_nl: family, padding, port, groups (AUDIT_NLGRP_READLOG).
        var address: [UInt8] = [16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
        return address.withUnsafeMutableBytes { raw in
            Reply(Glibc.bind(file, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), 12))
        }.whenItSucceeds("joining the readers of the audit log")
    }

    // MARK: Processes and the kernel

    /// A child that shows itself to nobody: only the capability opens it.
    private static func lookIntoClosedProcess(_ situation: Situation) -> Finding {
        let result = withIdleChild(closedToOthers: true) { pid in
            // A file of procfs first: the calls for it are more often filtered than open(2).
            let reply = tryOpen("/proc/\(pid)/mem", O_RDONLY)
            return reply.errno == ENOENT ? Reply(cl_ptrace(0x4206, pid, 0, 0)) : reply
        }
        switch result {
        case .success(let reply): return reply.whenItSucceeds("opening the memory of a process that is closed to others")
        case .failure(let error): return .inconclusive("no child: \(error)")
        }
    }

    private static func makeMap(_ situation: Situation) -> Finding {
        // BPF_MAP_CREATE: type BPF_MAP_TYPE_ARRAY, key size, value size, entries, flags.
        var attributes = [UInt32](repeating: 0, count: 32)
        attributes.replaceSubrange(0..<4, with: [2, 4, 4, 1])
        let reply = attributes.withUnsafeMutableBytes { systemCall(Int(SYS_bpf), 0, UInt(bitPattern: $0.baseAddress), 128) }
        if reply.succeeded { close(Int32(reply.value)) }
        return reply.whenItSucceeds("BPF_MAP_CREATE").unlessMissing(situation)
    }

    /// The processor's clock, the kernel included.
    private static func countKernelEvents(_ situation: Situation) -> Finding {
        var attributes = [UInt32](repeating: 0, count: 32)
        attributes[0] = 1  // PERF_TYPE_SOFTWARE, event PERF_COUNT_SW_CPU_CLOCK
        attributes[1] = 128  // size
        attributes[10] = 1  // disabled
        let reply = attributes.withUnsafeMutableBytes {
            systemCall(Int(SYS_perf_event_open), UInt(bitPattern: $0.baseAddress), 0, minusOne, minusOne, 0)
        }
        if reply.succeeded { close(Int32(reply.value)) }
        return reply.whenItSucceeds("perf_event_open(2) of the kernel's events").unlessMissing(situation)
    }

    private static func readLogDevice(_ situation: Situation) -> Finding {
        switch head(of: "/dev/kmsg", 8192) {
        case .success: .reached("/dev/kmsg was read")
        case .failure(let error) where error.errno == EPIPE || error.errno == EAGAIN: .reached("/dev/kmsg may be read")
        case .failure(let error): .denied(error.errno, "/dev/kmsg")
        }
    }

    private static func raiseLimit(_ situation: Situation) -> Finding {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        guard cl_getrlimit(Int32(RLIMIT_NOFILE.rawValue), &soft, &hard) == 0 else { return .denied(errno, "reading a limit") }
        guard hard < UInt64(1) << 30 else { return .absent("its limit of open files is none that could be raised") }
        return Reply(cl_prlimit(Int32(RLIMIT_NOFILE.rawValue), soft, hard + 1)).whenItSucceeds("raising the limit of open files above \(hard)")
    }

    /// Its own score, of a child that ends at once.
    private static func lowerScore(_ situation: Situation) -> Finding {
        let path = "/proc/self/oom_score_adj"
        guard let score = text(of: path).flatMap({ Int($0.prefix { $0 != "\n" }) }) else { return missing(path) }
        let file = open(path, O_WRONLY | O_CLOEXEC)
        if file < 0 { return .denied(errno, path) }
        defer { close(file) }
        let wanted = Array("\(max(score - 1, -1000))".utf8)
        return Reply(write(file, wanted, wanted.count)).whenItSucceeds("lowering oom_score_adj below \(score)")
    }

    private static func raisePriority(_ situation: Situation) -> Finding {
        errno = 0
        let now = getpriority(Int32(PRIO_PROCESS.rawValue), 0)
        if now == -1 && errno != 0 { return .denied(errno, "getpriority(2)") }
        if now <= -20 { return .reached("it runs at the highest priority") }
        return Reply(setpriority(Int32(PRIO_PROCESS.rawValue), 0, now - 1)).whenItSucceeds("setpriority(2) to \(now - 1)")
    }

    private static func lockMemory(_ situation: Situation) -> Finding {
        guard cl_prlimit(RLIMIT_MEMLOCK, 0, 0) == 0 else { return .denied(errno, "lowering its limit of locked memory to 0") }
        guard let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), page != MAP_FAILED else {
            return .inconclusive("no memory: \(errnoName(errno))")
        }
        return Reply(mlock(page, 4096)).whenItSucceeds("mlock(2) with a limit of 0")
    }

    // MARK: Sets

    private static func findInherited(_ situation: Situation) -> Finding {
        let inheritable = situation.capabilities.inheritable
        let ambient = (0..<64).filter { cl_prctl(PR_CAP_AMBIENT, 1, UInt($0), 0, 0) == 1 }
        if inheritable == 0 && ambient.isEmpty { return .held("the inheritable and the ambient set are empty") }
        let names = listed(CapabilitySet(mask: inheritable | ambient.reduce(UInt64(0)) { $0 | 1 << UInt64($1) }))
        return .reached("inherited: \(names)")
    }

    /// What changes the host, or lets a process look or reach past walls, in the order in which they weigh.
    private static let dangerous = [
        "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_BOOT", "BPF", "PERFMON", "NET_ADMIN", "SYS_TIME", "MKNOD",
        "NET_RAW", "SYSLOG", "MAC_ADMIN", "MAC_OVERRIDE", "AUDIT_CONTROL", "CHECKPOINT_RESTORE", "SYS_RESOURCE", "LINUX_IMMUTABLE",
    ]

    private static func findDangerous(_ situation: Situation) -> Finding {
        let bounding = ThreadCapabilities.bounding()
        let found = dangerous.filter { name in Capability(named: "CAP_\(name)").map(bounding.contains) ?? false }
        if found.isEmpty { return .held("none of them is in its bounding set") }
        return .reached("in its bounding set: \(found.joined(separator: ", "))")
    }

    private static func listed(_ set: CapabilitySet) -> String {
        (0..<64).filter { set.mask & 1 << UInt64($0) != 0 }.map { number in
            Capability.all.first { Int($0.rawValue) == number }.map { "\($0)" } ?? "\(number)"
        }.joined(separator: ", ")
    }

    private static func takeStrangeGroup(_ situation: Situation) -> Finding {
        Reply(cl_setgroups(1, [4_294_967_294])).whenItSucceeds("setgroups(2) to a group that no container has")
    }
}
