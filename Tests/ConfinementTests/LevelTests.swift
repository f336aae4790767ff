import Confinement
import OCISpec
import Testing

/// The figures of the levels, as the documentation promises them.
@Suite struct LevelTests {
    @Test func capabilities() throws {
        #expect(try resolve().confinement.capabilities.bounding.hexadecimal == "00000000000004fb")
        #expect(try resolve(.strict).confinement.capabilities.bounding == [])
        #expect(try resolve(.compat).confinement.capabilities.bounding.hexadecimal == "00000000a80425fb")
        for level in LevelName.allCases {
            let sets = try resolve(level).confinement.capabilities
            #expect(sets.inheritable == [] && sets.ambient == [])
            #expect(sets.effective == sets.bounding && sets.permitted == sets.bounding)
        }
    }

    @Test func limits() throws {
        let standard = try resolve().confinement.limits
        #expect(standard.pids == .at(2048))
        #expect(standard.memory == .at((8 << 30) / 100 * 50 / 4096 * 4096))
        #expect(standard.memoryAndSwap == standard.memory)
        #expect(standard.cpuShares == 1024)
        #expect(standard.processLimits == [.init(type: "RLIMIT_NOFILE", soft: 1024, hard: 524_288)])
        let strict = try resolve(.strict).confinement.limits
        #expect(strict.pids == .at(256))
        #expect(strict.memory == .at((8 << 30) / 100 * 25 / 4096 * 4096))
        #expect(strict.memoryAndSwap == strict.memory)
        #expect(strict.cpuShares == 512)
        #expect(strict.processLimits == [.init(type: "RLIMIT_NOFILE", soft: 1024, hard: 4096)])
        #expect(try resolve(.compat).confinement.limits.memory == .unlimited)
    }

    @Test func openFilesNeverExceedTheHost() throws {
        var host = aHost()
        host.openFilesHardLimit = 512
        #expect(try resolve(host: host).confinement.limits.processLimits == [.init(type: "RLIMIT_NOFILE", soft: 512, hard: 512)])
    }

    @Test func rootAndTemporaryFileSystems() throws {
        let standard = try resolve().confinement
        #expect(!standard.rootReadOnly)
        #expect(standard.mounts.first { $0.destination == "/dev/shm" }?.options.contains("size=67108864") == true)
        #expect(!standard.mounts.contains { $0.destination == "/tmp" })
        let strict = try resolve(.strict).confinement
        #expect(strict.rootReadOnly)
        for path in ["/tmp", "/run", "/var/tmp"] {
            let mount = try #require(strict.mounts.first { $0.destination == path })
            #expect(mount.type == "tmpfs" && mount.options.contains("size=67108864") && mount.options.contains("nosuid"))
        }
    }

    @Test func networkLogsAndLocks() throws {
        let standard = try resolve().confinement
        #expect(standard.network == .outbound(ports: [], closesHost: true))
        #expect(standard.logs == .rotated(maxBytes: 10_000_000, maxFiles: 3))
        #expect(standard.noNewPrivileges && standard.mountsLocked)
        let strict = try resolve(.strict).confinement
        #expect(strict.network == .none)
        #expect(strict.noNewPrivileges && strict.mountsLocked)
        #expect(try !resolve(.compat).confinement.noNewPrivileges)
    }

    @Test func kernelMountsAreCompleteAndInOrder() throws {
        let confinement = try resolve().confinement
        #expect(
            confinement.mounts.map(\.destination) == [
                "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
            ])
        #expect(confinement.mounts.allSatisfy { $0.options.contains("nosuid") })
        #expect(confinement.mounts[2].options == ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"])
        #expect(confinement.mounts[5].options.contains("ro") && confinement.mounts[6].options.contains("ro"))
        #expect(confinement.devices.map(\.path) == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"])
        #expect(confinement.deviceRules.first == DeviceRule(allows: false, kind: .all))
        #expect(confinement.deviceRules.dropFirst().allSatisfy { $0.allows && $0.kind == .character && $0.access == "rw" })
    }

    @Test func masksAndReadOnlyPaths() throws {
        let confinement = try resolve().confinement
        for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/interrupts", "/proc/config.gz"] {
            #expect(confinement.maskedPaths.contains(path))
        }
        #expect(confinement.maskedPaths.contains("/sys/devices/system/cpu/cpu0/thermal_throttle"))
        #expect(confinement.maskedPaths.contains("/sys/devices/system/cpu/cpu1/thermal_throttle"))
        #expect(!confinement.maskedPaths.contains { $0.contains("*") })
        #expect(confinement.readonlyPaths == ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
        let strict = try resolve(.strict).confinement
        #expect(Set(strict.maskedPaths).isSuperset(of: confinement.maskedPaths))
        #expect(Set(confinement.maskedPaths).isSuperset(of: try resolve(.compat).confinement.maskedPaths))
    }

    @Test func sysctls() throws {
        let expected = ["net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"]
        for level in LevelName.allCases { #expect(try resolve(level).confinement.sysctls == expected) }
    }

    @Test func landlockOfAWritableRoot() throws {
        guard case .enforced(let policy) = try resolve().confinement.landlock else {
            Issue.record("Landlock is off")
            return
        }
        #expect(policy.handlesFileSystem && policy.scopeAbstractUnixSockets && !policy.scopeSignals)
        #expect(policy.tcpBindPorts == nil && policy.tcpConnectPorts == nil)
        let root = try #require(policy.rules.first { $0.path == "/" })
        #expect(Set(root.access).isDisjoint(with: ["make_char", "make_block", "ioctl_dev"]))
        #expect(root.access.contains("refer") && root.access.count == 13)
        #expect(
            policy.rules.filter { $0.access.contains("ioctl_dev") }.map(\.path) == ["/dev/ptmx", "/dev/pts", "/dev/tty", "/dev/console"])
        #expect(try resolve(.compat).confinement.landlock == .off)
    }

    @Test func landlockOfAReadOnlyRoot() throws {
        let resolution = try resolve(.strict) {
            $0.network = .outbound
            $0.ports = [.init(hostAddress: "127.0.0.1", hostPort: 8080, containerPort: 80, transport: .tcp)]
            $0.volumes = [
                VolumeRequest(source: .bind("/srv/a"), destination: "/a"),
                VolumeRequest(source: .bind("/srv/b"), destination: "/b", readOnly: true),
            ]
        }
        guard case .enforced(let policy) = resolution.confinement.landlock else {
            Issue.record("Landlock is off")
            return
        }
        #expect(policy.rules.first { $0.path == "/" }?.access == ["execute", "read_file", "read_dir"])
        let writable = Set(policy.rules.filter { $0.access.contains("make_reg") }.map(\.path))
        #expect(writable == ["/tmp", "/run", "/var/tmp", "/dev/shm", "/dev/mqueue", "/a"])
        #expect(!policy.rules.contains { $0.path == "/proc" })
        #expect(policy.tcpBindPorts == [80] && policy.tcpConnectPorts == [])
    }

    @Test func strictRefusesATag() throws {
        let message = try refusal { try resolve(.strict, image: ImageDefaults(provenance: .tag)) }
        #expect(message.contains("name it by digest"))
        #expect(throws: Never.self) { try resolve(.strict, image: ImageDefaults(provenance: .local)) }
        #expect(throws: Never.self) { try resolve(image: ImageDefaults(provenance: .tag)) }
    }

    @Test(arguments: LevelName.allCases)
    func dataFilesAreWellFormed(_ name: LevelName) throws {
        let level = try Level.builtIn(name)
        #expect(level.name == name)
        #expect(!level.summary.isEmpty)
        for path in level.maskedPaths + level.readonlyPaths { #expect(path.hasPrefix("/") && !path.hasSuffix("/")) }
        #expect(Set(level.maskedPaths).count == level.maskedPaths.count)
        #expect(try resolve(name).relaxations.isEmpty == (name != .compat))
    }
}
