import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension ContainerInit {
    /// Landlock for this thread and everything that it becomes.
    mutating func restrict(_ policy: LandlockPolicy, _ index: Int) throws {
        if let shortfall = try LandlockEnforcement.enforce(policy) {
            results.append(.init(step: index, result: shortfall))
        }
    }

    /// AppArmor and SELinux labels take effect at execve; written through the private procfs only (CVE-2019-16884).
    func setLabel(_ label: SecurityLabel) throws {
        if let profile = label.appArmorProfile, !profile.isEmpty {
            try performing(.securityLabel, "AppArmor profile \(profile)") {
                do {
                    try writeProc("\(try ownEntry())/attr/apparmor/exec", "exec \(profile)")
                } catch let error as KernelError where error.errno == ENOENT {
                    try writeProc("\(try ownEntry())/attr/exec", "exec \(profile)")
                }
            }
        }
        if let context = label.selinuxLabel, !context.isEmpty {
            try performing(.securityLabel, "SELinux label \(context)") { try writeProc("\(try ownEntry())/attr/exec", context) }
        }
    }

    func loadFilter() throws {
        guard let filter = prepared.filter else { throw LaunchFailure(.systemCallFilter, "there is no compiled filter") }
        let listener = try performing(.systemCallFilter, "loading the system call filter") { try filter.load(flags: prepared.filterFlags) }
        DebugLog.note("seccomp filter flags: \(prepared.filterFlags)")
        if prepared.filterFlags & SystemCallFilterCompiler.newListener == 0 { return }
        // sendmsg, which no filter may hand to the listener while nobody has it (SystemCallFilterCompiler checks).
        let descriptor = FileDescriptor(owning: listener)
        try performing(.systemCallFilter, "handing the filter's listener over") {
            try channel.sendMessage(try InitMessage.filterListener.encoded(), with: descriptor)
        }
        try wait(for: .proceed)
    }

    /// Before the payload's namespace exists, and in A: the payload cannot alter these rules. The kernel's refusal stops the start.
    func closeHost(_ network: OutboundNetwork) throws {
        guard let host = prepared.hostAddresses else { throw LaunchFailure(.egressRules, "the host's addresses are not known") }
        try performing(.egressRules, "closing the host's addresses (nftables)") {
            let rules = try ContainerNetwork.closeHost(host, network: network)
            try channel.sendMessage(try InitMessage.egressRules.encoded(), with: rules.release())
        }
    }

    /// Waits for the container's address and routes; pasta fills its tables while the payload starts already. Where the
    /// namespace was made with B, pasta begins only when this process is ready: then the parent waits.
    func awaitNetwork() throws {
        guard let host = prepared.hostAddresses, plan.steps.contains(where: { $0.kind == .network }),
            !plan.steps.contains(.lockedMounts(networkInside: true))
        else { return }
        try performing(.network, "waiting for the container's network") {
            try ContainerNetwork.waitUntilConfigured(host.containerAddresses)
        }
    }

    // MARK: terminal and standard streams

    /// A terminal from the container's own devpts; its master goes to the parent, its slave becomes /dev/console.
    mutating func makeConsole() throws {
        try performing(.console, "making the terminal") {
            let pair = try Terminal.open(in: root, size: plan.terminalSize, plainNewlines: prepared.plainNewlines)
            // A bind of the slave, by descriptor: no name in /dev/pts is looked up again (CVE-2025-52565).
            let tree = try Mounts.cloneTree(pair.slave, recursive: false)
            try Mounts.attach(tree, on: try root.makeFile("/dev/console"))
            try channel.sendMessage(try InitMessage.console.encoded(), with: pair.master)
            terminal = pair.takeSlave()
        }
    }

    private func connectStreams() throws {
        let raw = terminal.rawValue
        try performing(.execute, "connecting the standard streams") {
            if raw >= 0 {
                try Terminal.makeControlling(raw)
                for target in Int32(0)...2 { try retrying("dup2") { dup2(raw, target) } }
            } else if let streams = prepared.standardStreams {
                for (target, stream) in streams.enumerated() { try retrying("dup2") { dup2(stream, Int32(target)) } }
            }
        }
    }

    // MARK: execve

    private var arguments: [String] {
        for step in plan.steps { if case .execute(let arguments, _) = step { return arguments } }
        return []
    }

    /// Finds the program now, while a failure can still be told in words.
    func resolveExecutable() throws -> String {
        try connectStreams()
        var environment: [String] = []
        for step in plan.steps { if case .execute(_, let given) = step { environment = given } }
        if arguments.isEmpty { return "" }  // `create` without a process: `start` will say so
        return try ExecutableSearch.find(arguments.first ?? "", environment: environment)
    }

    func execute(_ environment: [String]) throws {
        guard let program = executable, !program.isEmpty else {
            throw LaunchFailure(.execute, "config.json has no process: there is nothing to start", errno: EINVAL)
        }
        // SIGPIPE and whatever else the caller ignored is not the payload's business.
        SignalState.reset()
        var variables = variables(environment)
        if !prepared.preservedDescriptors.isEmpty || prepared.socketActivation > 0 { try passDescriptors(&variables) }
        // The execve closes it, and whoever follows knows by that.
        DebugLog.note((isFurtherProcess ? "setns_init: about to exec " : "init: closing the pipe to signal completion: about to execute ") + program)
        let number = ExecutableSearch.execute(program, arguments, variables)
        throw LaunchFailure(
            step: LaunchStep.Kind.execute.rawValue, call: "execve", errno: number, subject: program,
            message: "exec \(program): \(KernelError(call: "execve", errno: number).reason.lowercased())")
    }
}

extension ContainerInit {
    /// With a home directory: one that is set to nothing is none.
    private func variables(_ environment: [String]) -> [String] {
        var result = EnvironmentList.merged(environment).filter { $0 != "HOME=" }
        if !result.contains(where: { $0.hasPrefix("HOME=") }) { result.append("HOME=\(identity.home ?? "/")") }
        return result
    }

    /// `--preserve-fds`: descriptors of the caller from 3 on, and nothing else, survive execve (rule R3).
    private func passDescriptors(_ variables: inout [String]) throws {
        for descriptor in prepared.preservedDescriptors {
            try performing(.execute, "passing descriptor \(descriptor) on") {
                try retrying("fcntl", "\(descriptor)") { cl_fcntl(descriptor, F_SETFD, 0) }
            }
        }
        if prepared.socketActivation > 0 {
            variables.removeAll { $0.hasPrefix("LISTEN_FDS=") || $0.hasPrefix("LISTEN_PID=") }
            variables += ["LISTEN_FDS=\(prepared.socketActivation)", "LISTEN_PID=\(getpid())"]
        }
    }

    /// Programs of the configuration at a point of the container's life; one that fails stops the start.
    func run(_ hooks: [RuntimeSpec.Hook], _ kind: HookRunner.Kind, _ status: RuntimeContainerState.Status) throws {
        guard var state = prepared.hookState else { throw LaunchFailure(.containerHooks, "there is no state to hand to hooks") }
        var own = hooks
        if kind == .createContainer {
            // Programs of the host that work on the root before it is one: they find it where they stand (as runc has it).
            let raw = root.descriptor.rawValue
            try performing(.containerHooks, "entering the root") { try retrying("fchdir") { fchdir(raw) } }
        }
        if kind == .startContainer {
            // In the container there is no other environment than the program's (as runc has it).
            for step in plan.steps {
                guard case .execute(_, let environment) = step else { continue }
                for index in own.indices where own[index].env == nil { own[index].env = variables(environment) }
            }
        }
        state.status = status
        state.pid = getpid()
        // A program of the image is bounded by the filter, whoever runs it. One with a listener has none yet.
        let filter = kind == .startContainer && prepared.filterFlags & SystemCallFilterCompiler.newListener == 0 ? prepared.filter : nil
        try HookRunner.run(own, kind, state, filter: filter)
    }
}

/// Landlock as data, enforced on the calling thread.
enum LandlockEnforcement {
    /// - Returns: nil when everything asked for is enforced, else what is missing.
    static func enforce(_ policy: LandlockPolicy) throws -> StepOutcome.Result? {
        let abi = LandlockRuleset.kernelABI()
        if abi == 0 { return .unavailable("the kernel has no Landlock, or it is not in its list of security modules (lsm=)") }
        let handled: LandlockAccess = policy.handlesFileSystem ? .all(abi: abi) : []
        let network: UInt64 = (policy.tcpBindPorts == nil ? 0 : 1) | (policy.tcpConnectPorts == nil ? 0 : 2)
        let scoped: UInt64 = (policy.scopeAbstractUnixSockets ? 1 : 0) | (policy.scopeSignals ? 2 : 0)
        if handled.isEmpty && (abi < 4 || network == 0) && (abi < 6 || scoped == 0) {
            return .unavailable("Landlock ABI \(abi) of this kernel has nothing of what was asked")
        }
        try performing(.landlock, "Landlock") {
            let ruleset = try LandlockRuleset(abi: abi, handled: handled, handledNetwork: network, scoped: scoped)
            if policy.handlesFileSystem { try addRules(policy.rules, to: ruleset) }
            if abi >= 4 {
                for port in policy.tcpBindPorts ?? [] { try ruleset.allow(network: 1, port: port) }
                for port in policy.tcpConnectPorts ?? [] { try ruleset.allow(network: 2, port: port) }
            }
            try ruleset.restrict()
        }
        var missing: [String] = []
        if abi < 3 { missing.append("truncate (ABI 3)") }
        if abi < 4 && network != 0 { missing.append("TCP ports (ABI 4)") }
        if abi < 5 { missing.append("device ioctls (ABI 5)") }
        if abi < 6 && scoped != 0 { missing.append("scopes (ABI 6)") }
        return missing.isEmpty ? nil : .partial("this kernel has Landlock ABI \(abi): without \(missing.joined(separator: ", "))")
    }

    private static func addRules(_ rules: [LandlockPolicy.PathRule], to ruleset: borrowing LandlockRuleset) throws {
        let root = RootDirectory(try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY))
        for rule in rules {
            var access: LandlockAccess = []
            for name in rule.access {
                guard let right = LandlockAccess(named: name) else { throw LaunchFailure(.landlock, "unknown Landlock right \(name)") }
                access.insert(right)
            }
            guard let target = try root.openIfPresent(rule.path, RootDirectory.pathOnly) else {
                if rule.optional { continue }
                throw KernelError(call: "openat2", errno: ENOENT, subject: rule.path)
            }
            try ruleset.allow(access, beneath: target)
        }
    }
}
