import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// Calls that no program in a container needs, with arguments that the kernel refuses where it can.
    static let syscalls: Group = [
        ("sys-filter", findFilter),
        ("sys-keyctl", looking("keyctl(KEYCTL_GET_KEYRING_ID)") { systemCall(Int(SYS_keyctl), 0, UInt(bitPattern: -3), 0) }),
        ("sys-add-key", addKey),
        ("sys-request-key", looking("request_key(2)", requestKey)),
        ("sys-host-keyring", compareKeyring),
        ("sys-bpf", looking("bpf(2) with a command that does not exist") { systemCall(Int(SYS_bpf), 9999, 0, 0) }),
        ("sys-userfaultfd", makingDescriptor("userfaultfd(0)") { systemCall(Int(SYS_userfaultfd), UInt(O_CLOEXEC)) }),
        ("sys-userfaultfd-user", makingDescriptor("userfaultfd(UFFD_USER_MODE_ONLY)") { systemCall(Int(SYS_userfaultfd), 1 | UInt(O_CLOEXEC)) }),
        ("sys-io-uring", looking("io_uring_setup(2) without parameters") { systemCall(Int(SYS_io_uring_setup), 1, 0) }),
        ("sys-perf", looking("perf_event_open(2) without attributes") { systemCall(Int(SYS_perf_event_open), 0, 0, minusOne, minusOne, 0) }),
        ("sys-process-vm-readv", readChild),
        ("sys-pidfd-getfd", takeDescriptor),
        ("sys-kcmp", looking("kcmp(2)") { systemCall(Int(SYS_kcmp), UInt(getpid()), UInt(getpid()), 2, 0, 0) }),
        ("sys-ptrace", traceChild),
        ("sys-kexec-load", looking("kexec_load(2) with wrong flags") { systemCall(Int(SYS_kexec_load), 0, 0, 0, 0xFFFF) }),
        ("sys-kexec-file-load", looking("kexec_file_load(2) of no file") { systemCall(Int(SYS_kexec_file_load), minusOne, minusOne, 0, 0, 0) }),
        ("sys-finit-module", looking("finit_module(2) of no file") { withPath("") { systemCall(Int(SYS_finit_module), minusOne, $0, 0) } }),
        ("sys-fanotify", makingDescriptor("fanotify_init(2)") { systemCall(Int(SYS_fanotify_init), 0x201, UInt(O_RDONLY)) }),
        ("sys-name-to-handle", nameHandle),
        ("sys-open-by-handle", looking("open_by_handle_at(2) of nothing") { systemCall(Int(SYS_open_by_handle_at), minusOne, 0, 0) }),
        ("sys-lookup-dcookie", looking("lookup_dcookie(2)") { systemCall(Int(SYS_lookup_dcookie), 0, 0, 0) }),
        ("sys-personality", changePersonality),
        ("sys-vmsplice", splicePages),
        ("sys-mbind", looking("mbind(2) of no memory") { systemCall(Int(SYS_mbind), 0, 0, 0, 0, 0, 0) }),
        ("sys-move-pages", looking("move_pages(2) of no pages") { systemCall(Int(SYS_move_pages), 0, 0, 0, 0, 0, 0) }),
        ("sys-memfd-secret", makingDescriptor("memfd_secret(2)") { systemCall(Int(SYS_memfd_secret), UInt(O_CLOEXEC)) }),
        ("sys-seccomp-listener", listenToCalls),
        ("sys-unknown", callUnknown),
        (
            "sys-quotactl",
            looking("quotactl(2) of a disk that does not exist") {
                withPath("/coffer-probe-nowhere") { systemCall(Int(SYS_quotactl), 0x800004 << 8, $0, 0, 0) }
            }
        ),
        ("sys-clock-settime", setMonotonicClock),
        ("sys-modify-ldt", looking("modify_ldt(2)", readSegments)),
        ("sys-migrate-pages", looking("migrate_pages(2) with wrong masks") { systemCall(Int(SYS_migrate_pages), 0, 64, 1, 1) }),
        ("sys-process-madvise", looking("process_madvise(2) of no process") { systemCall(Int(SYS_process_madvise), minusOne, 0, 0, 0, 0) }),
        ("sys-swapoff", looking("swapoff(2) of what does not exist") { withPath("/coffer-probe-nowhere") { systemCall(Int(SYS_swapoff), $0) } }),
        ("sys-uselib", looking("uselib(2) of what does not exist") { withPath("/coffer-probe-nowhere") { systemCall(Int(SYS_uselib), $0) } }),
        ("sys-remap-file-pages", looking("remap_file_pages(2) of no memory") { systemCall(Int(SYS_remap_file_pages), 0, 0, 0, 0, 0) }),
        ("sys-vhangup", { Reply(systemCall(Int(SYS_vhangup)).value).whenItSucceeds("vhangup(2)").unlessMissing($0) }),
        ("sys-new-mounts", looking("listmount(2) of nothing") { systemCall(Int(SYS_listmount), 0, 0, 0, 0) }),
    ]

    private static func looking(_ what: String, _ call: @escaping @Sendable () -> Reply) -> Attempt {
        { call().whenItIsLookedAt(what).unlessMissing($0) }
    }

    private static func makingDescriptor(_ what: String, _ call: @escaping @Sendable () -> Reply) -> Attempt {
        { situation in
            let reply = call()
            if reply.succeeded { close(Int32(reply.value)) }
            return reply.whenItSucceeds(what).unlessMissing(situation)
        }
    }

    private static func findFilter(_ situation: Situation) -> Finding {
        situation.isFiltered ? .held("a filter of system calls is in force") : .reached("no filter of system calls is in force")
    }

    // MARK: Keys

    /// Into the keyring of this process, with which it goes.
    private static func addKey(_ situation: Situation) -> Finding {
        let reply = withPath("user") { type in
            withPath("coffer-probe") { name in withPath("x") { systemCall(Int(SYS_add_key), type, name, $0, 1, UInt(bitPattern: -2)) } }
        }
        return reply.whenItIsLookedAt("add_key(2)").unlessMissing(situation)
    }

    private static func requestKey() -> Reply {
        withPath("user") { type in withPath("coffer-probe-nowhere") { systemCall(Int(SYS_request_key), type, $0, 0, 0) } }
    }

    private static func compareKeyring(_ situation: Situation) -> Finding {
        guard let host = situation.facts.sessionKeyring else { return .inconclusive("the request does not say which keyring is the host's") }
        let reply = systemCall(Int(SYS_keyctl), 0, UInt(bitPattern: -3), 0)
        if !reply.succeeded { return Finding.denied(reply.errno, "asking for its session keyring").unlessMissing(situation) }
        return Int32(truncatingIfNeeded: reply.value) == host
            ? .reached("its session keyring is \(reply.value), the host's") : .held("its session keyring is \(reply.value), the host's \(host)")
    }

    // MARK: Other processes

    private static func onChild(_ what: String, _ situation: Situation, _ call: (Int32) -> Reply) -> Finding {
        switch withIdleChild(call) {
        case .success(let reply): reply.whenItSucceeds(what).unlessMissing(situation)
        case .failure(let error): .inconclusive("no child: \(error)")
        }
    }

    private static func readChild(_ situation: Situation) -> Finding {
        // The child has the same page at the same address.
        var page = [UInt8](repeating: 7, count: 16)
        var copy = [UInt8](repeating: 0, count: 16)
        return page.withUnsafeMutableBytes { from in
            copy.withUnsafeMutableBytes { to in
                var local = iovec(iov_base: to.baseAddress, iov_len: 16)
                var remote = iovec(iov_base: from.baseAddress, iov_len: 16)
                return withUnsafeMutablePointer(to: &local) { into in
                    withUnsafeMutablePointer(to: &remote) { out in
                        onChild("process_vm_readv(2) of its own child", situation) {
                            systemCall(Int(SYS_process_vm_readv), UInt($0), UInt(bitPattern: into), 1, UInt(bitPattern: out), 1, 0)
                        }
                    }
                }
            }
        }
    }

    private static func takeDescriptor(_ situation: Situation) -> Finding {
        onChild("pidfd_getfd(2) from its own child", situation) { pid in
            let process = cl_pidfd_open(pid, 0)
            // Without the one there is no other; what a filter says of the other is seen with no process.
            if process < 0 { return Reply(cl_pidfd_getfd(-1, 0)) }
            defer { close(process) }
            let reply = Reply(cl_pidfd_getfd(process, 1))
            if reply.succeeded { close(Int32(reply.value)) }
            return reply
        }
    }

    private static func traceChild(_ situation: Situation) -> Finding {
        onChild("PTRACE_SEIZE of its own child", situation) { Reply(cl_ptrace(0x4206, $0, 0, 0)) }.asInformation
    }

    // MARK: Files and memory

    private static func nameHandle(_ situation: Situation) -> Finding {
        var handle = [UInt32](repeating: 0, count: 34)
        handle[0] = 128
        var mount: Int32 = 0
        return handle.withUnsafeMutableBufferPointer { buffer in
            withPath("/") { path in
                withUnsafeMutablePointer(to: &mount) {
                    systemCall(
                        Int(SYS_name_to_handle_at), UInt(bitPattern: -100), path, UInt(bitPattern: buffer.baseAddress), UInt(bitPattern: $0), 0)
                }
            }
        }.whenItIsLookedAt("name_to_handle_at(2)").unlessMissing(situation).asInformation
    }

    private static func changePersonality(_ situation: Situation) -> Finding {
        let addNoRandomize: UInt = 0x0040000
        return Reply(cl_personality(addNoRandomize)).whenItSucceeds("personality(ADDR_NO_RANDOMIZE)").unlessMissing(situation)
    }

    private static func splicePages(_ situation: Situation) -> Finding {
        var ends: [Int32] = [-1, -1]
        guard cl_pipe2(&ends, O_CLOEXEC) == 0 else { return .inconclusive("no pipe: \(errnoName(errno))") }
        defer { for end in ends { close(end) } }
        var byte: UInt8 = 1
        return withUnsafeMutablePointer(to: &byte) { pointer in
            var part = iovec(iov_base: pointer, iov_len: 1)
            return withUnsafeMutablePointer(to: &part) { systemCall(Int(SYS_vmsplice), UInt(ends[1]), UInt(bitPattern: $0), 1, 0) }
        }.whenItSucceeds("vmsplice(2)").unlessMissing(situation)
    }

    /// A filter that lets everything through, on this child alone.
    private static func listenToCalls(_ situation: Situation) -> Finding {
        guard cl_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 else { return .denied(errno, "setting no_new_privs") }
        // struct sock_filter: BPF_RET | BPF_K, SECCOMP_RET_ALLOW.
        let instruction: [UInt32] = [0x0006, 0x7FFF_0000]
        let reply = instruction.withUnsafeBytes { raw in
            var program = cl_sock_fprog(len: 1, filter: raw.baseAddress)
            return Reply(cl_seccomp(1, 8, &program))
        }
        if reply.succeeded { close(Int32(reply.value)) }
        return reply.whenItSucceeds("seccomp(2) with a listener").unlessMissing(situation).asInformation
    }

    /// What is not ENOSYS makes programs of tomorrow fail instead of falling back.
    private static func callUnknown(_ situation: Situation) -> Finding {
        let reply = systemCall(9999)
        if reply.errno == ENOSYS { return .held("system call 9999: ENOSYS") }
        return Finding(.information, errno: reply.errno, "system call 9999 is answered with \(errnoName(reply.errno))")
    }

    private static func setMonotonicClock(_ situation: Situation) -> Finding {
        var time = timespec(tv_sec: 1, tv_nsec: 0)
        return withUnsafeMutablePointer(to: &time) { systemCall(Int(SYS_clock_settime), UInt(CLOCK_MONOTONIC), UInt(bitPattern: $0)) }
            .whenItIsLookedAt("clock_settime(2) of a clock that cannot be set")
    }

    private static func readSegments() -> Reply {
        var entry = [UInt8](repeating: 0, count: 16)
        return entry.withUnsafeMutableBytes { systemCall(Int(SYS_modify_ldt), 0, UInt(bitPattern: $0.baseAddress), 16) }
    }
}
