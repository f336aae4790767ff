import Confinement
import OCISpec
import Probe

/// The loose settings in which probes must find the hole.
public struct ControlConfinement: Sendable {
    public let control: ProbeControl
    public let host: ProbeHost
    /// IDs that are set aside for the twins, as the runtime sees them.
    public let range: IDRange
    /// Device nodes that the host has.
    public let devices: [DeviceNode]
    /// Sockets of the host that are stood in for by canaries: where the container finds them.
    public static let socketPaths = [
        "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock", "/run/buildkit/buildkitd.sock",
        "/run/kubelet.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify", "/tmp/.X11-unix/X0",
        "/var/lib/kubelet/device-plugins/kubelet.sock", "/run/dockershim.sock", "/run/canary.sock",
    ]

    public init(_ control: ProbeControl, host: ProbeHost, range: IDRange, devices: [DeviceNode]) {
        self.control = control
        self.host = host
        self.range = range
        self.devices = devices
    }

    /// Those that whoever runs the twins can have.
    public static func available(on host: ProbeHost) -> [ProbeControl] {
        host.isRootful ? [.userNamespace, .privileged, .host, .arranged, .arrangedPrivileged] : [.userNamespace, .host, .arranged]
    }

    /// Those that are no twin: the program of the probes is run by itself, as whoever calls, with the host's namespaces and, where something is to be
    /// arranged, with descriptors that it should not have.
    public static func isDirect(_ id: String, _ control: ProbeControl) -> Bool {
        control == .host || control == .arranged && id.hasPrefix("fd-")
    }

    private var isReal: Bool { host.isRootful && [.privileged, .arrangedPrivileged].contains(control) }
    private var isArranged: Bool { control == .arranged || control == .arrangedPrivileged }

    /// Root without any wall but namespaces.
    ///
    /// - Parameter arranged: mounts of canaries: sockets, a directory that is shared with the host.
    public func confinement(arranged: [Mount]) -> Confinement {
        let all = CapabilitySet.all(upTo: host.lastCapability)
        let inheritable: CapabilitySet = isArranged ? all : []
        let sets = CapabilitySets(bounding: all, effective: all, permitted: all, inheritable: inheritable, ambient: [])
        return Confinement(
            origin: .foreign, isolation: .sharedKernel, user: PayloadUser(additionalGids: isArranged ? [1, 2, 3] : []),
            userNamespace: isReal ? .host : .own(uids: maps, gids: maps, sharesRange: range.isShared),
            namespaces: Namespaces(), capabilities: sets,
            noNewPrivileges: false, syscalls: .unconfined, appArmor: host.hasAppArmor ? .profile("unconfined") : .inherited, seLinux: .inherited,
            landlock: .off, mountsLocked: false, rootReadOnly: false, mounts: mounts + arranged,
            maskedPaths: isArranged ? ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"] : [],
            readonlyPaths: isArranged ? ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"] : [], devices: DeviceNode.defaults + devices,
            deviceRules: [DeviceRule(allows: true, kind: .all)],
            limits: Limits(pids: .at(TwinConfinement.processes), memory: .at(TwinConfinement.memory), memoryAndSwap: .at(TwinConfinement.memory)),
            sysctls: [:], network: .none, networkNamespaceInside: false,
            logs: isArranged ? .rotated(maxBytes: 64 << 20, maxFiles: 1) : .none)
    }

    /// The range, and the caller himself as the last of it.
    private var maps: [RuntimeSpec.IDMapping] {
        let count = min(range.size, 60_000)
        return [.init(containerID: 0, hostID: range.start, size: count), .init(containerID: 60_000, hostID: 0, size: 1)]
    }

    private var mounts: [Mount] {
        [
            Mount(destination: "/proc", type: "proc", source: "proc", options: []),
            Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: []),
            Mount(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755", "size=65536k"]),
            Mount(destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666", "mode=0620"]),
            Mount(destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["mode=1777"]),
            Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: []),
            Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["relatime"]),
        ]
    }
}
