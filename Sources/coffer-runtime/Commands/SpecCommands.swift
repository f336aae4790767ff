import ContainerRuntime
import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// `spec [-b DIR]`: writes a default config.json.
enum SpecCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, ["bundle": true, "rootless": false], aliases: ["b": "bundle"])
        let path = (options.value("bundle") ?? ".") + "/config.json"
        if access(path, F_OK) == 0 { throw OptionError("file \(path) exists: remove it first") }
        try replaceFile(path, with: try StrictJSONEncoder(.pretty).encode(DefaultSpec.make(rootless: options.isSet("rootless"))), mode: 0o644)
        return 0
    }
}

/// `features`: what engines ask for before they use a runtime (runtime-spec, features.md, features-linux.md).
enum FeaturesCommand {
    private struct Features: Codable {
        struct Linux: Codable {
            struct Feature: Codable { var enabled: Bool }
            struct Groups: Codable { var v1: Bool, v2: Bool, systemd: Bool, systemdUser: Bool, rdma: Bool }
            struct Filter: Codable {
                var enabled: Bool
                var actions: [String], operators: [String], archs: [String], knownFlags: [String], supportedFlags: [String]
            }
            struct MountExtensions: Codable { var idmap: Feature }
            var namespaces: [String]
            var capabilities: [String]
            var cgroup: Groups
            var seccomp: Filter
            var apparmor: Feature
            var selinux: Feature
            var intelRdt: Feature
            var mountExtensions: MountExtensions
            var netDevices: Feature
        }
        var ociVersionMin = "1.0.0"
        var ociVersionMax = "1.3.0"
        var hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        var mountOptions = MountOptionNames.all
        var linux: Linux
        var annotations = ["io.github.seccomp.libseccomp.version": FilterFacts.libraryVersion]
        var potentiallyUnsafeConfigAnnotations = Annotations.potentiallyUnsafe
    }

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        try ParsedOptions(arguments, [:]).expectOperands(0)
        let no = Features.Linux.Feature(enabled: false)
        let yes = Features.Linux.Feature(enabled: true)
        let features = Features(
            linux: .init(
                namespaces: RuntimeSpec.Namespace.Kind.allCases.map(\.rawValue).sorted(),
                capabilities: Capability.all.map(\.name),
                cgroup: .init(v1: true, v2: true, systemd: true, systemdUser: true, rdma: true),
                seccomp: .init(
                    enabled: true, actions: FilterFacts.actions, operators: FilterFacts.operators, archs: FilterFacts.architectures,
                    knownFlags: FilterFacts.flags, supportedFlags: FilterFacts.flags),
                apparmor: yes, selinux: yes, intelRdt: no, mountExtensions: .init(idmap: yes), netDevices: yes))
        try output(try StrictJSONEncoder(.pretty).encode(features))
        return 0
    }
}

/// The configuration that `spec` writes: a shell in ./rootfs, closed as far as the specification has words for it.
enum DefaultSpec {
    static func make(rootless: Bool) -> RuntimeSpec {
        let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
        var process = RuntimeSpec.Process(cwd: "/")
        process.terminal = true
        process.user = RuntimeSpec.User(uid: 0, gid: 0)
        process.args = ["sh"]
        process.env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]
        process.capabilities = RuntimeSpec.Capabilities(
            bounding: capabilities, effective: capabilities, inheritable: nil, permitted: capabilities, ambient: nil)
        process.rlimits = [RuntimeSpec.ResourceLimit(type: "RLIMIT_NOFILE", soft: 1024, hard: 1024)]
        process.noNewPrivileges = true
        var linux = RuntimeSpec.Linux()
        linux.namespaces = [.pid, .network, .ipc, .uts, .mount, .cgroup].map { RuntimeSpec.Namespace(type: $0, path: nil) }
        if rootless {
            linux.namespaces?.append(RuntimeSpec.Namespace(type: .user, path: nil))
            linux.uidMappings = [RuntimeSpec.IDMapping(containerID: 0, hostID: geteuid(), size: 1)]
            linux.gidMappings = [RuntimeSpec.IDMapping(containerID: 0, hostID: getegid(), size: 1)]
        }
        // What every container has is added to it, and nothing else.
        linux.resources = RuntimeSpec.Resources()
        linux.resources?.devices = [RuntimeSpec.DeviceRule(allow: false, type: nil, major: nil, minor: nil, access: "rwm")]
        linux.maskedPaths = [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        ]
        linux.readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        var spec = RuntimeSpec()
        spec.process = process
        spec.root = RuntimeSpec.Root(path: "rootfs", readonly: true)
        spec.hostname = "coffer"
        spec.mounts = mounts(rootless: rootless)
        spec.linux = linux
        return spec
    }

    /// - Parameter rootless: only one group is mapped, which is not that of terminals (5).
    private static func mounts(rootless: Bool) -> [RuntimeSpec.Mount] {
        let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
        let closed = ["nosuid", "noexec", "nodev"]
        return [
            ("/proc", "proc", closed), ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            ("/dev/pts", "devpts", rootless ? terminals : terminals + ["gid=5"]),
            ("/dev/shm", "tmpfs", closed + ["mode=1777", "size=65536k"]), ("/dev/mqueue", "mqueue", closed),
            ("/sys", "sysfs", closed + ["ro"]), ("/sys/fs/cgroup", "cgroup", closed + ["ro"]),
        ].map { RuntimeSpec.Mount(destination: $0.0, type: $0.1, source: $0.1, options: $0.2) }
    }
}
