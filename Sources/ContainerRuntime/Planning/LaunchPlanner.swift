import LaunchPlan
import LinuxKernel
import OCISpec
import TextSearch

/// A configuration that cannot be turned into a plan: one sentence for the user.
public struct PlanError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// What the machine offers, as far as the plan depends on it.
public struct LaunchFacts: Sendable {
    /// The container will have control groups of its own.
    public var hasControlGroups: Bool
    /// Absolute path of the bundle, for relative root paths.
    public var bundle: String
    /// Absolute host path of this runtime, which `--init` binds into the container.
    public var program: String
    /// Without a program there is nothing to plan; `create` can do without until `start`.
    public var requiresProcess = true
    /// `--no-pivot`
    public var movesRoot = false
    /// `--no-new-keyring`
    public var keepsKeyring = false
    /// The caller's own IDs.
    public var user: UInt32 = 0
    public var group: UInt32 = 0
    /// The caller is the host's root: a control group that cannot be had is an error then.
    public var isPrivileged = true

    public init(hasControlGroups: Bool, bundle: String, program: String = "/proc/self/exe") {
        self.hasControlGroups = hasControlGroups
        self.bundle = bundle
        self.program = program
    }
}

/// Turns an OCI configuration and Coffer's own extension into a launch plan. Input validation ends here: what follows
/// works on typed, total data (DESIGN: "From a command to execve").
public enum LaunchPlanner {
    /// - Parameter ext: nil for a bundle of another engine, which is then run exactly as the specification says.
    public static func plan(_ spec: RuntimeSpec, _ ext: BundleExtension?, facts: LaunchFacts) throws -> LaunchPlan {
        try validate(spec, facts)
        // What `create` does not need yet: `start` will say that there is no program.
        let process = spec.process ?? RuntimeSpec.Process(cwd: "/")
        let linux = spec.linux ?? RuntimeSpec.Linux()
        let namespaces = try NamespacePlan(linux)
        let networkInside = ext?.networkNamespaceInside ?? false
        // A has a network namespace all the same, which nobody uses: sysfs can only be mounted by the owner of the current one.
        if networkInside, case .outbound(let network)? = ext?.network, network.closeHost {
            throw PlanError(
                "NET_ADMIN and NET_RAW would let the container change the rules that close the host to it: "
                    + "use --network none, or leave the capability out")
        }
        var steps = try outsideSteps(spec, linux, ext, facts, namespaces)
        let controls = try systemControls(linux, namespaces, networkInside: networkInside)
        steps += controls.filter { !$0.inside }.map(\.step)
        steps += try resourceLimits(process, linux, facts, namespaces)
        if let score = process.oomScoreAdj { steps.append(.oomScore(score)) }
        steps += try fileSystemSteps(spec, linux, ext, facts, namespaces)
        if ext?.initProcess ?? false, let pivot = steps.firstIndex(where: { $0.kind == .pivot }) {
            steps.insert(.mount(initMount(facts)), at: pivot)
        }
        if ext?.lockMounts == true {
            guard namespaces.makesUserNamespace else {
                throw PlanError("locked mounts need a user namespace: do not combine them with --userns host")
            }
            steps += [.nestingLimit, .lockedMounts(networkInside: networkInside)]
            steps += controls.filter(\.inside).map(\.step)
        }
        if !facts.keepsKeyring { steps.append(.keyring) }
        steps += try SchedulingSteps.of(process, linux)
        steps += try finalSteps(process, spec, ext)
        let preferred = Set((ext?.preferredSteps ?? []).compactMap { LaunchStep.Kind(rawValue: $0) })
        let size = process.consoleSize.map { TerminalSize(rows: $0.height, columns: $0.width) }
        var plan = LaunchPlan(
            steps: steps, terminal: process.terminal ?? false, terminalSize: size, preferred: preferred)
        (plan.warnings, plan.remarks) = warnings(process)
        if plan.sharesMounts {
            plan.warnings.append("the container has no mount namespace: its mounts are made on the host, and chroot alone keeps it in its root")
        }
        if let violation = plan.violations.first { throw PlanError("the launch plan is wrong: \(violation)") }
        return plan
    }

    /// Everything around the container's file system: namespaces, groups, network, names.
    private static func outsideSteps(
        _ spec: RuntimeSpec, _ linux: RuntimeSpec.Linux, _ ext: BundleExtension?, _ facts: LaunchFacts, _ namespaces: NamespacePlan
    ) throws -> [LaunchStep] {
        var steps: [LaunchStep] = [.namespaces(new: namespaces.new, joined: namespaces.joined)]
        if namespaces.makesUserNamespace { steps.append(try identityMaps(linux, facts)) }
        if let group = controlGroup(linux, ext, facts) { steps.append(.controlGroup(group)) }
        steps += try NetworkDevicePlan.steps(linux, namespaces, networkInside: ext?.networkNamespaceInside ?? false)
        if let network = ext?.network, case .outbound = network { steps.append(.network(network)) }
        if case .overlay(let overlay)? = ext?.root, overlay.idmapLowers { steps.append(.layers(overlay)) }
        steps.append(.mountNamespace)
        if let offsets = try timeOffsets(linux, namespaces) { steps.append(offsets) }
        if spec.hostname != nil || spec.domainname != nil {
            let member = spec.hostname == nil ? "domainname" : "hostname"
            guard namespaces.new.contains("uts") || namespaces.joins("uts") else {
                throw PlanError("\(member) is set but the UTS namespace is the host's: add {\"type\": \"uts\"} to linux.namespaces")
            }
            if let domain = spec.domainname, let control = linux.sysctl?["kernel.domainname"], control != domain {
                throw PlanError("sysctl \"kernel.domainname\" is \"\(control)\" and domainname is \"\(domain)\": name one of them")
            }
            steps.append(.hostname(spec.hostname, domain: spec.domainname))
        }
        if namespaces.new.contains("net") { steps.append(.loopback) }
        if case .outbound(let network)? = ext?.network, network.closeHost { steps.append(.egressRules(network)) }
        return steps
    }

    private static func timeOffsets(_ linux: RuntimeSpec.Linux, _ namespaces: NamespacePlan) throws -> LaunchStep? {
        let offsets = try (linux.timeOffsets ?? [:]).sorted { $0.key < $1.key }.map { clock, offset in
            guard ["monotonic", "boottime"].contains(clock) else { throw PlanError("linux.timeOffsets has the unknown clock \(clock)") }
            guard offset.nanosecs ?? 0 < 1_000_000_000 else {
                throw PlanError("linux.timeOffsets.\(clock).nanosecs is \(offset.nanosecs ?? 0): it must be below 1000000000")
            }
            return TimeOffset(clock: clock, seconds: offset.secs ?? 0, nanoseconds: offset.nanosecs ?? 0)
        }
        if namespaces.new.contains("time") { return .timeOffsets(offsets) }
        if offsets.isEmpty { return nil }
        throw PlanError("linux.timeOffsets needs a new time namespace: add {\"type\": \"time\"} to linux.namespaces")
    }

    /// Where the small init of `--init` lies inside: on the container's own /dev, which no image can have anything on.
    static let initPath = "/dev/coffer-init"

    private static func initMount(_ facts: LaunchFacts) -> MountStep {
        let closed: MountAttributes = [.readOnly, .noSetuid, .noDevices]
        return MountStep(
            destination: initPath, source: .bind(path: facts.program, recursive: false), setAttributes: closed.rawValue,
            clearAttributes: 0, propagation: nil, optional: false, copyUp: false)
    }

    private static func validate(_ spec: RuntimeSpec, _ facts: LaunchFacts) throws {
        guard RuntimeSpec.accepts(version: spec.ociVersion) else {
            throw PlanError("config.json has ociVersion \"\(spec.ociVersion)\": only 1.x is supported")
        }
        if spec.linux?.intelRdt != nil { throw PlanError("linux.intelRdt is not supported: remove it from config.json") }
        try validate(spec.hooks)
        guard let process = spec.process else {
            if facts.requiresProcess { throw PlanError("config.json has no process: nothing to run") }
            return
        }
        guard let arguments = process.args, !arguments.isEmpty else { throw PlanError("process.args is empty: nothing to run") }
        guard process.cwd.hasPrefix("/") else {
            throw PlanError("process.cwd is \"\(process.cwd)\": the working directory must be an absolute path")
        }
        for text in arguments + (process.env ?? []) + [process.cwd] where text.utf8.contains(0) {
            throw PlanError("process contains a NUL byte in \"\(text.prefix(40))\"")
        }
    }

    private static func validate(_ hooks: RuntimeSpec.Hooks?) throws {
        guard let hooks else { return }
        let all = [hooks.prestart, hooks.createRuntime, hooks.createContainer, hooks.startContainer, hooks.poststart, hooks.poststop]
        for hook in all.flatMap({ $0 ?? [] }) {
            guard hook.path.hasPrefix("/"), !hook.path.utf8.contains(0) else {
                throw PlanError("the hook \"\(hook.path)\" has no absolute path")
            }
            if let timeout = hook.timeout, timeout <= 0 { throw PlanError("the hook \(hook.path) has the timeout \(timeout): it must be above 0") }
        }
    }

    private static func identityMaps(_ linux: RuntimeSpec.Linux, _ facts: LaunchFacts) throws -> LaunchStep {
        let (uid, gid) = (linux.uidMappings ?? [], linux.gidMappings ?? [])
        // The specification leaves both open: then the caller, and nobody else, is root inside, as crun has it.
        if uid.isEmpty, gid.isEmpty {
            func own(_ id: UInt32) -> [RuntimeSpec.IDMapping] { [RuntimeSpec.IDMapping(containerID: 0, hostID: id, size: 1)] }
            return .identityMaps(uid: own(facts.user), gid: own(facts.group))
        }
        guard !uid.isEmpty, !gid.isEmpty else {
            throw PlanError("a new user namespace needs both of linux.uidMappings and linux.gidMappings, or none")
        }
        return .identityMaps(uid: uid, gid: gid)
    }

    private static func controlGroup(
        _ linux: RuntimeSpec.Linux, _ ext: BundleExtension?, _ facts: LaunchFacts
    ) -> ControlGroup? {
        guard let path = linux.cgroupsPath else { return nil }
        let required = ext?.cgroupRequired ?? (facts.isPrivileged || linux.resources?.limitsAnything ?? false)
        return ControlGroup(
            path: path, resources: linux.resources ?? RuntimeSpec.Resources(), required: required, isStrict: ext == nil, countsUse: ext == nil)
    }

    /// Parameters of the network namespace wait until it exists.
    private static func systemControls(
        _ linux: RuntimeSpec.Linux, _ namespaces: NamespacePlan, networkInside: Bool
    ) throws -> [(step: LaunchStep, inside: Bool)] {
        try (linux.sysctl ?? [:]).sorted { $0.key < $1.key }.map { key, value in
            (.systemControl(key: try systemControl(key, namespaces), value: value), networkInside && key.hasPrefix("net."))
        }
    }

    /// Only parameters of namespaces that are the container's own (CVE-2022-0811: kernel.core_pattern through a crafted value).
    private static func systemControl(_ key: String, _ namespaces: NamespacePlan) throws -> String {
        guard !key.isEmpty, !key.hasPrefix("."), !key.contains("/"), !key.contains(".."), key.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw PlanError("sysctl \"\(key)\" is not a valid name")
        }
        let ipc = [
            "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
            "kernel.shmmni", "kernel.shm_rmid_forced",
        ]
        if key.hasPrefix("net."), namespaces.new.contains("net") || namespaces.joins("net") { return key }
        if ipc.contains(key) || key.hasPrefix("fs.mqueue."), namespaces.new.contains("ipc") || namespaces.joins("ipc") { return key }
        // Two words for one name have no order (as runc and crun have it).
        if key == "kernel.hostname" { throw PlanError("sysctl \"kernel.hostname\" conflicts with the OCI field hostname: use that one") }
        if key == "kernel.domainname", namespaces.new.contains("uts") || namespaces.joins("uts") { return key }
        throw PlanError("sysctl \"\(key)\" is not in a separate kernel namespace: it would change the host")
    }

    private static func resourceLimits(
        _ process: RuntimeSpec.Process, _ linux: RuntimeSpec.Linux, _ facts: LaunchFacts, _ namespaces: NamespacePlan
    ) throws -> [LaunchStep] {
        var seen: Set<String> = []
        var steps: [LaunchStep] = []
        for limit in process.rlimits ?? [] {
            guard ResourceLimit.number(of: limit.type) != nil else { throw PlanError("unknown resource limit \(limit.type)") }
            guard seen.insert(limit.type).inserted else { throw PlanError("resource limit \(limit.type) is given twice") }
            guard limit.soft <= limit.hard else {
                throw PlanError("\(limit.type): the soft limit \(limit.soft) is above the hard limit \(limit.hard)")
            }
            steps.append(.resourceLimit(name: limit.type, soft: limit.soft, hard: limit.hard))
        }
        // Where no control group can be had, RLIMIT_NPROC still bounds forks: it counts per user namespace since Linux 5.14.
        if !facts.hasControlGroups, namespaces.makesUserNamespace, !seen.contains("RLIMIT_NPROC"),
            let pids = linux.resources?.pids?.limit, pids > 0
        {
            steps.append(.resourceLimit(name: "RLIMIT_NPROC", soft: UInt64(pids), hard: UInt64(pids)))
        }
        return steps
    }

    private static func finalSteps(
        _ process: RuntimeSpec.Process, _ spec: RuntimeSpec, _ ext: BundleExtension?
    ) throws -> [LaunchStep] {
        let startHooks = spec.hooks?.startContainer ?? []
        let user = process.user ?? RuntimeSpec.User(uid: 0, gid: 0)
        let groups = user.additionalGids ?? []
        // To setresuid(2) and setresgid(2) that number means "as it was": root (CVE-2024-40635).
        if ([user.uid, user.gid] + groups).contains(UInt32.max) {
            throw PlanError("process.user has the ID 4294967295, which is none: IDs end at 4294967294")
        }
        let identity: LaunchStep
        let groupNames = ext?.groupNames ?? []
        if let name = ext?.userSpec, !name.isEmpty {
            identity = .identity(.named(name, additionalGroups: groups, groupNames: groupNames, umask: user.umask))
        } else if !groupNames.isEmpty {
            identity = .identity(.named("\(user.uid):\(user.gid)", additionalGroups: groups, groupNames: groupNames, umask: user.umask))
        } else {
            identity = .identity(.numeric(uid: user.uid, gid: user.gid, additionalGroups: groups, umask: user.umask))
        }
        let capabilities = LaunchStep.capabilities(capabilityStep(process.capabilities))
        let usesInit = ext?.initProcess ?? false
        let execute = LaunchStep.execute(
            arguments: (usesInit ? [initPath, "init", "--"] : []) + (process.args ?? []), environment: process.env ?? [])
        var policy = ext?.landlock
        if usesInit {
            policy?.rules.append(.init(path: initPath, access: ["execute", "read_file"], optional: false))
        }
        let landlock = policy.map { [LaunchStep.landlock($0)] } ?? []
        let refusesUnknown = spec.annotations?[Annotations.refusesUnknownCalls] != nil
        let filter =
            spec.linux?.seccomp.map { [LaunchStep.systemCallFilter(SystemCallFilter(profile: $0, refusesUnknown: refusesUnknown))] } ?? []
        var label: [LaunchStep] = []
        if process.apparmorProfile.map({ !$0.isEmpty }) ?? false || process.selinuxLabel.map({ !$0.isEmpty }) ?? false {
            label = [.securityLabel(SecurityLabel(appArmorProfile: process.apparmorProfile, selinuxLabel: process.selinuxLabel))]
        }
        // Before the identity changes, as other runtimes have it, and before a filter that may deny what it takes; what root of the container
        // may not enter is tried again as the user.
        let directory = LaunchStep.workingDirectory(process.cwd)
        let hooks = startHooks.isEmpty ? [] : [LaunchStep.startHooks(startHooks)]
        if process.noNewPrivileges ?? false {
            return [directory, identity, capabilities, .noNewPrivileges] + label + landlock + [.verification] + hooks + filter + [execute]
        }
        return [directory] + label + landlock + hooks + filter + [identity, capabilities, .verification, execute]
    }

    private static func capabilityStep(_ capabilities: RuntimeSpec.Capabilities?) -> CapabilityStep {
        func mask(_ names: [String]?) -> UInt64 { CapabilitySet((names ?? []).compactMap { Capability(named: $0) }).mask }
        return CapabilityStep(
            bounding: mask(capabilities?.bounding), effective: mask(capabilities?.effective),
            permitted: mask(capabilities?.permitted), inheritable: mask(capabilities?.inheritable),
            ambient: mask(capabilities?.ambient))
    }

    /// A capability that nobody knows cannot be granted; the specification wants a warning and no failure (config.md, "capabilities").
    private static func warnings(_ process: RuntimeSpec.Process) -> (spoken: [String], logged: [String]) {
        let sets = process.capabilities
        let names = [sets?.bounding, sets?.effective, sets?.permitted, sets?.inheritable, sets?.ambient].flatMap { $0 ?? [] }
        let unknown = Set(names.filter { Capability(named: $0) == nil }).sorted().map { "ignoring unknown capability \($0)" }
        // capabilities(7): only what is permitted and inheritable can be ambient. Engines ask for all at once: one sentence for all.
        let ambient = (sets?.ambient ?? []).filter { Capability(named: $0) != nil }
        let lost = [(sets?.permitted, "permitted"), (sets?.inheritable, "inheritable")].compactMap { set, word -> String? in
            let names = ambient.filter { !(set ?? []).contains($0) }
            return names.isEmpty ? nil : "can't raise ambient capability \(names.joined(separator: ", ")): not \(word)"
        }
        // Since CVE-2022-24769 engines leave the inheritable set empty, and some (buildah) still fill the ambient one.
        return sets?.inheritable?.isEmpty ?? true ? (unknown, lost) : (unknown + lost, [])
    }
}

/// The namespaces of a configuration, checked.
struct NamespacePlan {
    /// Names as in /proc/PID/ns.
    var new: [String] = []
    var joined: [JoinedNamespace] = []
    var makesUserNamespace: Bool { new.contains("user") }

    func joins(_ kind: String) -> Bool { joined.contains { $0.kind == kind } }

    init(_ linux: RuntimeSpec.Linux) throws {
        var seen: Set<String> = []
        for namespace in linux.namespaces ?? [] {
            let name = Self.procName(namespace.type)
            guard seen.insert(name).inserted else { throw PlanError("namespace \(namespace.type.rawValue) is given twice") }
            if let path = namespace.path, !path.isEmpty {
                guard path.hasPrefix("/") else { throw PlanError("namespace path \(path) is not absolute") }
                joined.append(JoinedNamespace(kind: name, path: path))
            } else {
                new.append(name)
            }
        }
    }

    private static func procName(_ kind: RuntimeSpec.Namespace.Kind) -> String {
        switch kind {
        case .pid: "pid"
        case .network: "net"
        case .mount: "mnt"
        case .ipc: "ipc"
        case .uts: "uts"
        case .user: "user"
        case .cgroup: "cgroup"
        case .time: "time"
        }
    }
}
