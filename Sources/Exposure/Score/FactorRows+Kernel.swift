import Confinement
import OCISpec
import TextSearch

extension FactorRow {
    static let kernelRows: [FactorRow] = [
        FactorRow(
            "lsm", .lsm, "Does a security module hold it?", weight: 3, good: "a security module holds it",
            bad: "no AppArmor profile or SELinux type holds it",
            why: "the second lock: it has stopped escapes whose first lock failed (CVE-2019-5736 under SELinux)",
            mend: Remedy(
                "--security-opt apparmor=PROFILE", compose: "security_opt: [\"apparmor:PROFILE\"]",
                kubernetes: "securityContext.appArmorProfile.type: RuntimeDefault", systemd: "AppArmorProfile=", oci: "process.apparmorProfile")
        ) { facts in
            if case .profile(let name) = facts.confinement.appArmor, !name.isEmpty, name != "unconfined" { return 0 }
            if case .labels(let process, _) = facts.confinement.seLinux, !process.isEmpty {
                return ["spc_t", "unconfined_t"].contains { process.contains(":\($0):") } ? 10 : 0
            }
            return 10
        },
        FactorRow(
            "landlock", .landlock, "Does it live in a Landlock domain?", weight: 2, good: "Landlock holds files, sockets and ports",
            bad: "no Landlock domain", why: "no engine but ours has it yet; it holds what mounts and filters hold, once more",
            mend: Remedy(
                "run it with coffer", compose: "run it with coffer", kubernetes: "run it with coffer-runtime", oci: "run it with coffer-runtime")
        ) { facts in
            guard case .enforced(let policy) = facts.confinement.landlock else { return 10 }
            var badness = policy.handlesFileSystem ? 0.0 : 4
            badness += policy.scopeAbstractUnixSockets ? 0 : 2
            badness += policy.tcpBindPorts == nil ? 0.5 : 0
            return badness + (policy.tcpConnectPorts == nil ? 0.5 : 0)
        },
        FactorRow(
            "root-file-system", .root, "Can it change its own programs?", weight: 2, good: "its root file system is read-only",
            bad: "it can change its own programs", why: "what broke in stays; it does not get out by it",
            mend: Remedy(
                "--read-only", compose: "read_only: true", kubernetes: "securityContext.readOnlyRootFilesystem: true",
                systemd: "ProtectSystem=strict",
                oci: "root.readonly: true")
        ) { $0.confinement.rootReadOnly ? 0 : 10 },
        FactorRow(
            "locked-mounts", .mounts, "Are its mounts locked?", weight: 1.5, good: "the kernel refuses to remount or uncover anything",
            bad: "read-only mounts and masks hold only as long as it has no CAP_SYS_ADMIN",
            why: "it matters on the day that something gives it SYS_ADMIN in its namespace",
            mend: Remedy(
                "run it with coffer", compose: "run it with coffer", kubernetes: "run it with coffer-runtime", oci: "run it with coffer-runtime")
        ) { $0.confinement.mountsLocked ? 0 : 10 },
        FactorRow(
            "kernel-files-masked", .kernelPaths, "What of /proc and /sys does it see?", weight: 1.5, range: Double(Facts.sensitive.count),
            good: "telling files of the kernel are masked", bad: "telling files of the kernel can be read",
            why: "addresses, keys, hardware: they help the next step, and are none themselves",
            mend: Remedy(
                "remove --security-opt systempaths=unconfined and unmask", compose: "remove systempaths:unconfined",
                kubernetes: "securityContext.procMount: Default", systemd: "ProcSubset=pid and ProtectKernelLogs=yes", oci: "linux.maskedPaths")
        ) { facts in
            let masked = facts.confinement.maskedPaths
            return Double(Facts.sensitive.count { !facts.isCovered($0, by: masked) })
        },
        FactorRow(
            "kernel-settings", .kernelPaths, "Which settings of the kernel can it write?", weight: 5, range: Double(Facts.writable.count),
            good: "settings of the kernel are read-only", bad: "settings of the kernel can be written",
            why: "core_pattern and sysrq-trigger are the machine; a user namespace of its own owns none of them",
            mend: Remedy(
                "remove --privileged and systempaths=unconfined", compose: "remove privileged", kubernetes: "securityContext.procMount: Default",
                systemd: "ProtectKernelTunables=yes", oci: "linux.readonlyPaths")
        ) { facts in
            let covered = [facts.confinement.readonlyPaths, facts.confinement.maskedPaths]
            let open = Double(Facts.writable.count { !facts.isCovered($0, by: covered[0], covered[1]) })
            // Who is not root outside is refused by the files' own permissions.
            return open * (facts.hasOwnUsers ? 0.2 : facts.isRoot ? 1 : 0.4)
        },
        FactorRow(
            "sysfs", .kernelPaths, "Can it write to /sys?", weight: 3, good: "/sys is read-only", bad: "/sys can be written",
            why: "uevent_helper and device power are there; root of the host is needed for most",
            mend: Remedy(
                "remove --privileged", compose: "remove privileged", kubernetes: "remove privileged", systemd: "ProtectKernelTunables=yes",
                oci: "mounts: /sys with ro")
        ) { facts in
            guard let mount = facts.mount(at: "/sys"), mount.isWritable else { return 0 }
            return facts.hasOwnUsers ? 2 : 10
        },
        FactorRow(
            "control-groups", .kernelPaths, "Can it write to control groups?", weight: 3, good: "control groups are read-only",
            bad: "control groups can be written", why: "release_agent of version 1 runs a program of the host (CVE-2022-0492)",
            mend: Remedy(
                "remove --privileged and binds of /sys/fs/cgroup", compose: "remove privileged", kubernetes: "remove privileged",
                systemd: "ProtectControlGroups=yes", oci: "mounts: /sys/fs/cgroup with ro")
        ) { facts in
            guard let mount = facts.mount(at: "/sys/fs/cgroup"), mount.isWritable else { return 0 }
            return facts.hasOwnUsers ? 2 : 10
        },
    ]

    private static func scope(_ scope: NamespaceScope) -> Double {
        switch scope {
        case .own: 0
        case .at: 3
        case .host: 10
        }
    }

    static let namespaceRows: [FactorRow] = [
        FactorRow(
            "mount-namespace", .namespaces, "Does it see the host's mounts?", weight: 25, good: "mounts of its own",
            bad: "the host's mounts are its own",
            why: "without it nothing of the file system is bounded", mend: Remedy("", systemd: "PrivateMounts=yes", oci: "linux.namespaces: mount")
        ) { scope($0.confinement.namespaces.mount) },
        FactorRow(
            "process-namespace", .namespaces, "Which processes does it see?", weight: 32, good: "its own processes", bad: "every process of the host",
            why: "root reads /proc/PID/root, environ and fd of every process; others read command lines",
            mend: Remedy(
                "remove --pid host", compose: "remove pid: host", kubernetes: "hostPID: false", systemd: "ProtectProc=invisible",
                oci: "linux.namespaces: pid")
        ) { facts in
            let badness = scope(facts.confinement.namespaces.pid)
            return badness * (facts.hasOwnUsers || !facts.isRoot ? 0.4 : 1)
        },
        FactorRow(
            "ipc-namespace", .namespaces, "Whose shared memory does it see?", weight: 15, good: "its own",
            bad: "the host's shared memory and message queues",
            why: "databases and desktops keep what matters there",
            mend: Remedy(
                "remove --ipc host", compose: "remove ipc: host", kubernetes: "hostIPC: false", systemd: "PrivateIPC=yes",
                oci: "linux.namespaces: ipc")
        ) { scope($0.confinement.namespaces.ipc) },
        FactorRow(
            "uts-namespace", .namespaces, "Whose name does it bear?", weight: 2, good: "a name of its own", bad: "the host's name",
            why: "a name tells little",
            mend: Remedy("remove --uts host", compose: "remove uts: host", systemd: "ProtectHostname=yes", oci: "linux.namespaces: uts")
        ) { scope($0.confinement.namespaces.uts) },
        FactorRow(
            "cgroup-namespace", .namespaces, "Whose control groups does it see?", weight: 1.5, good: "its own", bad: "the host's control groups",
            why: "it sees what else runs",
            mend: Remedy(
                "--cgroupns private", compose: "cgroup: private", kubernetes: "set by the runtime: cgroup v2", systemd: "ProtectControlGroups=yes",
                oci: "linux.namespaces: cgroup")
        ) { scope($0.confinement.namespaces.cgroup) },
        FactorRow(
            "network", .network, "What does it reach?", weight: 30, good: "nothing but its own loopback",
            bad: "whatever the host reaches, local services too",
            why:
                "services of the host that listen on loopback trust who reaches them; abstract sockets lie in the network namespace (CVE-2020-15257)",
            mend: Remedy(
                "--network none, or a network of its own", compose: "network_mode: none", kubernetes: "hostNetwork: false and a NetworkPolicy",
                systemd: "PrivateNetwork=yes", oci: "linux.namespaces: network")
        ) { facts in
            switch facts.confinement.network {
            case .none: 0
            case .outbound(_, let closesHost): closesHost ? 1 : 2
            case .at, .foreign: 3
            case .host: 10
            }
        },
        FactorRow(
            "network-owned", .network, "Can it change its own network rules?", weight: 1, good: "its network rules are not its own",
            bad: "it owns its network namespace, and the rules in it", why: "rules that close the host's addresses can be undone from inside",
            mend: Remedy("remove --cap-add NET_ADMIN and NET_RAW")
        ) { $0.confinement.networkNamespaceInside ? 10 : 0 },
    ]
}
