import Confinement

/// One row of the security model of systemd 252: `systemd-analyze security` has 81.
public struct SystemdRow: Sendable {
    /// What is asked of the unit.
    enum Test: Sendable {
        /// Bad unless the Boolean setting is on.
        case flag(String)
        /// Bad when the bounding set has any of them.
        case capabilities([Capability])
        /// Bad when the kind of namespace may be made.
        case namespace(String)
        /// Bad when the family can be had.
        case family(FamilyRow)
        /// Bad when a call of the group can be made.
        case syscalls(String)
        case user, supplementaryGroups, removeIPC, ambientCapabilities, delegate, notifyAccess, keyringMode, umask
        case protectHome, protectSystem, protectProc, procSubset, rootDirectory, devices, addresses, architectures
    }

    /// systemd's `json_field`.
    public let id: String
    public let weight: Int
    /// The largest badness.
    public let range: Int
    /// What a program can do where the row is bad: "change the system clock".
    public let power: String
    /// The line that mends it.
    public let remedy: String
    let test: Test

    init(_ id: String, _ weight: Int, range: Int = 1, _ test: Test, _ power: String, mend remedy: String) {
        self.id = id
        self.weight = weight
        self.range = range
        self.power = power
        self.remedy = remedy
        self.test = test
    }

    private static func capability(_ id: String, _ weight: Int, _ list: [Capability], _ power: String) -> SystemdRow {
        SystemdRow(
            "CapabilityBoundingSet_CAP_" + id, weight, .capabilities(list), power,
            mend: "CapabilityBoundingSet=~" + list.map(\.name).joined(separator: " "))
    }

    private static func flag(_ name: String, _ weight: Int, _ power: String) -> SystemdRow {
        SystemdRow(name, weight, .flag(name), power, mend: name + "=yes")
    }

    private static func group(_ name: String, _ weight: Int, _ power: String) -> SystemdRow {
        let id = "SystemCallFilter_" + String(name.map { $0 == "-" ? "_" : $0 })
        return SystemdRow(id, weight, range: 10, .syscalls("@" + name), power, mend: "SystemCallFilter=~@" + name)
    }

    private static func namespace(_ kind: String, _ weight: Int, _ power: String) -> SystemdRow {
        SystemdRow("RestrictNamespaces_" + kind, weight, .namespace(kind), power, mend: "RestrictNamespaces=~" + kind)
    }

    private static func family(_ id: String, _ weight: Int, _ row: FamilyRow, _ power: String, _ remedy: String) -> SystemdRow {
        SystemdRow("RestrictAddressFamilies_" + id, weight, .family(row), power, mend: "RestrictAddressFamilies=" + remedy)
    }

    /// The table. Names, weights and ranges: `systemd-analyze security --offline=true` of systemd 252 in debug mode.
    public static let all: [SystemdRow] = identity + capabilities + sandbox + isolation + syscalls

    private static let identity: [SystemdRow] = [
        SystemdRow("UserOrDynamicUser", 2000, range: 10, .user, "act as root", mend: "DynamicUser=yes, or User= with a user of its own"),
        SystemdRow("SupplementaryGroups", 200, .supplementaryGroups, "use the rights of further groups", mend: "remove SupplementaryGroups="),
        SystemdRow("RemoveIPC", 100, .removeIPC, "leave System V IPC objects behind", mend: "RemoveIPC=yes"),
        SystemdRow("AmbientCapabilities", 500, .ambientCapabilities, "hand capabilities on to what it runs", mend: "remove AmbientCapabilities="),
        SystemdRow("UMask", 100, range: 10, .umask, "make files that others can reach", mend: "UMask=0077"),
        SystemdRow("KeyringMode", 1000, .keyringMode, "use the keys of other services", mend: "KeyringMode=private"),
        SystemdRow("NotifyAccess", 1000, .notifyAccess, "change the service's state from any of its processes", mend: "NotifyAccess=main"),
        SystemdRow("Delegate", 100, .delegate, "manage a control group subtree", mend: "Delegate=no"),
    ]

    private static let capabilities: [SystemdRow] = [
        capability("SET_UID_GID_PCAP", 1500, [.setuid, .setgid, .setpcap], "take other users' identities"),
        capability("SYS_ADMIN", 1500, [.sysAdmin], "administer the system: mount, and much besides"),
        capability("SYS_PTRACE", 1500, [.sysPtrace], "look into and change other processes"),
        capability("CHOWN_FSETID_SETFCAP", 1000, [.chown, .fsetid, .setfcap], "change owners and capabilities of any file"),
        capability(
            "DAC_FOWNER_IPC_OWNER", 1000, [.dacOverride, .dacReadSearch, .fowner, .ipcOwner], "pass over file and IPC permissions"),
        capability("NET_ADMIN", 1000, [.netAdmin], "reconfigure the network"),
        capability("SYS_MODULE", 1000, [.sysModule], "load kernel modules"),
        capability("SYS_RAWIO", 1000, [.sysRawio], "reach hardware ports and memory directly"),
        capability("SYS_TIME", 1000, [.sysTime], "set the system clock"),
        capability("AUDIT", 500, [.auditControl, .auditRead, .auditWrite], "read, write or steer the audit log"),
        capability("KILL", 500, [.kill], "signal any process"),
        capability("MKNOD", 500, [.mknod], "make device nodes"),
        SystemdRow(
            "CapabilityBoundingSet_CAP_NET_BIND_SERVICE_BROADCAST_RAW)", 500, .capabilities([.netBindService, .netBroadcast, .netRaw]),
            "bind low ports and forge packets",
            mend: "CapabilityBoundingSet=~CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_RAW"),
        capability("SYSLOG", 500, [.syslog], "read and clear the kernel's log"),
        capability("SYS_NICE_RESOURCE", 500, [.sysNice, .sysResource], "raise its priorities and limits"),
        capability("MAC", 100, [.macAdmin, .macOverride], "change mandatory access control"),
        capability("SYS_BOOT", 100, [.sysBoot], "reboot the machine"),
        capability("LINUX_IMMUTABLE", 75, [.linuxImmutable], "make files immutable"),
        capability("IPC_LOCK", 50, [.ipcLock], "lock memory"),
        capability("SYS_CHROOT", 50, [.sysChroot], "change its root directory"),
        capability("BLOCK_SUSPEND", 25, [.blockSuspend], "keep the machine from suspending"),
        capability("BPF", 25, [.bpf], "load BPF programs"),
        capability("LEASE", 25, [.lease], "take leases on files"),
        capability("SYS_PACCT", 25, [.sysPacct], "switch process accounting"),
        capability("SYS_TTY_CONFIG", 25, [.sysTtyConfig], "reconfigure terminals"),
        capability("WAKE_ALARM", 25, [.wakeAlarm], "set timers that wake the machine"),
    ]

    private static let sandbox: [SystemdRow] = [
        flag("PrivateNetwork", 2500, "use the host's network"),
        flag("NoNewPrivileges", 1000, "gain privileges from set-user-ID programs"),
        flag("PrivateDevices", 1000, "reach hardware devices"),
        flag("PrivateMounts", 1000, "make mounts that the host sees"),
        flag("PrivateTmp", 1000, "reach other programs' temporary files"),
        flag("PrivateUsers", 1000, "meet the host's users as themselves"),
        flag("ProtectClock", 1000, "write to the clocks"),
        flag("ProtectControlGroups", 1000, "change control groups"),
        flag("ProtectKernelLogs", 1000, "read the kernel's log"),
        flag("ProtectKernelModules", 1000, "load or read kernel modules"),
        flag("ProtectKernelTunables", 1000, "change kernel settings in /proc and /sys"),
        flag("RestrictSUIDSGID", 1000, "make set-user-ID files"),
        flag("RestrictRealtime", 500, "take real-time priority"),
        flag("LockPersonality", 100, "change its execution domain"),
        flag("MemoryDenyWriteExecute", 100, "make memory that is writable and executable"),
        flag("ProtectHostname", 50, "change the host's name"),
        SystemdRow("ProtectHome", 1000, range: 10, .protectHome, "reach home directories", mend: "ProtectHome=yes"),
        SystemdRow("ProtectSystem", 1000, range: 10, .protectSystem, "change the operating system's files", mend: "ProtectSystem=strict"),
        SystemdRow("ProtectProc", 1000, range: 3, .protectProc, "see other users' processes", mend: "ProtectProc=invisible"),
        SystemdRow("ProcSubset", 10, .procSubset, "read /proc beyond processes", mend: "ProcSubset=pid"),
        SystemdRow("RootDirectoryOrRootImage", 200, .rootDirectory, "see the host's file system", mend: "RootDirectory= or RootImage="),
        SystemdRow("DeviceAllow", 1000, range: 10, .devices, "open devices", mend: "DevicePolicy=closed without DeviceAllow="),
        SystemdRow("IPAddressDeny", 1000, range: 10, .addresses, "exchange packets with any address", mend: "IPAddressDeny=any"),
    ]

    private static let isolation: [SystemdRow] = [
        family("AF_INET_INET6", 1500, .internet, "open internet sockets", "~AF_INET AF_INET6"),
        family("OTHER", 1250, .other, "open sockets of rare protocols", "AF_UNIX AF_INET AF_INET6"),
        family("AF_PACKET", 1000, .packet, "open packet sockets", "~AF_PACKET"),
        family("AF_NETLINK", 200, .netlink, "open netlink sockets", "~AF_NETLINK"),
        family("AF_UNIX", 25, .unix, "open local sockets", "~AF_UNIX"),
        namespace("user", 1500, "make user namespaces"),
        namespace("cgroup", 500, "make control group namespaces"),
        namespace("ipc", 500, "make IPC namespaces"),
        namespace("mnt", 500, "make mount namespaces"),
        namespace("net", 500, "make network namespaces"),
        namespace("pid", 500, "make process namespaces"),
        namespace("uts", 100, "make host name namespaces"),
    ]

    private static let syscalls: [SystemdRow] = [
        SystemdRow(
            "SystemCallArchitectures", 1000, range: 10, .architectures, "make system calls of other architectures",
            mend: "SystemCallArchitectures=native"),
        group("clock", 1000, "call what sets clocks"),
        group("debug", 1000, "call what debugs and traces"),
        group("module", 1000, "call what loads kernel modules"),
        group("mount", 1000, "call what mounts"),
        group("raw-io", 1000, "call what reaches hardware ports"),
        group("reboot", 1000, "call what reboots"),
        group("swap", 1000, "call what sets swap space"),
        group("privileged", 700, "call what needs privileges"),
        group("resources", 700, "call what changes priorities and limits"),
        group("cpu-emulation", 250, "call what emulates old processors"),
        group("obsolete", 250, "call what is obsolete"),
    ]
}
