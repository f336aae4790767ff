import Confinement
import Testing

@Suite struct SyscallTests {
    static let dangerous = [
        "bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "vmsplice",
        "perf_event_open", "unshare", "setns", "mount", "umount2", "pivot_root", "fsopen", "fsmount", "fsconfig", "fspick", "open_tree",
        "move_mount", "mount_setattr", "clone3", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
        "open_by_handle_at", "memfd_secret", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "quotactl", "swapon",
        "reboot", "syslog", "acct", "iopl", "ioperm", "modify_ldt", "uselib", "ustat", "lookup_dcookie", "chroot",
    ]

    @Test func reachableCounts() throws {
        let standard = filterOf(try resolve().confinement)
        let strict = filterOf(try resolve(.strict).confinement)
        #expect(standard.reachable.count <= 300)
        #expect(strict.reachable.count <= 200)
        #expect(strict.reachable.isSubset(of: standard.reachable))
        #expect(standard.defaultAction == .errno(38) && strict.defaultAction == .errno(38))
        #expect(standard.architectures == [] && strict.architectures == [])
    }

    @Test(arguments: dangerous)
    func isNotReachable(_ name: String) throws {
        for level in [LevelName.standard, .strict] {
            let filter = filterOf(try resolve(level).confinement)
            #expect(!filter.reachable.contains(name))
            #expect(!filter.action(for: name).reachesKernel)
        }
    }

    @Test func probedCallsAnswerAsWithoutTheCapability() throws {
        let filter = filterOf(try resolve().confinement)
        for name in ["mount", "unshare", "setns", "chroot", "bpf", "perf_event_open"] { #expect(filter.action(for: name) == .errno(1)) }
        for name in ["clone3", "io_uring_setup", "keyctl", "userfaultfd", "fsopen", "no_such_call"] {
            #expect(filter.action(for: name) == .errno(38))
        }
    }

    @Test func noNamespaceByClone() throws {
        for level in LevelName.allCases {
            let filter = filterOf(try resolve(level).confinement)
            #expect(filter.action(for: "clone", arguments: [0x11]) == .allow)
            // What glibc's pthread_create and vfork pass.
            #expect(filter.action(for: "clone", arguments: [0x3D0F00]) == .allow)
            #expect(filter.action(for: "clone", arguments: [0x4111]) == .allow)
            for bit in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] as [UInt64] {
                #expect(filter.action(for: "clone", arguments: [0x11 | bit]) == .errno(1))
            }
            #expect(filter.action(for: "clone", arguments: [0x7E02_0011]) == .errno(1))
        }
    }

    @Test func socketFamilies() throws {
        let high: UInt64 = 1 << 32
        for level in [LevelName.standard, .strict] {
            let filter = filterOf(try resolve(level).confinement)
            for family: UInt64 in 0..<300 {
                let expected: SyscallFilter.Action = [1, 2, 10, 16].contains(family) ? .allow : .errno(97)
                #expect(filter.action(for: "socket", arguments: [family, 1, 0]) == expected)
                // The kernel drops the upper half, so it must not decide.
                #expect(filter.action(for: "socket", arguments: [high | family, 1, 0]) == expected)
            }
            #expect(filter.action(for: "socket", arguments: [0xFFFF_FFFF]) == .errno(97))
            #expect(filter.action(for: "socketpair", arguments: [1]) == .allow)
            #expect(!filter.action(for: "socketpair", arguments: [40]).reachesKernel)
        }
        // strict: routes only.
        let strict = filterOf(try resolve(.strict).confinement)
        #expect(!strict.action(for: "socket", arguments: [16, 3, 12]).reachesKernel)
    }

    /// SCTP, DCCP and L2TP belong to the internet's families, and are no TCP and no UDP.
    @Test func internetProtocols() throws {
        let high: UInt64 = 1 << 32
        for level in [LevelName.standard, .strict] {
            let filter = filterOf(try resolve(level).confinement)
            for family: UInt64 in [2, 10] {
                for (type, number) in [(1, 0), (1, 6), (2, 0), (2, 17), (2, 1), (2, 58), (0x80801, 0), (0x80802, 17), (3, 1)] as [(UInt64, UInt64)] {
                    #expect(filter.action(for: "socket", arguments: [family, type, number]) == .allow)
                }
                // One-to-many and one-to-one SCTP, DCCP, L2TP, the packet sockets of old, and raw sockets of any protocol.
                for (type, number) in [(5, 0), (5, 132), (1, 132), (0x80805, 0), (6, 0), (6, 33), (2, 115), (10, 3), (3, 255)] as [(UInt64, UInt64)] {
                    #expect(!filter.action(for: "socket", arguments: [family, type, number]).reachesKernel)
                    #expect(!filter.action(for: "socket", arguments: [family, high | type, high | number]).reachesKernel)
                }
            }
        }
        let raw = filterOf(try resolve(.standard) { $0.capabilitiesAdded = ["NET_RAW"] }.confinement)
        #expect(raw.action(for: "socket", arguments: [2, 3, 89]) == .allow)
        #expect(!raw.action(for: "socket", arguments: [2, 5, 132]).reachesKernel)
    }

    @Test func terminalInjection() throws {
        for level in [LevelName.standard, .strict] {
            let filter = filterOf(try resolve(level).confinement)
            for upper: UInt64 in [0, 1 << 32, 0xFFFF_FFFF << 32] {
                #expect(filter.action(for: "ioctl", arguments: [0, upper | 0x5412]) == .errno(1))
                #expect(filter.action(for: "ioctl", arguments: [0, upper | 0x541C]) == .errno(1))
                for request: UInt64 in [0, 0x5401, 0x5411, 0x5413, 0x541B, 0x541D, 0x8004_5430, 0xFFFF_FFFF, 0x8912] {
                    #expect(filter.action(for: "ioctl", arguments: [0, upper | request]) == .allow)
                }
            }
        }
    }

    @Test func deviceNodes() throws {
        let filter = filterOf(try resolve().confinement)
        for (call, before) in [("mknod", [0]), ("mknodat", [0, 0])] as [(String, [UInt64])] {
            for type: UInt64 in [0, 0x1000, 0x8000, 0xC000] {
                #expect(filter.action(for: call, arguments: before + [type | 0o644]) == .allow)
            }
            for type: UInt64 in [0x2000, 0x6000] { #expect(filter.action(for: call, arguments: before + [type | 0o644]) == .errno(1)) }
        }
        let added = try resolve { $0.capabilitiesAdded = ["MKNOD"] }.confinement
        #expect(filterOf(added).action(for: "mknod", arguments: [0, 0x2000]) == .allow)
    }

    @Test func personality() throws {
        let filter = filterOf(try resolve().confinement)
        for value: UInt64 in [0, 8, 0x20000, 0x20008, 0xFFFF_FFFF] {
            #expect(filter.action(for: "personality", arguments: [value]) == .allow)
        }
        // READ_IMPLIES_EXEC and ADDR_NO_RANDOMIZE weaken the program's own defences.
        for value: UInt64 in [0x40_0000, 0x4_0000] { #expect(!filter.action(for: "personality", arguments: [value]).reachesKernel) }
    }

    @Test func capabilitiesOpenTheirCalls() throws {
        let gates = [
            ("SYS_CHROOT", "chroot"), ("SYS_PTRACE", "process_vm_readv"), ("SYS_TIME", "clock_settime"), ("SYS_ADMIN", "mount"),
            ("SYS_ADMIN", "fsopen"), ("DAC_READ_SEARCH", "open_by_handle_at"), ("SYS_NICE", "mbind"), ("BPF", "bpf"),
        ]
        for level in LevelName.allCases {
            for (capability, call) in gates {
                let filter = filterOf(try resolve(level) { $0.capabilitiesAdded = [capability] }.confinement)
                #expect(filter.action(for: call) == .allow, "\(level) \(capability) \(call)")
            }
        }
    }

    @Test func compatIsDockers() throws {
        let filter = filterOf(try resolve(.compat).confinement)
        #expect(filter.defaultAction == .errno(1))
        #expect(filter.architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        #expect(filter.action(for: "clone3") == .errno(38))
        #expect(filter.action(for: "chroot") == .allow)
        for name in ["keyctl", "mount", "unshare", "setns", "bpf", "userfaultfd", "io_uring_setup", "reboot", "pivot_root"] {
            #expect(filter.action(for: name) == .errno(1))
        }
        for family: UInt64 in [1, 2, 10, 16, 17, 39, 41] { #expect(filter.action(for: "socket", arguments: [family]) == .allow) }
        for family: UInt64 in [38, 40] { #expect(!filter.action(for: "socket", arguments: [family]).reachesKernel) }
    }

    @Test func rulesOfALevelNeverContradictEachOther() throws {
        for level in LevelName.allCases {
            for capabilities in [[], ["ALL"], ["SYS_ADMIN"], ["SYS_CHROOT", "SYS_TIME"]] {
                let filter = filterOf(try resolve(level) { $0.capabilitiesAdded = capabilities }.confinement)
                // libseccomp lets a rule without conditions win, whatever stands beside it: no call may have both.
                let plain = filter.rules.filter { $0.conditions.isEmpty }.flatMap(\.names)
                let limited = Set(filter.rules.filter { !$0.conditions.isEmpty }.flatMap(\.names))
                #expect(Set(plain).count == plain.count, "\(plain.filter { name in plain.count { $0 == name } > 1 })")
                #expect(limited.isDisjoint(with: plain), "\(limited.intersection(plain))")
                for rule in filter.rules { #expect(Set(rule.conditions.map(\.argument)).count == rule.conditions.count) }
            }
        }
    }
}
