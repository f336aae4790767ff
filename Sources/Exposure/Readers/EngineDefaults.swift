import Confinement
import StrictJSON

/// What engines do when a user says nothing, as a table. Sources are named beside each.
public struct EngineDefaults: Sendable {
    /// moby oci/caps/defaults.go; containerd's CRI plugin has the same list.
    static let dockerCapabilities = CapabilitySet([
        .chown, .dacOverride, .fsetid, .fowner, .mknod, .netRaw, .setgid, .setuid, .setfcap, .setpcap, .netBindService, .sysChroot, .kill,
        .auditWrite,
    ])
    /// containers.conf(5) of containers-common 0.50, default_capabilities.
    static let podmanCapabilities = CapabilitySet([
        .chown, .dacOverride, .fowner, .fsetid, .kill, .netBindService, .setfcap, .setgid, .setpcap, .setuid, .sysChroot,
    ])
    /// crio.conf(5) of CRI-O 1.24 and newer, default_capabilities.
    static let crioCapabilities = CapabilitySet([.chown, .dacOverride, .fsetid, .fowner, .setgid, .setuid, .setpcap, .netBindService, .kill])
    /// containers.conf(5), pids_limit.
    static let podmanProcesses: UInt64 = 2048

    /// Docker's (moby oci/defaults.go), which the kubelet asks for as well.
    let masked: [String]
    let readOnly: [String]
    /// Podman's (pkg/specgen/generate/config_linux.go of 4.3, BlockAccessToKernelFilesystems).
    static let podmanMasked = [
        "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
        "/sys/dev/block", "/sys/firmware", "/sys/fs/selinux",
    ]
    static let podmanReadOnly = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
    private var dockerFilters: [CapabilitySet: SyscallFilter] = [:]
    private var podmanFilters: [CapabilitySet: SyscallFilter] = [:]
    private let podmanCalls: JSONValue

    public init() throws(ExposureError) {
        do {
            let compat = try Level.builtIn(.compat)
            masked = compat.maskedPaths.map { $0.hasPrefix("/sys/devices/system/cpu/") ? "/sys/devices/system/cpu/cpu0/thermal_throttle" : $0 }
            readOnly = compat.readonlyPaths
            podmanCalls = try JSONParser().parse(PackageResources.podman_seccomp_json)
        } catch {
            throw ExposureError("a built-in table cannot be read: \(error)")
        }
    }

    /// Docker's default filter (moby profiles/seccomp) for a process with these capabilities.
    mutating func dockerFilter(_ capabilities: CapabilitySet) throws(ExposureError) -> SyscallFilter {
        if let known = dockerFilters[capabilities] { return known }
        do {
            let filter = try SyscallFilter.docker(capabilities: capabilities, architecture: .current)
            dockerFilters[capabilities] = filter
            return filter
        } catch {
            throw ExposureError("\(error)")
        }
    }

    /// The default filter of Podman and CRI-O.
    mutating func podmanFilter(_ capabilities: CapabilitySet) -> SyscallFilter {
        if let known = podmanFilters[capabilities] { return known }
        var names = (podmanCalls["always"]?.array ?? []).compactMap(\.string)
        for entry in podmanCalls["withCapability"]?.object ?? [:] {
            if let capability = Capability(named: entry.key), capabilities.contains(capability) {
                names += (entry.value.array ?? []).compactMap(\.string)
            }
        }
        // The usual ways to be another system, and none of those that take the random places of memory away.
        var rules = (podmanCalls["personality"]?.array ?? []).compactMap(\.int64).map { value in
            SyscallFilter.Rule(names: ["personality"], action: .allow, conditions: [.init(argument: 0, .equal(UInt64(clamping: value)))])
        }
        if capabilities.contains(.auditWrite) {
            names.append("socket")
        } else {
            // AF_NETLINK for NETLINK_AUDIT is answered with EINVAL, as by a kernel without it.
            rules += [
                .init(names: ["socket"], action: .errno(22), conditions: [.init(argument: 0, .equal(16)), .init(argument: 2, .equal(9))]),
                .init(names: ["socket"], action: .allow, conditions: [.init(argument: 2, .notEqual(9))]),
                .init(names: ["socket"], action: .allow, conditions: [.init(argument: 0, .notEqual(16))]),
            ]
        }
        rules.append(.init(names: names, action: .allow))
        let filter = SyscallFilter(
            defaultAction: .errno(38), architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], rules: rules)
        podmanFilters[capabilities] = filter
        return filter
    }
}
