import LaunchPlan
import OCISpec
import Testing

@testable import ContainerRuntime

@Suite("Configuration to plan")
struct LaunchPlannerTests {
    private let facts = LaunchFacts(hasControlGroups: true, bundle: "/bundle")

    private func spec() -> RuntimeSpec {
        var process = RuntimeSpec.Process(cwd: "/")
        process.args = ["true"]
        process.noNewPrivileges = true
        var linux = RuntimeSpec.Linux()
        linux.namespaces = [.pid, .network, .ipc, .uts, .mount].map { RuntimeSpec.Namespace(type: $0, path: nil) }
        var spec = RuntimeSpec(ociVersion: "1.2.0")
        spec.process = process
        spec.root = RuntimeSpec.Root(path: "rootfs", readonly: nil)
        spec.linux = linux
        return spec
    }

    private func problem(_ change: (inout RuntimeSpec) -> Void) -> String? {
        var changed = spec()
        change(&changed)
        do {
            _ = try LaunchPlanner.plan(changed, nil, facts: facts)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test("A plain configuration gives a plan without violations that ends with execute")
    func plain() throws {
        let plan = try LaunchPlanner.plan(spec(), nil, facts: facts)
        #expect(plan.violations == [])
        #expect(plan.steps.last?.kind == .execute)
        #expect(plan.steps.contains(.root(.directory("/bundle/rootfs"))))
        #expect(plan.steps.contains(.noNewPrivileges))
    }

    @Test("What cannot be run is refused in one sentence")
    func refusals() {
        #expect(problem { $0.process?.args = [] } == "process.args is empty: nothing to run")
        #expect(problem { $0.process?.cwd = "x" }?.contains("must be an absolute path") == true)
        // "No change" to the kernel, so root (CVE-2024-40635).
        for user in [RuntimeSpec.User(uid: .max, gid: 0), RuntimeSpec.User(uid: 1, gid: .max)] {
            #expect(problem { $0.process?.user = user }?.contains("IDs end at 4294967294") == true)
        }
        #expect(
            problem {
                $0.process?.user = .init(uid: 1, gid: 1)
                $0.process?.user?.additionalGids = [.max]
            } != nil)
        #expect(problem { $0.ociVersion = "2.0.0" }?.contains("only 1.x is supported") == true)
        #expect(problem { $0.ociVersion = "1.3.0" } == nil)
        #expect(problem { $0.linux?.namespaces?.append(.init(type: .pid, path: nil)) } == "namespace pid is given twice")
        #expect(problem { $0.process?.args = ["a\0b"] }?.contains("NUL") == true)
        #expect(problem { $0.process?.rlimits = [.init(type: "RLIMIT_NOFILE", soft: 2, hard: 1)] }?.contains("above the hard") == true)
        #expect(problem { $0.process?.rlimits = [.init(type: "NOFILE", soft: 1, hard: 1)] } == "unknown resource limit NOFILE")
        #expect(problem { $0.linux?.maskedPaths = ["proc/x"] }?.contains("not absolute") == true)
    }

    @Test("Only the host's root does without a mount namespace, only without a user namespace, and is told what that means")
    func sharedMounts() throws {
        var changed = spec()
        changed.linux?.namespaces?.removeAll { $0.type == .mount || $0.type == .user }
        changed.linux?.uidMappings = nil
        changed.linux?.gidMappings = nil
        let plan = try LaunchPlanner.plan(changed, nil, facts: facts)
        #expect(plan.sharesMounts)
        #expect(plan.warnings.contains { $0.contains("no mount namespace") })
        #expect(throws: PlanError.self) { try LaunchPlanner.plan(changed, ext(network: .none, inside: false), facts: facts) }
        var ordinary = facts
        ordinary.isPrivileged = false
        #expect(throws: PlanError.self) { try LaunchPlanner.plan(changed, nil, facts: ordinary) }
        changed.linux?.namespaces?.append(.init(type: .user, path: nil))
        #expect(throws: PlanError.self) { try LaunchPlanner.plan(changed, nil, facts: facts) }
        let own = try LaunchPlanner.plan(spec(), nil, facts: facts)
        #expect(!own.sharesMounts)
    }

    @Test("Binds that follow each other are asked for at once")
    func bindRuns() throws {
        var changed = spec()
        func bind(_ name: String) -> RuntimeSpec.Mount { .init(destination: name, type: "bind", source: "/etc", options: ["bind"]) }
        changed.mounts = [bind("/a"), bind("/b"), .init(destination: "/c", type: "tmpfs", source: "tmpfs", options: nil), bind("/d")]
        let plan = try LaunchPlanner.plan(changed, nil, facts: facts)
        let first = try #require(plan.steps.firstIndex { $0.kind == .mount })
        #expect(plan.binds(from: first) == first..<first + 2)
        #expect(plan.binds(from: first + 2).isEmpty)
        #expect(plan.binds(from: first + 3).count == 1)
        #expect(plan.binds(from: plan.steps.count + 5).isEmpty)
    }

    @Test("A string that the kernel would read shorter than the document has it is refused, an escaped backslash is none")
    func strings() throws {
        for text in [#"{"ociVersion":"1.2.0\u0000"}"#, #"{"ociVersion":"1.2.0","x":"a\\\u0000"}"#] {
            #expect(throws: PlanError.self) { try Bundle.parse(Array(text.utf8), directory: "/nonexistent", configuration: "config.json") }
        }
        let harmless = #"{"ociVersion":"1.2.0","hostname":"a\\u0000"}"#
        #expect(try Bundle.parse(Array(harmless.utf8), directory: "/nonexistent", configuration: "config.json").spec.hostname == #"a\u0000"#)
    }

    @Test("A capability that nobody knows is a warning, as the specification wants, and is not granted")
    func unknownCapability() throws {
        var changed = spec()
        changed.process?.capabilities = .init(bounding: ["CAP_NONE", "CAP_KILL"], permitted: ["CAP_NONE"])
        let plan = try LaunchPlanner.plan(changed, nil, facts: facts)
        #expect(plan.warnings == ["ignoring unknown capability CAP_NONE"])
        #expect(plan.steps.contains(.capabilities(CapabilityStep(bounding: 1 << 5, effective: 0, permitted: 0, inheritable: 0, ambient: 0))))
    }

    @Test("What can never be ambient is said where somebody meant it, and logged where an engine always asks for it")
    func ambientCapability() throws {
        var changed = spec()
        changed.process?.capabilities = .init(inheritable: ["CAP_KILL"], permitted: ["CAP_KILL", "CAP_CHOWN"], ambient: ["CAP_KILL", "CAP_CHOWN"])
        var plan = try LaunchPlanner.plan(changed, nil, facts: facts)
        #expect((plan.warnings, plan.remarks) == (["can't raise ambient capability CAP_CHOWN: not inheritable"], []))
        changed.process?.capabilities?.inheritable = []
        plan = try LaunchPlanner.plan(changed, nil, facts: facts)
        #expect((plan.warnings, plan.remarks) == ([], ["can't raise ambient capability CAP_KILL, CAP_CHOWN: not inheritable"]))
    }

    @Test("Hooks have their places: before the root is switched, and after")
    func hooks() throws {
        var changed = spec()
        let hook = RuntimeSpec.Hook(path: "/bin/true")
        changed.hooks = .init(createRuntime: [hook], createContainer: [hook], startContainer: [hook])
        changed.linux?.seccomp = .init(defaultAction: "SCMP_ACT_ALLOW")
        for privileges in [true, false] {
            changed.process?.noNewPrivileges = privileges
            let kinds = try LaunchPlanner.plan(changed, nil, facts: facts).steps.map(\.kind)
            let wanted: [LaunchStep.Kind] = [.runtimeHooks, .containerHooks, .pivot, .startHooks, .systemCallFilter, .execute]
            #expect(kinds.filter(wanted.contains) == wanted)
        }
        #expect(problem { $0.hooks = .init(poststop: [.init(path: "true")]) }?.contains("no absolute path") == true)
        #expect(problem { $0.hooks = .init(prestart: [.init(path: "/bin/true", timeout: 0)]) }?.contains("timeout") == true)
    }

    @Test("Scheduling parameters become the kernel's numbers, or one sentence")
    func scheduling() throws {
        var changed = spec()
        changed.process?.scheduler = .init(policy: "SCHED_RR", priority: 7, flags: ["SCHED_FLAG_RESET_ON_FORK"])
        changed.process?.ioPriority = .init(class: "IOPRIO_CLASS_BE", priority: 4)
        changed.linux?.personality = .init(domain: "LINUX32")
        let steps = try LaunchPlanner.plan(changed, nil, facts: facts).steps
        #expect(
            steps.contains(.scheduler(SchedulerStep(policy: 2, flags: 1, nice: 0, priority: 7, runtime: 0, deadline: 0, period: 0))))
        #expect(steps.contains(.ioPriority(0x4004)))
        #expect(steps.contains(.personality(8)))
        #expect(problem { $0.process?.scheduler = .init(policy: "SCHED_BATCH", priority: 1) }?.contains("SCHED_FIFO") == true)
        #expect(problem { $0.process?.ioPriority = .init(class: "IOPRIO_CLASS_RT", priority: 8) }?.contains("0…7") == true)
        #expect(problem { $0.linux?.personality = .init(domain: "BSD") }?.contains("BSD") == true)
        #expect(problem { $0.linux?.timeOffsets = ["monotonic": .init(secs: 1)] }?.contains("time namespace") == true)
        #expect(problem { $0.linux?.rootfsPropagation = "sideways" }?.contains("sideways") == true)
        #expect(problem { $0.linux?.intelRdt = .init() }?.contains("not supported") == true)
    }

    @Test(
        "Only parameters of the container's own namespaces may be set (CVE-2022-0811)",
        arguments: [
            "kernel.core_pattern", "kernel.shm_rmid_forced=1+kernel.core_pattern", "vm.swappiness", "net/../kernel.core_pattern",
            "net.ipv4/../../kernel/core_pattern", "", ".", "fs.mqueue./../x",
        ])
    func systemControls(_ key: String) {
        #expect(problem { $0.linux?.sysctl = [key: "1"] } != nil)
    }

    @Test("Parameters of own namespaces are taken, of the host's not")
    func ownSystemControls() {
        #expect(problem { $0.linux?.sysctl = ["net.ipv4.ip_forward": "1", "kernel.shmmax": "1", "fs.mqueue.msg_max": "5"] } == nil)
        #expect(
            problem {
                $0.linux?.sysctl = ["net.ipv4.ip_forward": "1"]
                $0.linux?.namespaces?.removeAll { $0.type == .network }
            }?.contains("would change the host") == true)
    }

    @Test("Without groups, RLIMIT_NPROC bounds what the pids limit would have")
    func processLimitWithoutGroups() throws {
        var changed = spec()
        changed.linux?.namespaces?.append(.init(type: .user, path: nil))
        changed.linux?.uidMappings = [.init(containerID: 0, hostID: 100_000, size: 65536)]
        changed.linux?.gidMappings = [.init(containerID: 0, hostID: 100_000, size: 65536)]
        changed.linux?.resources = .init(pids: .init(limit: 77))
        let without = try LaunchPlanner.plan(changed, nil, facts: LaunchFacts(hasControlGroups: false, bundle: "/"))
        #expect(without.steps.contains(.resourceLimit(name: "RLIMIT_NPROC", soft: 77, hard: 77)))
        let with = try LaunchPlanner.plan(changed, nil, facts: facts)
        #expect(!with.steps.contains(.resourceLimit(name: "RLIMIT_NPROC", soft: 77, hard: 77)))
    }

    private func ext(network: NetworkPolicy, inside: Bool, initProcess: Bool = false) -> BundleExtension {
        BundleExtension(
            root: .directory, lockMounts: false, landlock: nil, network: network, stdio: StandardStreams(stdinOpen: false), log: nil,
            exitCommand: nil, initProcess: initProcess, userSpec: nil, networkNamespaceInside: inside, preferredSteps: [],
            cgroupRequired: false)
    }

    @Test("Capabilities over the network and rules that close the host exclude each other")
    func networkInside() throws {
        let outbound = NetworkPolicy.outbound(
            OutboundNetwork(ports: [], pastaPath: "/usr/bin/pasta", dnsForwardAddress: nil, closeHost: true))
        #expect(throws: PlanError.self) { try LaunchPlanner.plan(spec(), ext(network: outbound, inside: true), facts: facts) }
        #expect(try LaunchPlanner.plan(spec(), ext(network: .none, inside: true), facts: facts).violations == [])
        let plan = try LaunchPlanner.plan(spec(), ext(network: outbound, inside: false), facts: facts)
        #expect(plan.steps.contains { $0.kind == .egressRules })
    }

    @Test("--init binds the runtime on /dev, where no image has anything, and runs the program through it")
    func initProcess() throws {
        let plan = try LaunchPlanner.plan(
            spec(), ext(network: .none, inside: false, initProcess: true),
            facts: LaunchFacts(hasControlGroups: true, bundle: "/bundle", program: "/opt/coffer-runtime"))
        #expect(plan.steps.last == .execute(arguments: ["/dev/coffer-init", "init", "--", "true"], environment: []))
        let mount = plan.steps.compactMap { step -> MountStep? in if case .mount(let mount) = step { mount } else { nil } }.last
        #expect(mount?.source == .bind(path: "/opt/coffer-runtime", recursive: false))
        #expect(mount?.setAttributes == 0x7, "read-only, nosuid, nodev")
    }

    @Test("A mount is ID-mapped by the container's own maps, or by those that it brings")
    func mappedMounts() throws {
        func bind(_ options: [String], _ maps: [RuntimeSpec.IDMapping]?) -> RuntimeSpec.Mount {
            RuntimeSpec.Mount(
                destination: "/v", type: "bind", source: "/srv", options: ["bind"] + options, uidMappings: maps, gidMappings: maps)
        }
        let maps = [RuntimeSpec.IDMapping(containerID: 0, hostID: 100_000, size: 65536)]
        let withUserNamespace: (inout RuntimeSpec) -> Void = { spec in
            spec.linux?.namespaces?.append(.init(type: .user, path: nil))
            spec.linux?.uidMappings = maps
            spec.linux?.gidMappings = maps
        }
        #expect(problem { $0.mounts = [bind(["idmap"], nil)] }?.contains("needs a user namespace") == true)
        #expect(
            problem {
                withUserNamespace(&$0)
                $0.mounts = [bind(["idmap"], maps)]
            } == nil)
        var changed = spec()
        withUserNamespace(&changed)
        changed.mounts = [
            bind(["idmap"], maps), bind(["ridmap"], [.init(containerID: 0, hostID: 5, size: 1)]), bind([], nil),
        ]
        let ranges = [RuntimeSpec.IDMapping(containerID: 0, hostID: 5, size: 1)]
        let mapped = try LaunchPlanner.plan(changed, nil, facts: facts).steps.compactMap { step -> MountIDMapping?? in
            if case .mount(let mount) = step { mount.idMapping } else { nil }
        }
        #expect(
            mapped == [
                MountIDMapping(map: .container, recursive: false),
                MountIDMapping(map: .ranges(uid: ranges, gid: ranges), recursive: true), nil,
            ])
        #expect(
            problem { $0.mounts = [.init(destination: "/v", type: "bind", source: "/srv", uidMappings: maps)] }?.contains("only one of") == true)
    }

    @Test("Mount options by table")
    func mountOptions() {
        let options = MountOptions(["ro", "nosuid", "rbind", "rslave", "size=64m", "mode=1777", "tmpcopyup"])
        #expect(options.set == [.readOnly, .noSetuid])
        #expect(options.bind && options.recursiveBind && options.copyUp)
        #expect(options.propagation == .slave)
        #expect(options.parameters == [MountOption(key: "size", value: "64m"), MountOption(key: "mode", value: "1777")])
        #expect(MountOptions(["ro", "rw"]).set.isEmpty)
        #expect(MountOptions(["rro"]).recursiveSet == .readOnly)
        #expect(MountOptions(["ro"]).recursiveSet.isEmpty)
        #expect(MountOptions(["rro", "rrw"]).recursiveSet.isEmpty)
        #expect(MountOptions(["rro", "rrw"]).recursiveClear == .readOnly)
        #expect(MountOptions(["rslave"]).recursivePropagation)
        #expect(!MountOptions(["slave"]).recursivePropagation)
    }
}

@Suite("Logs")
struct ContainerLogTests {
    private func line(_ text: [UInt8]) -> String { String(decoding: ContainerLog.line(text, .stdout, "T"), as: UTF8.self) }

    @Test("One line is one JSON object as Docker writes it")
    func plainLine() {
        #expect(line(Array("hello\n".utf8)) == "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n")
    }

    @Test("Whatever the payload writes, the log stays JSON")
    func hostileLine() {
        #expect(line(Array("a\"b\\c\u{1}\n".utf8)) == "{\"log\":\"a\\\"b\\\\c\\u0001\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n")
        #expect(line([0xff, 0x0a]).contains("\u{fffd}\\n"))
    }

    @Test("Files are rotated by size, and no more are kept than asked for")
    func rotation() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/container.log"
        let policy = LogPolicy(path: path, maxBytes: 300, maxFiles: 3)
        var log = try ContainerLog(policy, file: ContainerLog.openFile(policy))
        for number in 0..<40 { log.append(Array("line \(number)\n".utf8), .stdout) }
        log.finish()
        let names = try directory.names()
        #expect(names == ["container.log", "container.log.1", "container.log.2"])
        let newest = try directory.read("container.log")
        #expect(newest.contains("line 39"))
        #expect(!newest.contains("line 0\\n"))
    }

    @Test("A line without an end is kept until it has one, or the container ends")
    func partialLine() throws {
        let directory = try TemporaryDirectory()
        let policy = LogPolicy(path: directory.path + "/l", maxBytes: 10000, maxFiles: 1)
        var log = try ContainerLog(policy, file: ContainerLog.openFile(policy))
        log.append(Array("half".utf8), .stderr)
        #expect(try directory.read("l") == "")
        log.append(Array(" done\nrest".utf8), .stderr)
        #expect(try directory.read("l").contains("\"half done\\n\""))
        log.finish()
        #expect(try directory.read("l").contains("\"rest\""))
    }
}
