import Confinement

extension FactorRow {
    static let isolationRows: [FactorRow] = [
        FactorRow(
            "isolation", .isolation, "Whose kernel does the program call?", weight: 7, good: "a kernel of its own", bad: "the host's own kernel",
            why: "one hole in the kernel ends every confinement below; a kernel of its own is the one wall that is not the same wall",
            mend: Remedy("run it in a microVM", compose: "runtime: kata", kubernetes: "runtimeClassName: kata")
        ) { facts in
            switch facts.confinement.isolation {
            case .sharedKernel: 10
            case .userSpaceKernel: 3
            case .microVM: 1
            }
        },
        FactorRow(
            "provenance", .provenance, "Who vouches for the program?", weight: 3, good: "its signature was verified",
            bad: "nobody vouches for what runs here: a tag may name another image tomorrow",
            why: "what runs decides what is tried; but it changes no wall, so it weighs little",
            mend: Remedy(
                "name the image by digest (NAME@sha256:…)", compose: "image: NAME@sha256:…", kubernetes: "image: NAME@sha256:…")
        ) { facts in
            switch facts.subject.provenance {
            case .verifiedSignature: 0
            case .pinnedDigest: 2
            case .local, .none: 4
            case .tag: 10
            }
        },
    ]

    static let identityRows: [FactorRow] = [
        FactorRow(
            "user-namespace", .userNamespace, "What is the container's root outside?", weight: 22,
            good: "its root is nobody outside, with a range of its own", bad: "its root is root of the host",
            why: "an escape by any other hole arrives with these rights: this is the difference between an accident and the machine",
            mend: Remedy(
                "run it rootless, or with --userns (Docker: userns-remap)", compose: "userns-remap in daemon.json",
                kubernetes: "hostUsers: false", systemd: "PrivateUsers=yes", oci: "linux.namespaces: user, with uidMappings")
        ) { $0.rootOutside },
        FactorRow(
            "root", .user, "Is the program root inside?", weight: 5, good: "it runs as an ordinary user", bad: "it runs as root",
            why: "root inside may use every capability in the bounding set and owns the image's files; the namespace factor has the rest",
            mend: Remedy(
                "--user 1000 (USER in the image)", compose: "user: \"1000\"", kubernetes: "securityContext.runAsUser: 1000",
                systemd: "User= or DynamicUser=yes", oci: "process.user.uid")
        ) { facts in
            if facts.isRoot { return 10 }
            return facts.confinement.user.gid == 0 ? 1 : 0
        },
        FactorRow(
            "groups", .user, "Does it have further groups?", weight: 0.5, good: "it has no further groups",
            bad: "it has the rights of further groups",
            why: "a group is the right to some files; which, the number does not say",
            mend: Remedy(
                "remove --group-add", compose: "remove group_add", kubernetes: "remove supplementalGroups", systemd: "remove SupplementaryGroups=",
                oci: "process.user.additionalGids")
        ) { facts in
            let count = Double(facts.confinement.user.additionalGids.count)
            return 10 * count / (count + 3)
        },
        FactorRow(
            "umask", .user, "Who can reach the files it makes?", weight: 0.1, good: "files are its own", bad: "everybody may write to files it makes",
            why: "systemd's row of the same name, which weighs a 600th of its whole",
            mend: Remedy("", systemd: "UMask=0077", oci: "process.user.umask: 63")
        ) { facts in
            let mask = facts.confinement.user.umask
            return mask & 0o002 == 0 ? 10 : mask & 0o004 == 0 ? 5 : mask & 0o020 == 0 ? 2 : mask & 0o040 == 0 ? 1 : 0
        },
        FactorRow(
            "no-new-privileges", .privileges, "Can a program gain privileges?", weight: 3, good: "no program gains privileges",
            bad: "set-user-ID programs and file capabilities give privileges",
            why: "a user inside becomes root inside through any set-user-ID program; not more than root inside was",
            mend: Remedy(
                "--security-opt no-new-privileges", compose: "security_opt: [\"no-new-privileges:true\"]",
                kubernetes: "securityContext.allowPrivilegeEscalation: false", systemd: "NoNewPrivileges=yes",
                oci: "process.noNewPrivileges: true")
        ) { $0.confinement.noNewPrivileges ? 0 : 10 },
        FactorRow(
            "ambient-capabilities", .capabilities, "Does what it runs inherit capabilities?", weight: 1, range: 41, good: "nothing is inherited",
            bad: "every program it runs inherits capabilities", why: "it takes the last step away that a program must do on purpose",
            mend: Remedy("", kubernetes: "capabilities.drop", systemd: "remove AmbientCapabilities=", oci: "process.capabilities.ambient: []")
        ) { Double($0.confinement.capabilities.ambient.members.count + $0.confinement.capabilities.inheritable.members.count) / 2 },
    ]

    /// What a capability is worth over the host, and why.
    private static let capabilityPrices: [(Capability, Double, String)] = [
        (.sysAdmin, 20, "mount, and a hundred other things: root by another name"), (.sysModule, 20, "its code runs in the kernel"),
        (.sysRawio, 18, "it reaches memory and ports of the hardware"), (.sysPtrace, 9, "it takes over processes that it sees"),
        (.dacReadSearch, 10, "it opens any file of the file system by handle (the Shocker escape)"), (.bpf, 8, "it loads programs into the kernel"),
        (.netAdmin, 5, "it rewrites addresses, routes and rules"), (.macAdmin, 4, "it rewrites mandatory access control"),
        (.macOverride, 4, "mandatory access control does not hold it"), (.perfmon, 4, "it measures the kernel and its neighbours"),
        (.sysBoot, 4, "it reboots the machine or loads another kernel"), (.mknod, 3, "it makes device nodes where the device rules let it"),
        (.sysTime, 3, "it sets the clock of everybody"), (.checkpointRestore, 3, "it writes what only the kernel writes for a process"),
        (.dacOverride, 2.5, "file permissions do not hold it"), (.netRaw, 2, "it forges packets of its neighbours (CVE-2020-14386 began here)"),
        (.auditControl, 2, "it switches the audit off"), (.syslog, 2, "it reads addresses of the kernel from its log"),
        (.sysResource, 2, "limits do not hold it"), (.setuid, 1.5, "it becomes any user that it has"), (.setgid, 1.5, "it becomes any group"),
        (.setfcap, 1.5, "it leaves capabilities on files"), (.chown, 1, "it takes over files"), (.fowner, 1, "it changes modes of others' files"),
        (.sysChroot, 1, "it changes its root, a step of old escapes"), (.sysNice, 1, "it takes the processor from others"),
        (.auditRead, 1, "it reads the audit log"), (.ipcOwner, 1, "IPC permissions do not hold it"), (.setpcap, 0.7, "it moves capabilities about"),
        (.fsetid, 0.5, "it keeps set-user-ID bits"), (.kill, 0.5, "it signals every process it sees"),
        (.linuxImmutable, 0.5, "it makes files immutable"),
        (.sysTtyConfig, 0.5, "it hangs terminals up"), (.sysPacct, 0.5, "it switches accounting"), (.auditWrite, 0.3, "it writes to the audit log"),
        (.ipcLock, 0.3, "it locks memory"), (.wakeAlarm, 0.3, "it wakes the machine"), (.netBindService, 0.2, "it binds low ports"),
        (.netBroadcast, 0.2, "nothing uses it today"), (.lease, 0.2, "it holds up others' opens"), (.blockSuspend, 0.2, "it keeps the machine awake"),
    ]

    static let capabilityRows: [FactorRow] = capabilityPrices.map { capability, weight, effect in
        let short = String(capability.name.dropFirst(4))
        return FactorRow(
            "capability-" + String(short.lowercased().map { $0 == "_" ? "-" : $0 }), .capabilities, "Does it hold \(capability.name)?",
            weight: weight,
            range: 8, good: "it does not hold \(capability.name)", bad: "it holds \(capability.name): \(effect)", why: effect,
            mend: Remedy(
                "--cap-drop \(short)", compose: "cap_drop: [\(short)]", kubernetes: "securityContext.capabilities.drop: [\(short)]",
                systemd: "CapabilityBoundingSet=~\(capability.name)", oci: "process.capabilities: remove \(capability.name)")
        ) { $0.reach(capability) }
    }
}
