import Confinement
import Exposure

/// A weakness that the target brings along by its own configuration, known before anything is tried.
public struct CarriedWeakness: Sendable, Equatable {
    /// "carried-" and a word.
    public var id: String
    /// One sentence.
    public var detail: String
    /// The flag, field or line that mends it, in the target's own language.
    public var remedy: String

    public init(id: String, detail: String, remedy: String) {
        self.id = id
        self.detail = detail
        self.remedy = remedy
    }
}

extension CarriedWeakness {
    /// Everything of this kind about a target, the worst first.
    public static func all(of confinement: Confinement, in language: Language) -> [CarriedWeakness] {
        sockets(confinement, language) + wholeKernel(confinement, language) + namespaces(confinement, language) + capabilities(confinement, language)
            + paths(confinement, language) + devices(confinement, language)
    }

    // MARK: Mounts

    /// Sockets by which an engine, a service manager or a session takes orders: whoever connects is as good as its owner.
    private static let controlSockets = [
        "docker.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock", "dockershim.sock", "kubelet.sock", "system_bus_socket",
        "private", "ssh-agent", "S.gpg-agent", "lxd.socket", "incus.socket",
    ]

    private static func sockets(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        confinement.mounts.compactMap { mount in
            guard mount.isBind, mount.type != "generated" else { return nil }
            // A socket may have any name on the host: where the container looks for it says as much.
            let names = [mount.source, mount.destination].map { String($0.split(separator: "/").last ?? "") }
            guard names.contains(where: { controlSockets.contains($0) || $0.hasSuffix(".sock") }) else { return nil }
            return CarriedWeakness(
                id: "carried-socket",
                detail:
                    "\(mount.source) is mounted on \(mount.destination): whoever may connect commands what listens, and an engine commands the host",
                remedy: language.leavingOut(mount))
        }
    }

    /// Host directories that are worth the host, as far as they can be written; the first that is a prefix counts.
    private static let hostPaths: [(path: String, why: String)] = [
        ("/proc", "the host's kernel parameters and processes"), ("/sys", "the host's devices and control groups"),
        ("/dev", "the host's devices"), ("/etc", "the host's accounts and services"), ("/boot", "the host's kernel"),
        ("/root", "the keys of the host's root"), ("/run", "the sockets of the host's services"), ("/var/run", "the sockets of the host's services"),
        ("/var/lib/docker", "the files of every container"), ("/var/lib/containers", "the files of every container"),
        ("/var/lib/kubelet", "the secrets of every Pod"), ("/lib/modules", "the host's kernel modules"), ("/usr", "the host's programs"),
    ]

    private static func paths(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        var found: [CarriedWeakness] = []
        for mount in confinement.mounts where mount.isBind && mount.type != "generated" && mount.source.hasPrefix("/") {
            if mount.source.hasSuffix(".sock") || mount.destination.hasSuffix(".sock") { continue }
            if mount.source == mount.destination && mount.isKernels { continue }
            if ["/dev/shm", "/dev/mqueue"].contains(mount.source) { continue }
            let isDevice = mount.source.hasPrefix("/dev/")
            let why =
                mount.source == "/"
                ? "every file of the host" : hostPaths.first { mount.source == $0.path || mount.source.hasPrefix($0.path + "/") }?.why
            guard let why, !isDevice else { continue }
            found.append(
                CarriedWeakness(
                    id: "carried-host-path",
                    detail: "\(mount.source) of the host is mounted \(mount.isWritable ? "writable " : "")on \(mount.destination): \(why)",
                    remedy: language.leavingOut(mount)))
        }
        return found
    }

    // MARK: The kernel

    private static func wholeKernel(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        var found: [CarriedWeakness] = []
        let sets = confinement.capabilities
        let isPrivileged = sets.bounding.contains(.sysModule) && sets.bounding.contains(.sysAdmin) && confinement.syscalls == .unconfined
        if isPrivileged {
            found.append(
                CarriedWeakness(
                    id: "carried-privileged", detail: "it is privileged: every capability, no filter on system calls, no masks",
                    remedy: language.word(.privileged)))
        } else if confinement.syscalls == .unconfined {
            found.append(
                CarriedWeakness(
                    id: "carried-unfiltered", detail: "no filter stands before the kernel's system calls", remedy: language.word(.unfiltered)))
        }
        let hasProc = confinement.mounts.contains { $0.destination == "/proc" }
        if hasProc, !isPrivileged, !confinement.readonlyPaths.contains("/proc/sys"),
            !confinement.mounts.contains(where: { $0.destination == "/proc" && !$0.isWritable })
        {
            found.append(
                CarriedWeakness(
                    id: "carried-proc-sys", detail: "/proc/sys can be written: the kernel's parameters, where the user's rights reach them",
                    remedy: language.word(.procSys)))
        }
        return found
    }

    private static func namespaces(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        var found: [CarriedWeakness] = []
        func add(_ id: String, _ detail: String, _ weakness: Language.Weakness) {
            found.append(CarriedWeakness(id: id, detail: detail, remedy: language.word(weakness)))
        }
        if confinement.namespaces.pid == .host { add("carried-host-pid", "it sees and may signal the host's processes", .hostPID) }
        if confinement.network == .host {
            add("carried-host-network", "its network is the host's: every local service and abstract socket", .hostNetwork)
        }
        if confinement.namespaces.ipc == .host { add("carried-host-ipc", "it shares the host's shared memory and message queues", .hostIPC) }
        if confinement.namespaces.uts == .host {
            add("carried-host-uts", "the host's name is its own to read, and with SYS_ADMIN to change", .hostUTS)
        }
        if case .level = confinement.origin {
            if confinement.userNamespace == .host { add("carried-host-user", "its users are the host's, root among them", .hostUser) }
            if confinement.namespaces.cgroup == .host { add("carried-host-cgroup", "it sees the host's tree of control groups", .hostCgroup) }
        }
        return found
    }

    /// Each of these is worth the host, or a good part of its kernel.
    private static let strong: [(Capability, String)] = [
        (.sysAdmin, "mounts, namespaces and a hundred other powers"), (.sysModule, "loading kernel modules"),
        (.sysPtrace, "reading and changing other processes"), (.sysRawio, "raw access to memory and ports"),
        (.dacReadSearch, "reading every file of a file system by handle"), (.netAdmin, "the network's configuration, and more of the kernel's code"),
        (.sysBoot, "restarting the machine"), (.sysTime, "setting the clock"), (.bpf, "programs in the kernel"),
        (.perfmon, "measuring the kernel"), (.syslog, "the kernel's log and addresses"), (.sysResource, "exceeding its limits"),
    ]

    private static func capabilities(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        let sets = confinement.capabilities
        let isPrivileged = sets.bounding.contains(.sysModule) && sets.bounding.contains(.sysAdmin) && confinement.syscalls == .unconfined
        if isPrivileged { return [] }
        return strong.filter { sets.bounding.contains($0.0) }.map { capability, why in
            let name = String(capability.name.dropFirst(4))
            return CarriedWeakness(
                id: "carried-capability", detail: "it has \(name): \(why)", remedy: language.leavingOutCapability(name))
        }
    }

    private static func devices(_ confinement: Confinement, _ language: Language) -> [CarriedWeakness] {
        let usual = Set(DeviceNode.defaults.map(\.path))
        let nodes = confinement.devices.filter { !usual.contains($0.path) && $0.kind != .fifo }.map(\.path)
        let bound = confinement.mounts.filter { $0.isBind && $0.source.hasPrefix("/dev/") && !["/dev/shm", "/dev/mqueue"].contains($0.source) }
        return (nodes + bound.map(\.source)).map { path in
            CarriedWeakness(id: "carried-device", detail: "it has the host's device \(path)", remedy: language.leavingOutDevice(path))
        }
    }
}
