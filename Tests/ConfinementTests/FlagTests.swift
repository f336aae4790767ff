import Confinement
import OCISpec
import Testing

/// Each flag's effect, and the sentence where it cannot be granted.
@Suite struct FlagTests {
    @Test func capabilityFlags() throws {
        #expect(try resolve { $0.capabilitiesAdded = ["sys_chroot"] }.confinement.capabilities.bounding.contains(.sysChroot))
        #expect(try !resolve { $0.capabilitiesDropped = ["CAP_KILL"] }.confinement.capabilities.bounding.contains(.kill))
        let only = try resolve {
            $0.capabilitiesDropped = ["ALL"]
            $0.capabilitiesAdded = ["NET_BIND_SERVICE"]
        }
        #expect(only.confinement.capabilities.bounding.hexadecimal == "0000000000000400")
        #expect(try resolve { $0.capabilitiesDropped = ["all"] }.confinement.capabilities.bounding == [])
        #expect(try resolve { $0.capabilitiesAdded = ["ALL"] }.confinement.capabilities.bounding.hexadecimal == "000001ffffffffff")
        let message = try refusal { try resolve { $0.capabilitiesAdded = ["NET_ADMINN"] } }
        #expect(message == "--cap-add NET_ADMINN: no capability of this kernel has that name (see capabilities(7))")
        var old = aHost()
        old.lastCapability = 37
        #expect(try refusal { try resolve(host: old) { $0.capabilitiesAdded = ["BPF"] } }.contains("--cap-add BPF"))
    }

    @Test func anotherUserHoldsNoCapability() throws {
        let sets = try resolve { $0.user = PayloadUser(uid: 33, gid: 33) }.confinement.capabilities
        #expect(sets.bounding.hexadecimal == "00000000000004fb" && sets.effective == [] && sets.permitted == [])
    }

    @Test func sysAdminTurnsTheFileSystemPartOfLandlockOff() throws {
        let resolution = try resolve { $0.capabilitiesAdded = ["SYS_ADMIN"] }
        guard case .enforced(let policy) = resolution.confinement.landlock else {
            Issue.record("Landlock is off")
            return
        }
        #expect(!policy.handlesFileSystem && policy.rules.isEmpty && policy.scopeAbstractUnixSockets)
        #expect(resolution.confinement.mountsLocked)
        #expect(resolution.relaxations.map(\.flag) == ["--cap-add SYS_ADMIN", "--cap-add SYS_ADMIN"])
    }

    @Test(arguments: ["NET_ADMIN", "NET_RAW"])
    func networkNamespaceMovesInside(_ capability: String) throws {
        let resolution = try resolve { $0.capabilitiesAdded = [capability] }
        #expect(resolution.confinement.networkNamespaceInside)
        #expect(try !resolve().confinement.networkNamespaceInside)
        let bundle = try resolution.confinement.bundle(aBundle())
        #expect(bundle.extension.networkNamespaceInside)
        let host = try resolve {
            $0.capabilitiesAdded = [capability]
            $0.network = .host
        }
        #expect(!host.confinement.networkNamespaceInside)
    }

    /// Docker's defaults have NET_RAW: a level that has it as well must still start with its own network, closed to the host.
    @Test func aLevelsOwnNetworkCapabilityIsPowerlessWhereTheHostIsClosed() throws {
        func resolveCompat(_ change: (inout ConfinementRequest) -> Void = { _ in }) throws -> Resolution { try resolve(.compat, change) }
        let plain = try resolveCompat()
        #expect(plain.confinement.capabilities.bounding.contains(.netRaw) && !plain.confinement.networkNamespaceInside)
        #expect(plain.notes.contains { $0.hasPrefix("NET_RAW has no power over the outbound network") })
        let asked = try resolveCompat { $0.capabilitiesAdded = ["net_raw"] }
        #expect(asked.confinement.networkNamespaceInside && !asked.notes.contains { $0.hasPrefix("NET_RAW") })
        #expect(try resolveCompat { $0.capabilitiesAdded = ["ALL"] }.confinement.networkNamespaceInside)
        #expect(try resolveCompat { $0.network = ConfinementRequest.NetworkMode.none }.confinement.networkNamespaceInside)
        #expect(try resolveCompat { $0.capabilitiesDropped = ["NET_RAW"] }.notes.allSatisfy { !$0.hasPrefix("NET_RAW") })
    }

    @Test func privilegedSaysWhatItOpens() throws {
        let resolution = try resolve { $0.privileged = true }
        let confinement = resolution.confinement
        #expect(confinement.capabilities.bounding == .all && confinement.syscalls == .unconfined && confinement.landlock == .off)
        #expect(
            confinement.maskedPaths == [] && confinement.readonlyPaths == [] && !confinement.mountsLocked && !confinement.noNewPrivileges)
        #expect(confinement.deviceRules == [DeviceRule(allows: true, kind: .all)])
        // Even so its root is nobody on the host.
        guard case .own = confinement.userNamespace else {
            Issue.record("no user namespace")
            return
        }
        #expect(resolution.relaxations.count == 1)
        #expect(resolution.relaxations[0].flag == "--privileged" && resolution.relaxations[0].points >= 5)
        #expect(resolution.relaxations[0].effect.contains("every capability"))
    }

    @Test func securityOptions() throws {
        func add(_ options: String...) throws -> Resolution {
            var security = SecurityOptions()
            for option in options { try security.add(option) { _ in Array(#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.utf8) } }
            return try resolve { $0.security = security }
        }
        #expect(try !add("no-new-privileges=false").confinement.noNewPrivileges)
        #expect(try add("no-new-privileges:true").confinement.noNewPrivileges)
        #expect(try add("no-new-privileges").confinement.noNewPrivileges)
        #expect(try add("seccomp=unconfined").confinement.syscalls == .unconfined)
        #expect(try add("seccomp=/p.json").confinement.syscalls == .filtered(SyscallFilter(defaultAction: .allow)))
        #expect(try add("landlock=off").confinement.landlock == .off)
        #expect(try add("systempaths=unconfined").confinement.maskedPaths == [])
        #expect(try add("systempaths=unconfined").confinement.readonlyPaths == [])
        #expect(try add("unmask=ALL").confinement.maskedPaths == [])
        let unmasked = try add("unmask=/proc/kcore:/sys/firmware", "unmask=/proc/sys").confinement
        #expect(!unmasked.maskedPaths.contains("/proc/kcore") && unmasked.maskedPaths.contains("/proc/keys"))
        #expect(!unmasked.readonlyPaths.contains("/proc/sys") && unmasked.readonlyPaths.contains("/proc/bus"))
        let pattern = try add("unmask=/proc/k*").confinement
        #expect(!pattern.maskedPaths.contains("/proc/kcore") && pattern.maskedPaths.contains("/proc/interrupts"))
        let below = try add("unmask=/proc/*").confinement
        #expect(!below.maskedPaths.contains { $0.hasPrefix("/proc/") } && below.maskedPaths.contains { $0.hasPrefix("/sys/") })
        #expect(try add("unmask=/*").confinement.maskedPaths.contains("/proc/kcore"), "a star is no slash")
        #expect(try add("unmask=all").confinement.maskedPaths == [])
        #expect(try !add("unmask=/sys/devices").confinement.maskedPaths.contains { $0.hasPrefix("/sys/devices") })
        #expect(try add("mask=/proc/version").confinement.maskedPaths.contains("/proc/version"))
        #expect(try add("apparmor=unconfined", "label=disable").confinement.appArmor == .inherited)
        for (option, part) in [
            ("apparmor=mine", "no AppArmor"), ("label=type:x_t", "no SELinux"), ("label=nonsense", "label=nonsense"),
            ("seccomp=", "needs a file"),
            ("frobnicate", "is not known"), ("landlock=maybe", "“true” or “false”"), ("mask=relative", "absolute"),
            ("systempaths=x", "unconfined"),
        ] { #expect(try refusal { try add(option) }.contains(part), "\(option)") }
    }

    @Test func lsmLabelsWhereTheKernelHasThem() throws {
        var host = aHost()
        host.appArmor = .present(defaultProfile: "coffer-default")
        host.seLinux = .present(categories: "c1,c2")
        let confinement = try resolve(host: host).confinement
        #expect(confinement.appArmor == .profile("coffer-default"))
        #expect(
            confinement.seLinux
                == .labels(process: "system_u:system_r:container_t:s0:c1,c2", mounts: "system_u:object_r:container_file_t:s0:c1,c2"))
        let off = try resolve(host: host) {
            $0.security.appArmor = "unconfined"
            $0.security.labels = ["disable"]
        }
        #expect(off.confinement.appArmor == .profile("unconfined"))
        #expect(Set(off.relaxations.map(\.flag)) == ["--security-opt apparmor=unconfined", "--security-opt label=disable"])
        let typed = try resolve(host: host) { $0.security.labels = ["type:mine_t", "level:s0:c7"] }.confinement
        #expect(typed.seLinux == .labels(process: "system_u:system_r:mine_t:s0:c7", mounts: "system_u:object_r:container_file_t:s0:c7"))
    }

    @Test func userNamespaces() throws {
        #expect(
            try resolve(host: aHost(shared: true)).confinement.userNamespace
                == .own(
                    uids: [.init(containerID: 0, hostID: 1, size: 65536)], gids: [.init(containerID: 0, hostID: 1, size: 65536)],
                    sharesRange: true))
        #expect(try resolve(host: aHost(shared: true)).notes.contains { $0.contains("shared") })
        let kept = try resolve { $0.userNamespace = .keepID }
        guard case .own(let uids, _, _) = kept.confinement.userNamespace else {
            Issue.record("no user namespace")
            return
        }
        #expect(
            uids == [
                .init(containerID: 0, hostID: 1, size: 1000), .init(containerID: 1000, hostID: 0, size: 1),
                .init(containerID: 1001, hostID: 1001, size: 64535),
            ])
        #expect(kept.relaxations.map(\.flag) == ["--userns keep-id"])
        #expect(kept.confinement.user == PayloadUser(uid: 1000, gid: 1000) && kept.confinement.capabilities.effective == [])
        #expect(try refusal { try resolve(host: aHost(isRoot: true)) { $0.userNamespace = .keepID } }.contains("as root"))
        let host = try resolve { $0.userNamespace = .host }
        #expect(host.confinement.userNamespace == .host && !host.confinement.mountsLocked)
        #expect(host.relaxations[0].points >= 3)
    }

    @Test func identityMaps() throws {
        let map = [RuntimeSpec.IDMapping(containerID: 0, hostID: 100_000, size: 5000)]
        let confinement = try resolve(host: aHost(isRoot: true)) { $0.uidMap = map }.confinement
        #expect(confinement.userNamespace == .own(uids: map, gids: map, sharesRange: false))
        // Groups that do not exist in the namespace are EINVAL for the kernel.
        #expect(confinement.sysctls["net.ipv4.ping_group_range"] == "0 4999")
        let small = [RuntimeSpec.IDMapping(containerID: 0, hostID: 100_000, size: 3)]
        let mounts = try resolve(host: aHost(isRoot: true)) { $0.uidMap = small }.confinement.mounts
        #expect(!mounts[2].options.contains("gid=5"))
        let tooFar = try refusal {
            try resolve(host: aHost(isRoot: true)) {
                $0.uidMap = map
                $0.user = PayloadUser(uid: 5000)
            }
        }
        #expect(tooFar.contains("the user 5000 has no ID on the host"))
        let twice = try refusal { try resolve { $0.uidMap = map + [.init(containerID: 10, hostID: 1, size: 1)] } }
        #expect(twice.contains("mapped twice"))
        let overflow = try refusal { try resolve { $0.uidMap = [.init(containerID: 0, hostID: .max, size: 2)] } }
        #expect(overflow.contains("4294967294"))
        let asRoot = try resolve(host: aHost(isRoot: true)) { $0.uidMap = [.init(containerID: 0, hostID: 0, size: 65536)] }
        #expect(asRoot.relaxations.map(\.flag) == ["--uidmap"])
    }

    @Test func sharedNamespaces() throws {
        let pid = try resolve { $0.pid = .host }
        #expect(pid.confinement.namespaces.pid == .host)
        #expect(
            pid.confinement.mounts[0]
                == Mount(destination: "/proc", type: "bind", source: "/proc", options: ["rbind", "rslave", "nosuid", "noexec", "nodev"]))
        if case .enforced(let policy) = pid.confinement.landlock { #expect(policy.scopeSignals) }
        #expect(pid.relaxations.map(\.flag) == ["--pid host"])
        let network = try resolve { $0.network = .host }.confinement
        #expect(network.sysctls == [:])
        #expect(network.mounts.first { $0.destination == "/sys" }?.type == "bind")
        #expect(try !resolve { $0.ipc = .none }.confinement.mounts.contains { $0.destination == "/dev/shm" })
        #expect(try resolve { $0.ipc = .host }.confinement.mounts.first { $0.destination == "/dev/shm" }?.isBind == true)
        #expect(try resolve { $0.ipc = .shareable }.confinement.namespaces.ipc == .own)
        #expect(try resolve { $0.network = .at(path: "/proc/7/ns/net") }.confinement.network == .at(path: "/proc/7/ns/net"))
    }

    @Test func limits() throws {
        func limits(_ change: (inout ConfinementRequest) -> Void) throws -> Limits { try resolve(change).confinement.limits }
        func resolve(_ change: (inout ConfinementRequest) -> Void) throws -> Resolution { try ConfinementTests.resolve(.standard, change) }
        #expect(try limits { $0.memory = 100 << 20 }.memory == .at(100 << 20))
        #expect(try limits { $0.memory = 100 << 20 }.memoryAndSwap == .at(100 << 20))
        #expect(try limits { $0.memory = 0 }.memory == .unlimited)
        #expect(
            try limits {
                $0.memory = 100 << 20
                $0.memorySwap = -1
            }.memoryAndSwap == .unlimited)
        #expect(try limits { $0.pidsLimit = -1 }.pids == .unlimited)
        #expect(try limits { $0.pidsLimit = 50 }.pids == .at(50))
        #expect(try limits { $0.cpus = 1.5 }.cpuQuota == .at(150_000))
        #expect(try limits { $0.cpuShares = 2 }.cpuShares == 2)
        #expect(
            try limits { $0.ulimits = [.init(type: "RLIMIT_CORE", soft: 0, hard: 0)] }.processLimits.map(\.type) == [
                "RLIMIT_CORE", "RLIMIT_NOFILE",
            ])
        for (change, part) in [
            ({ $0.memory = 1 << 20 }, "6 MiB"),
            (
                {
                    $0.memorySwap = 1 << 20
                    $0.memory = 100 << 20
                }, "--memory-swap"
            ),
            (
                {
                    $0.memory = 0
                    $0.memorySwap = 1 << 30
                }, "--memory-swap needs"
            ), ({ $0.cpus = 0.001 }, "--cpus"), ({ $0.cpus = -1 }, "--cpus"),
            ({ $0.cpus = .nan }, "--cpus"), ({ $0.ulimits = [.init(type: "RLIMIT_NOFILE", soft: 1, hard: 1 << 40)] }, "above this host"),
            ({ $0.ulimits = [.init(type: "RLIMIT_CPU", soft: 2, hard: 1)] }, "above the hard one"),
        ] as [((inout ConfinementRequest) -> Void, String)] { #expect(try refusal { try resolve(change) }.contains(part), "\(part)") }
        #expect(try resolve { $0.memory = 0 }.relaxations.map(\.flag) == ["--memory 0"])
        #expect(ConfinementRequest.ulimitType(named: "nofile") == "RLIMIT_NOFILE")
        #expect(ConfinementRequest.ulimitType(named: "files") == nil)
    }

    @Test(arguments: [
        ("kernel.core_pattern", "x", "whole host"), ("kernel.shm_rmid_forced", "1+kernel.core_pattern=x", "characters"),
        ("net..core", "1", "no name"),
        ("net", "1", "no name"), ("net.ipv4/../../kernel", "1", "no name"), ("vm.overcommit_memory", "1", "whole host"),
        ("net.core.somaxconn", "1\n2", "characters"),
    ])
    func sysctlsThatAreRefused(_ key: String, _ value: String, _ part: String) throws {
        #expect(try refusal { try resolve { $0.sysctls = [key: value] } }.contains(part))
    }

    @Test func sysctls() throws {
        #expect(try resolve { $0.sysctls = ["net.core.somaxconn": "4096"] }.confinement.sysctls["net.core.somaxconn"] == "4096")
        #expect(try resolve { $0.sysctls = ["kernel.sem": "250 32000 100 128"] }.confinement.sysctls["kernel.sem"] == "250 32000 100 128")
        let hostNetwork = try refusal {
            try resolve {
                $0.network = .host
                $0.sysctls = ["net.core.somaxconn": "1"]
            }
        }
        #expect(hostNetwork.contains("another network"))
        let hostIPC = try refusal {
            try resolve {
                $0.ipc = .host
                $0.sysctls = ["kernel.sem": "1"]
            }
        }
        #expect(hostIPC.contains("--ipc is not private"))
    }

    @Test func ports() throws {
        let port = OutboundNetwork.PublishedPort(hostAddress: "127.0.0.1", hostPort: 80, containerPort: 80, transport: .tcp)
        var open = port
        open.hostAddress = "0.0.0.0"
        #expect(try resolve { $0.ports = [port] }.relaxations == [])
        #expect(try resolve { $0.ports = [open] }.relaxations.map(\.flag) == ["-p 0.0.0.0:80:80"])
        #expect(try refusal { try resolve { $0.ports = [port, port] } }.contains("published twice"))
        #expect(try refusal { try resolve(.strict) { $0.ports = [port] } }.contains("add --network outbound"))
        let host = try resolve {
            $0.ports = [port]
            $0.network = .host
        }
        #expect(host.notes.contains { $0.contains("-p has no effect") })
    }

    @Test func volumes() throws {
        let resolution = try resolve {
            $0.volumes = [
                VolumeRequest(source: .bind("/srv/x"), destination: "/data/sub/"),
                VolumeRequest(source: .temporary(bytes: 1 << 20, mode: "1777"), destination: "/scratch", noExec: true),
                VolumeRequest(source: .volume(path: "/state/v"), destination: "/data", readOnly: true),
            ]
            $0.generatedFiles = [GeneratedFile(source: "/state/hosts", destination: "/etc/hosts")]
        }
        let mounts = resolution.confinement.mounts
        #expect(mounts.map(\.destination).suffix(4) == ["/etc/hosts", "/scratch", "/data", "/data/sub"])
        #expect(mounts.first { $0.destination == "/data" }?.options == ["rbind", "rprivate", "rro", "nosuid", "nodev"])
        #expect(mounts.first { $0.destination == "/data/sub" }?.options == ["rbind", "rprivate", "nosuid", "nodev"])
        #expect(mounts.first { $0.destination == "/scratch" }?.options == ["nosuid", "nodev", "mode=1777", "size=1048576", "noexec"])
        #expect(mounts.first { $0.destination == "/etc/hosts" }?.options == ["bind", "private", "nosuid", "noexec", "nodev"])
        #expect(resolution.relaxations.map(\.flag) == ["-v /srv/x:/data/sub/"])
        for (destination, part) in [
            ("relative", "absolute"), ("/a/../b", ".."), ("/", "nothing can be mounted"), ("/.", "nothing can be mounted"),
        ] {
            let message = try refusal { try resolve { $0.volumes = [VolumeRequest(source: .bind("/x"), destination: destination)] } }
            #expect(message.contains(part), "\(destination)")
        }
        let twice = VolumeRequest(source: .bind("/x"), destination: "/y")
        #expect(try refusal { try resolve { $0.volumes = [twice, twice] } }.contains("same destination"))
    }

    @Test func aVolumeOverAKernelMountReplacesIt() throws {
        let mounts = try resolve { $0.volumes = [VolumeRequest(source: .temporary(bytes: 9, mode: "1777"), destination: "/dev/shm")] }
            .confinement.mounts
        #expect(mounts.filter { $0.destination == "/dev/shm" }.count == 1)
        #expect(mounts.first { $0.destination == "/dev/shm" }?.options.contains("size=9") == true)
    }

    @Test func pricesOfHostPaths() throws {
        func points(_ path: String, readOnly: Bool = false) throws -> Double {
            try resolve { $0.volumes = [VolumeRequest(source: .bind(path), destination: "/x", readOnly: readOnly)] }.relaxations.map(
                \.points
            ).reduce(0, +)
        }
        #expect(try points("/") >= 4)
        #expect(try points("/") > points("/", readOnly: true))
        #expect(try points("/var/run/docker.sock") >= 5)
        #expect(try points("/etc/ssl") > points("/srv/data"))
        #expect(try points("/srv/data", readOnly: true) == 0)
        #expect(try points("/srv/x.sock") > points("/srv/x"))
    }

    @Test func devices() throws {
        let device = DeviceRequest(hostPath: "/dev/fuse", path: "/dev/fuse", kind: .character, major: 10, minor: 229)
        let resolution = try resolve { $0.devices = [device] }
        #expect(resolution.confinement.devices.last?.path == "/dev/fuse")
        #expect(resolution.confinement.deviceRules.last == DeviceRule(allows: true, kind: .character, major: 10, minor: 229))
        #expect(resolution.relaxations.map(\.flag) == ["--device /dev/fuse"])
        var renamed = device
        renamed.path = "/dev/other"
        let mount = try resolve { $0.devices = [renamed] }.confinement.mounts.last
        #expect(mount?.source == "/dev/fuse" && mount?.destination == "/dev/other" && mount?.options.contains("nodev") == false)
    }

    @Test func relaxationsAreSortedByPrice() throws {
        let points = try resolve {
            $0.capabilitiesAdded = ["SYS_CHROOT", "SYS_ADMIN"]
            $0.pid = .host
            $0.security.seccomp = .unconfined
        }.relaxations.map(\.points)
        #expect(points == points.sorted(by: >) && points.count == 5)
    }

    @Test func generatedFilesAreReadOnlyWithTheRoot() throws {
        let mounts = try resolve(.strict) {
            $0.generatedFiles = [GeneratedFile(source: "/state/hosts", destination: "/etc/hosts")]
        }.confinement.mounts
        #expect(mounts.first { $0.destination == "/etc/hosts" }?.options.contains("ro") == true)
    }
}
