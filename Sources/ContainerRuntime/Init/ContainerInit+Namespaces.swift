import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension ContainerInit {
    /// The mount namespace of A, and what has to be opened in it before the identity changes.
    mutating func enterMountNamespace() throws {
        try performing(.mountNamespace, "new mount namespace") {
            if plan.newNamespaces.contains("mnt") { try Namespaces.unshare([.mount]) }
            if !plan.sharesMounts { try Mounts.setPropagation(.private) }
        }
        for step in plan.steps {
            // A user's state is 0700 and container root is not that user: opened now, as the invoking user still, and after
            // the mount namespace was made (earlier, and overlay refuses a directory of another mount namespace with EINVAL).
            if case .root(.overlay(let overlay)) = step {
                stage = try performing(.root, "opening the staging directory") {
                    try FileDescriptor.open(overlay.stageDirectory, O_RDONLY | O_DIRECTORY)
                }
            }
            if case .root(.directory(let path)) = step {
                stage = try performing(.root, "opening the root file system") {
                    try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY)
                }
            }
        }
        if plan.hasUserNamespace {
            try performing(.identityMaps, "becoming root of the container") {
                try Credentials.assume(user: 0, group: 0, additionalGroups: prepared.keepsGroups ? nil : [])
                // The change of identity made this process undumpable, so that /proc/PID belongs to the host's root and B's
                // maps could not be written. Nothing but this process lives in the container yet (CVE-2016-9962).
                try Credentials.setDumpable(true)
            }
        }
        try performing(.mountNamespace, "private procfs") {
            procfs = try makeProcfs()
            try openStatus()
        }
    }

    /// A new procfs is refused to a user whose process namespace is not his own, or who sees only a masked /proc: then the host's, by the
    /// root that this process still has.
    private func makeProcfs() throws(KernelError) -> RootDirectory {
        do {
            return RootDirectory(try FileSystemContext("proc").mount([.noSetuid, .noDevices, .noExecute]))
        } catch {
            if error.errno != EPERM { throw error }
            let proc = try FileDescriptor.open("/proc", RootDirectory.pathOnly | O_DIRECTORY)
            let raw = proc.rawValue
            guard cl_filesystem_magic(raw) == 0x9fa0 else { throw error }
            return RootDirectory(proc)
        }
    }

    /// This process's directory in the private procfs, which may number it otherwise than getpid(2) does.
    func ownEntry() throws(KernelError) -> String {
        var buffer = [CChar](repeating: 0, count: 32)
        let raw = procfs.descriptor.rawValue
        let length = try retrying("readlinkat", "/proc/self") { readlinkat(raw, "self", &buffer, 31) }
        return String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    mutating func openStatus() throws(KernelError) { status = try procfs.openBeneath("\(try ownEntry())/status", O_RDONLY) }

    /// The offsets are taken before anybody lives in the namespace; then this process, which has no threads, moves in.
    func setClocks(_ offsets: [TimeOffset]) throws {
        try performing(.timeOffsets, "setting the clocks of the time namespace") {
            try Namespaces.unshare([.time])
            let own = try ownEntry()
            let lines = offsets.map { "\($0.clock) \($0.seconds) \($0.nanoseconds)\n" }.joined()
            if !lines.isEmpty { try writeProc("\(own)/timens_offsets", lines) }
            let raw = procfs.descriptor.rawValue
            let namespace = FileDescriptor(
                owning: try retrying("openat", "time_for_children") { openat(raw, "\(own)/ns/time_for_children", O_RDONLY | O_CLOEXEC) })
            try Namespaces.join(namespace, [.time])
        }
    }

    func setNames(_ name: String?, _ domain: String?) throws {
        if let name {
            try performing(.hostname, "setting the host name to \(name)") {
                try retrying("sethostname", name) { cl_sethostname(name, name.utf8.count) }
            }
        }
        if let domain {
            try performing(.hostname, "setting the domain name to \(domain)") {
                try retrying("setdomainname", domain) { cl_setdomainname(domain, domain.utf8.count) }
            }
        }
    }

    /// Writes below /proc/sys of the private procfs: never a path of the image's (CVE-2025-52881).
    func setSystemControl(_ key: String, _ value: String) throws {
        let path = "sys/" + key.split(separator: ".").joined(separator: "/")
        try performing(.systemControl, "sysctl \(key)") { try writeProc(path, value) }
    }

    func writeProc(_ path: String, _ value: String) throws {
        try procfs.openBeneath(path, O_WRONLY).writeAll(Array(value.utf8))
    }

    private static let ownLimits: Set<String> = ["RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_CPU"]

    mutating func setPendingLimits() throws {
        for limit in pendingLimits {
            try performing(.resourceLimit, limit.name) { try ResourceLimit.set(limit.number, soft: limit.soft, hard: limit.hard) }
        }
        pendingLimits = []
    }

    mutating func setResourceLimit(_ name: String, _ soft: UInt64, _ hard: UInt64, _ index: Int) throws {
        guard let number = ResourceLimit.number(of: name) else { throw LaunchFailure(.resourceLimit, "unknown limit \(name)") }
        // Fewer files or less memory than this process needs is enough for many a program. To lower a limit nobody needs a right.
        if Self.ownLimits.contains(name), hard <= (try performing(.resourceLimit, name) { try ResourceLimit.current(number) }).hard {
            pendingLimits.append((name, number, soft, hard))
            return
        }
        do {
            try ResourceLimit.set(number, soft: soft, hard: hard)
        } catch  where error.errno == EPERM {
            // Raising above the host's hard limit needs CAP_SYS_RESOURCE on the host: as far as the host allows, and said so.
            let current = try ResourceLimit.current(number)
            try performing(.resourceLimit, name) {
                try ResourceLimit.set(number, soft: min(soft, current.hard), hard: min(hard, current.hard))
            }
            results.append(.init(step: index, result: .partial("the host allows at most \(current.hard)")))
        } catch {
            throw LaunchFailure(.resourceLimit, doing: name, error)
        }
    }

    mutating func setOutOfMemoryScore(_ value: Int, _ index: Int) throws {
        do {
            try writeProc("\(try ownEntry())/oom_score_adj", "\(value)")
        } catch let error as KernelError where error.errno == EACCES || error.errno == EPERM {
            results.append(.init(step: index, result: .unavailable("lowering the score needs CAP_SYS_RESOURCE on the host")))
        }
    }

    /// One more user namespace below A, which B takes: ENOSPC for everything after (rule R8).
    func limitNesting() throws {
        try performing(.nestingLimit, "forbidding nested user namespaces") { try writeProc("sys/user/max_user_namespaces", "1") }
    }

    /// The second user namespace, with a mount namespace of its own: every mount that A made is locked in it, so that a
    /// remount or an unmount fails even with CAP_SYS_ADMIN (mount_namespaces(7), "locked mounts").
    mutating func lockMounts(networkInside: Bool) throws {
        let (readEnd, writeEnd) = try performing(.lockedMounts, "pipe") { try makePipe() }
        let pid = try performing(.lockedMounts, "second user namespace") { try ownEntry() }
        // B's maps must be written from A with CAP_SETUID there, and this process is about to leave A: a second one stays.
        switch try performing(.lockedMounts, "second user namespace", { try Processes.fork() }) {
        case .child:
            close(writeEnd)
            _exit(writeInnerMaps(of: pid, after: readEnd) ? 0 : 1)
        case .parent(let writer):
            close(readEnd)
            defer { close(writeEnd) }
            try performing(.lockedMounts, "second user namespace") {
                try Namespaces.unshare([.user, .mount] + (networkInside ? [.network] : []))
            }
            // Everything below is still private: B's namespace is a copy that receives nothing.
            let go: [UInt8] = [1]
            try performing(.lockedMounts, "second user namespace") {
                try retrying("write") { write(writeEnd, go, 1) }
                let end = try Processes.wait(for: writer.pid)
                if end != .exited(0) { throw LaunchFailure(.lockedMounts, "the ID maps of the second user namespace cannot be written") }
                try Credentials.assume(user: 0, group: 0, additionalGroups: [])
                try Credentials.setDumpable(false)
            }
            if networkInside { try performing(.loopback, "bringing the loopback interface up") { try NetlinkRoute.bringUp("lo") } }
        }
    }

    /// In the process that stays in A: maps each range of A to itself.
    private func writeInnerMaps(of pid: String, after readEnd: Int32) -> Bool {
        var byte: UInt8 = 0
        guard read(readEnd, &byte, 1) == 1, byte == 1 else { return false }
        do {
            for step in plan.steps {
                guard case .identityMaps(let uid, let gid) = step else { continue }
                for (file, maps) in [("uid_map", uid), ("gid_map", gid)] {
                    let text = maps.map { "\($0.containerID) \($0.containerID) \($0.size)\n" }.joined()
                    try writeProc("\(pid)/\(file)", text)
                }
            }
            return true
        } catch {
            return false
        }
    }

    func setPersonality(_ value: UInt64) throws {
        try performing(.personality, "personality") { try retrying("personality") { cl_personality(UInt(value)) } }
    }

    func setScheduler(_ step: SchedulerStep) throws {
        var attributes = cl_sched_attr(
            size: UInt32(MemoryLayout<cl_sched_attr>.size), policy: step.policy, flags: step.flags, nice: step.nice, priority: step.priority,
            runtime: step.runtime, deadline: step.deadline, period: step.period)
        // SCHED_DEADLINE wants every processor of the system (sched_setattr(2)).
        let restricted = plan.steps.contains { if case .controlGroup(let group) = $0 { group.resources.cpu?.cpus?.isEmpty == false } else { false } }
        let hint = restricted && step.policy == 6 ? ": process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus)" : ""
        try performing(.scheduler, "setting the scheduling policy\(hint)") { try retrying("sched_setattr") { cl_sched_setattr(&attributes) } }
    }

    func setIOPriority(_ value: UInt16) throws {
        try performing(.ioPriority, "setting the I/O priority") { try retrying("ioprio_set") { cl_ioprio_set(Int32(value)) } }
    }

    func setMemoryPolicy(_ step: MemoryPolicyStep) throws {
        // The kernel reads one bit less than it is told (set_mempolicy(2), "C library/kernel differences").
        let bits = step.nodes.isEmpty ? 0 : UInt(step.nodes.count * 64 + 1)
        try performing(.memoryPolicy, "setting the memory policy") {
            try retrying("set_mempolicy") { cl_set_mempolicy(step.mode, step.nodes, bits) }
        }
    }

    mutating func joinKeyring(_ index: Int) throws {
        do {
            try Credentials.joinNewSessionKeyring()
        } catch  where error.errno == ENOSYS || error.errno == EPERM {
            // Filtered by an outer container's seccomp, or a kernel without keys: then there is nothing to read either.
            results.append(.init(step: index, result: .unavailable(error.reason)))
        } catch {
            throw LaunchFailure(.keyring, doing: "new session keyring", error)
        }
    }
}
