import Confinement
import OCISpec

/// How one field of the confinement is compared with the kernel's own view: a row of the table.
struct ComparedField {
    typealias Difference = Comparison.Difference

    /// Both sides of a comparison, with what is asked of both.
    struct Sides {
        let asked: Subject
        let live: Subject
        let view: KernelView
        let askedCalls: KernelCalls
        let liveCalls: KernelCalls

        var wish: Confinement { asked.confinement }
        var truth: Confinement { live.confinement }
    }

    enum Sight {
        /// `adopt` puts the kernel's answer in the place of what was asked.
        case shown(Aspect, differences: (Sides) -> [Difference], adopt: (inout Subject, Subject) -> Void)
        /// Why the kernel does not tell.
        case hidden(String)
    }

    /// The stored property of `Confinement`.
    let name: String
    let sight: Sight

    /// The table: every stored property of `Confinement`, in its order.
    static var all: [ComparedField] {
        [
            hidden("origin", "a level is a word of Coffer's; the kernel has its parts"),
            hidden("isolation", "the monitor of a virtual machine is a process like any other"),
            shown("user", .user, \.user, user),
            ComparedField(
                name: "userNamespace",
                sight: .shown(.userNamespace, differences: users) { subject, live in
                    subject.confinement.userNamespace = live.confinement.userNamespace
                    subject.engineUser = live.engineUser
                }),
            shown("namespaces", .namespaces, \.namespaces, namespaces), shown("capabilities", .capabilities, \.capabilities, capabilities),
            shown("noNewPrivileges", .privileges, \.noNewPrivileges) {
                word("noNewPrivileges", "\($0.wish.noNewPrivileges)", "\($0.truth.noNewPrivileges)")
            },
            ComparedField(
                name: "syscalls",
                sight: .shown(.syscalls, differences: syscalls) { subject, live in
                    subject.loadedFilters = live.loadedFilters
                    if live.confinement.syscalls == .unconfined || subject.confinement.syscalls == .unconfined {
                        subject.confinement.syscalls = live.confinement.syscalls
                    }
                }),
            securityModule("appArmor", appArmor), securityModule("seLinux", seLinux),
            hidden("landlock", "the kernel does not show Landlock domains"),
            hidden("mountsLocked", "mountinfo does not show which mounts are locked"),
            shown("rootReadOnly", .mounts, \.rootReadOnly) { word("rootReadOnly", "\($0.wish.rootReadOnly)", "\($0.truth.rootReadOnly)") },
            shown("mounts", .mounts, \.mounts, mounts),
            shown("maskedPaths", .mounts, \.maskedPaths) { paths("maskedPaths", $0.wish.maskedPaths, $0.truth.maskedPaths, $0.view) },
            shown("readonlyPaths", .mounts, \.readonlyPaths) { paths("readonlyPaths", $0.wish.readonlyPaths, $0.truth.readonlyPaths, $0.view) },
            shown("devices", .devices, \.devices, devices), shown("deviceRules", .devices, \.deviceRules, deviceRules),
            ComparedField(
                name: "limits",
                sight: .shown(.limits, differences: limits) { subject, live in
                    let asked = subject.confinement.limits.processLimits
                    subject.confinement.limits = live.confinement.limits
                    // Of the others only what was asked is priced.
                    subject.confinement.limits.processLimits += asked.filter { $0.type != "RLIMIT_NOFILE" }
                }),
            hidden("sysctls", "/proc/sys answers with the reader's namespaces, not with the process's"),
            shown("network", .network, \.network, network),
            hidden("networkNamespaceInside", "/proc does not say whom a network namespace belongs to"),
            hidden("logs", "what becomes of its output is its engine's affair"),
        ]
    }

    private static func hidden(_ name: String, _ why: String) -> ComparedField { ComparedField(name: name, sight: .hidden(why)) }

    private static func shown<Value>(
        _ name: String, _ aspect: Aspect, _ path: WritableKeyPath<Confinement, Value>, _ differences: @escaping (Sides) -> [Difference]
    ) -> ComparedField {
        ComparedField(
            name: name, sight: .shown(aspect, differences: differences) { $0.confinement[keyPath: path] = $1.confinement[keyPath: path] })
    }

    /// Where one module's answer differs, both are the kernel's.
    private static func securityModule(_ name: String, _ text: @escaping (Confinement) -> String) -> ComparedField {
        ComparedField(
            name: name,
            sight: .shown(
                .lsm, differences: { $0.asked.unknown[.lsm] == nil ? word(name, text($0.wish), text($0.truth)) : [] },
                adopt: { subject, live in
                    subject.confinement.appArmor = live.confinement.appArmor
                    subject.confinement.seLinux = live.confinement.seLinux
                }))
    }

    static func word(_ field: String, _ asked: String, _ applied: String, note: String = "") -> [Difference] {
        asked == applied ? [] : [Difference(field: field, asked: asked, applied: applied, note: note)]
    }
}

extension ComparedField {
    private static func user(_ sides: Sides) -> [Difference] {
        let (wish, truth) = (sides.wish.user, sides.truth.user)
        var found: [Difference] = []
        // A name is looked up inside; the number is the kernel's to say.
        if wish.uid != Subject.somebody { found += word("user", "\(wish.uid)", "\(truth.uid)") }
        if wish.gid != Subject.somebody { found += word("group", "\(wish.gid)", "\(truth.gid)") }
        let (asked, applied) = (Set(wish.additionalGids).subtracting([wish.gid]), Set(truth.additionalGids).subtracting([truth.gid]))
        // A group of which only the name is known has a number that nobody has.
        let missing = asked.filter { $0 < ContainerDeclaration.namedGroup }.subtracting(applied).subtracting([truth.gid])
        if !missing.isEmpty { found += word("groups", list(missing.map { "\($0)" }), "absent") }
        let more = applied.subtracting(asked)
        // A name in GroupAdd, and the user's line of the image's /etc/group, are nowhere in what the engine tells.
        if !more.isEmpty {
            found += word("groups", "none", list(more.map { "\($0)" }), note: "groups of the image's own /etc/group, or added by name")
        }
        return found + word("umask", octal(wish.umask), octal(truth.umask))
    }

    private static func users(_ sides: Sides) -> [Difference] {
        if case .at = sides.wish.userNamespace { return [] }
        return word("rootOutside", rootOutside(sides.asked), rootOutside(sides.live))
    }

    private static func namespaces(_ sides: Sides) -> [Difference] {
        let (wish, truth) = (sides.wish.namespaces, sides.truth.namespaces)
        let pairs: [(String, NamespaceScope, NamespaceScope)] = [
            ("pid", wish.pid, truth.pid), ("mount", wish.mount, truth.mount), ("ipc", wish.ipc, truth.ipc), ("uts", wish.uts, truth.uts),
            ("cgroup", wish.cgroup, truth.cgroup), ("time", wish.time, truth.time),
        ]
        return pairs.flatMap { name, asked, applied in
            // Whether one that was joined is the host's is for that container's report to say.
            if case .at = asked { return [Difference]() }
            return word("namespaces.\(name)", scope(asked), scope(applied))
        }
    }

    private static func capabilities(_ sides: Sides) -> [Difference] {
        let (wish, truth) = (sides.wish.capabilities, sides.truth.capabilities)
        let sets: [(String, CapabilitySet, CapabilitySet)] = [
            ("bounding", wish.bounding, truth.bounding), ("effective", wish.effective, truth.effective),
            ("permitted", wish.permitted, truth.permitted), ("inheritable", wish.inheritable, truth.inheritable),
            ("ambient", wish.ambient, truth.ambient),
        ]
        return sets.flatMap { name, asked, applied in word("capabilities.\(name)", names(asked, besides: applied), names(applied, besides: asked)) }
    }

    private static func syscalls(_ sides: Sides) -> [Difference] {
        let (wish, truth) = (sides.wish.syscalls, sides.truth.syscalls)
        if sides.asked.unknown[.syscalls] != nil { return [] }
        if wish == .unconfined || truth == .unconfined || sides.live.loadedFilters == nil {
            return word("syscalls", wish == .unconfined ? "no filter" : "a filter", truth == .unconfined ? "no filter" : "a filter")
        }
        let (asked, applied) = (sides.askedCalls.reachable, sides.liveCalls.reachable)
        let more = applied.subtracting(asked)
        let less = asked.subtracting(applied)
        var notes: [String] = []
        if !more.isEmpty { notes.append("let in all the same: \(list(more.sorted()))") }
        if !less.isEmpty { notes.append("refused all the same, by an older profile or an older libseccomp: \(list(less.sorted()))") }
        // With some arguments a call is another one.
        let (families, wishedFamilies) = (sides.liveCalls.rareFamilies, sides.askedCalls.rareFamilies)
        if families != wishedFamilies { notes.append("\(families) rare socket families instead of \(wishedFamilies)") }
        if sides.liveCalls.makesUserNamespaces != sides.askedCalls.makesUserNamespaces {
            notes.append(sides.liveCalls.makesUserNamespaces ? "user namespaces can be made" : "no user namespace can be made")
        }
        if notes.isEmpty { return [] }
        return [Difference(field: "syscalls", asked: "\(asked.count)", applied: "\(applied.count)", note: notes.joined(separator: "; "))]
    }

    /// Some of many: a report is to be read.
    private static func list(_ words: [String]) -> String {
        words.count <= 8 ? words.joined(separator: " ") : words.prefix(8).joined(separator: " ") + " and \(words.count - 8) more"
    }

    private static func octal(_ mask: UInt32) -> String { "0" + String(mask, radix: 8) }
    private static func scope(_ scope: NamespaceScope) -> String { scope == .host ? "host" : "own" }

    /// The names, or where the two sets differ by less than either has, those that the other has not.
    private static func names(_ set: CapabilitySet, besides other: CapabilitySet) -> String {
        func words(_ set: CapabilitySet) -> String { set.isEmpty ? "none" : set.names.map { String($0.dropFirst(4)) }.joined(separator: " ") }
        if set == other { return "" }
        let common = set.intersection(other)
        if common.isEmpty { return words(set) }
        return set == common ? "\(common.names.count) in common" : "\(words(set.subtracting(common))) beside \(common.names.count) in common"
    }

    /// Whether root inside is root of the host, whoever the engine is.
    private static func rootOutside(_ subject: Subject) -> String {
        switch subject.confinement.userNamespace {
        case .host, .at: return subject.engineUser == .root ? "root" : "the user"
        case .own(let uids, _, _):
            guard let root = uids.first(where: { $0.containerID == 0 }) else { return "nobody" }
            // To a rootless runtime its own 0 is the user, who has another number on the host.
            return root.hostID == 0 && subject.engineUser == .root ? "root" : root.hostID == 0 || root.size == 1 ? "the user" : "nobody"
        }
    }

    private static func appArmor(_ confinement: Confinement) -> String {
        if case .profile(let name) = confinement.appArmor, name != "unconfined", !name.isEmpty { return name }
        return "none"
    }

    private static func seLinux(_ confinement: Confinement) -> String {
        if case .labels(let process, _) = confinement.seLinux, !process.isEmpty { return process }
        return "none"
    }

    private static func network(_ sides: Sides) -> [Difference] {
        func text(_ reach: NetworkReach) -> String {
            switch reach {
            case .none: "none"
            case .host: "host"
            case .outbound, .at, .foreign: "connected"
            }
        }
        // One that was joined may be anything.
        if case .at = sides.wish.network { return [] }
        return word("network", text(sides.wish.network), text(sides.truth.network))
    }
}
