import OCISpec

/// The size of a terminal in characters.
public struct TerminalSize: Sendable, Equatable {
    public var rows: UInt16
    public var columns: UInt16
    public init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }
}

/// Everything that is done to start a container, in order, decided before anything is done. Pure data: `run --explain`
/// prints it, tests compare it, the runtime's interpreter walks it.
public struct LaunchPlan: Sendable, Equatable {
    public var steps: [LaunchStep]
    /// The payload has a terminal.
    public var terminal: Bool
    /// The terminal's first size, so that a program never sees one of 0 × 0; nil when nobody knows it.
    public var terminalSize: TerminalSize?
    /// Steps that may be unavailable without stopping the start. Every other step is required.
    public var preferred: Set<LaunchStep.Kind>
    /// What was asked for and means nothing here, one sentence each.
    public var warnings: [String] = []
    /// The same where engines ask for it in every container, and whoever runs one could do nothing about it: for the log.
    public var remarks: [String] = []

    public init(
        steps: [LaunchStep], terminal: Bool, terminalSize: TerminalSize? = nil, preferred: Set<LaunchStep.Kind>
    ) {
        self.steps = steps
        self.terminal = terminal
        self.terminalSize = terminalSize
        self.preferred = preferred
    }

    /// A user namespace is made or joined.
    public var hasUserNamespace: Bool {
        steps.contains {
            if case .namespaces(let new, let joined) = $0 { return new.contains("user") || joined.contains { $0.kind == "user" } }
            return false
        }
    }

    /// Binds are cloned when it is their turn, so that the kernel numbers all mounts in the configuration's order, which mountinfo shows since Linux
    /// 6.8. Not in a user namespace, where the words that it takes would cost every start of a container of Coffer's own.
    public var clonesInOrder: Bool { !hasUserNamespace }

    /// The bind mounts of the host's paths that follow each other from this step on.
    public func binds(from index: Int) -> Range<Int> {
        var end = index
        while end < steps.count, case .mount(let mount) = steps[end], case .bind = mount.source { end += 1 }
        return index..<end
    }

    /// The container has no mount namespace: what it mounts is mounted on the host.
    public var sharesMounts: Bool { steps.contains { if case .pivot(let pivot) = $0 { pivot.sharesMounts } else { false } } }

    /// The payload's user namespace has maps of its own.
    public var hasIdentityMaps: Bool { steps.contains { $0.kind == .identityMaps } }

    /// The maps of a new user namespace; empty where there is none.
    public var identityMaps: (uid: [RuntimeSpec.IDMapping], gid: [RuntimeSpec.IDMapping]) {
        for step in steps { if case .identityMaps(let uid, let gid) = step { return (uid, gid) } }
        return ([], [])
    }

    /// New namespaces by name.
    public var newNamespaces: [String] {
        for step in steps { if case .namespaces(let new, _) = step { return new } }
        return []
    }

    /// A user or pid namespace is joined: only a process that is born there lives in it whole (setns(2)).
    public var joinsBeforeFork: Bool {
        steps.contains {
            guard case .namespaces(_, let joined) = $0 else { return false }
            return joined.contains { $0.kind == "user" || $0.kind == "pid" }
        }
    }

    /// The kernel's demands that this plan breaks, in words; empty for a plan that may run.
    ///
    /// - Source: docs/ARCHITECTURE.md, "Order of a launch".
    public var violations: [String] {
        let kinds = steps.map(\.kind)
        var result: [String] = []
        func position(_ kind: LaunchStep.Kind) -> Int? { kinds.firstIndex(of: kind) }
        func demand(_ first: LaunchStep.Kind, before second: LaunchStep.Kind, _ why: String) {
            if let a = kinds.lastIndex(of: first), let b = position(second), a > b {
                result.append("\(first.rawValue) must come before \(second.rawValue): \(why)")
            }
        }
        if kinds.last != .execute { result.append("the last step must be execute") }
        demand(.networkDevice, before: .systemControl, "a parameter may be the device's")
        demand(.networkDevice, before: .runtimeHooks, "hooks see the container's devices")
        demand(.resourceLimit, before: .lockedMounts, "RLIMIT_NPROC set in the inner namespace does not bound all IDs together")
        demand(.nestingLimit, before: .lockedMounts, "the inner namespace could nest")
        demand(.mount, before: .pivot, "the inner namespace may not mount proc, sysfs and mqueue")
        demand(.mask, before: .lockedMounts, "a mask added later is not locked")
        demand(.readOnlyPath, before: .lockedMounts, "a read-only path made later is not locked")
        demand(.egressRules, before: .lockedMounts, "rules of the outer namespace cannot be altered from the inner one")
        demand(.pivot, before: .lockedMounts, "the old root would be locked in")
        demand(.lockedMounts, before: .landlock, "Landlock forbids every mount")
        demand(.mask, before: .pivot, "masks are attached by descriptors of the old root")
        demand(.mount, before: .runtimeHooks, "hooks see the container's mounts")
        demand(.runtimeHooks, before: .containerHooks, "the specification's order of hooks")
        demand(.containerHooks, before: .pivot, "createContainer hooks are programs of the host")
        demand(.pivot, before: .startHooks, "startContainer hooks are programs of the image")
        demand(.workingDirectory, before: .identity, "a directory that only root may enter, or that is tried twice")
        demand(.workingDirectory, before: .systemCallFilter, "the filter may deny the calls that it takes")
        demand(.startHooks, before: .systemCallFilter, "the filter may deny what a hook needs")
        if kinds.contains(.noNewPrivileges) {
            demand(.identity, before: .capabilities, "setresuid needs CAP_SETUID")
            demand(.noNewPrivileges, before: .landlock, "Landlock without CAP_SYS_ADMIN needs no_new_privs")
            demand(.noNewPrivileges, before: .systemCallFilter, "seccomp without CAP_SYS_ADMIN needs no_new_privs")
            demand(.landlock, before: .systemCallFilter, "the filter may deny Landlock's calls")
        } else {
            demand(.landlock, before: .identity, "Landlock without no_new_privs needs CAP_SYS_ADMIN")
            demand(.systemCallFilter, before: .capabilities, "seccomp without no_new_privs needs CAP_SYS_ADMIN")
        }
        return result
    }
}
