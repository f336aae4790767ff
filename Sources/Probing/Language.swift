import Confinement
import Exposure
import Probe

/// In whose words a finding is mended.
public enum Language: String, Sendable, CaseIterable {
    case coffer, docker, podman, kubernetes, bundle
    /// No container: the machine as an ordinary user finds it.
    case host

    public init(_ source: Source) {
        switch source {
        case .docker, .compose, .dockerfile: self = .docker
        case .podman: self = .podman
        case .kubernetes: self = .kubernetes
        case .oci: self = .bundle
        case .coffer, .image, .systemd, .process: self = .coffer
        }
    }

    /// What a configuration can say that opens a container.
    public enum Weakness: Sendable, CaseIterable {
        case privileged, unfiltered, procSys, hostPID, hostNetwork, hostIPC, hostUTS, hostUser, hostCgroup
    }

    /// The flag, field or line that takes a weakness away.
    public func word(_ weakness: Weakness) -> String {
        switch (weakness, self) {
        case (.privileged, .kubernetes): "securityContext.privileged: false"
        case (.privileged, .bundle): "give process.capabilities a short list, linux.seccomp a profile, and linux.maskedPaths their paths"
        case (.privileged, _): "leave out --privileged"
        case (.unfiltered, .kubernetes): "securityContext.seccompProfile.type: RuntimeDefault"
        case (.unfiltered, .bundle): "give linux.seccomp a profile"
        case (.unfiltered, _): "leave out --security-opt seccomp=unconfined"
        case (.procSys, .kubernetes): "leave out securityContext.procMount: Unmasked"
        case (.procSys, .bundle): "add \"/proc/sys\" to linux.readonlyPaths"
        case (.procSys, _): "leave out --security-opt systempaths=unconfined and unmask=…"
        case (.hostPID, .kubernetes): "leave out spec.hostPID"
        case (.hostPID, .bundle): "add {\"type\": \"pid\"} to linux.namespaces"
        case (.hostPID, _): "leave out --pid host"
        case (.hostNetwork, .kubernetes): "leave out spec.hostNetwork"
        case (.hostNetwork, .bundle): "add {\"type\": \"network\"} to linux.namespaces"
        case (.hostNetwork, _): "leave out --network host"
        case (.hostIPC, .kubernetes): "leave out spec.hostIPC"
        case (.hostIPC, .bundle): "add {\"type\": \"ipc\"} to linux.namespaces"
        case (.hostIPC, _): "leave out --ipc host"
        case (.hostUTS, .kubernetes): "leave out spec.hostNetwork, by which the host's name is shared"
        case (.hostUTS, .bundle): "add {\"type\": \"uts\"} to linux.namespaces"
        case (.hostUTS, _): "leave out --uts host"
        case (.hostUser, .kubernetes): "spec.hostUsers: false"
        case (.hostUser, .bundle): "add {\"type\": \"user\"} to linux.namespaces, with linux.uidMappings and linux.gidMappings"
        case (.hostUser, .docker): "start dockerd with --userns-remap, or rootless"
        case (.hostUser, _): "leave out --userns host"
        case (.hostCgroup, .kubernetes): "run the kubelet with cgroup v2, which gives each Pod a namespace"
        case (.hostCgroup, .bundle): "add {\"type\": \"cgroup\"} to linux.namespaces"
        case (.hostCgroup, _): "leave out --cgroupns host"
        }
    }

    public func leavingOutCapability(_ name: String) -> String {
        switch self {
        case .kubernetes: "leave \(name) out of securityContext.capabilities.add"
        case .bundle: "leave CAP_\(name) out of process.capabilities"
        default: "leave out --cap-add \(name)"
        }
    }

    public func leavingOut(_ mount: Mount) -> String {
        switch self {
        case .kubernetes: "leave out the volumeMount \(mount.destination)"
        case .bundle: "leave out the mount on \(mount.destination)"
        default: "leave out -v \(mount.source):\(mount.destination)"
        }
    }

    public func leavingOutDevice(_ path: String) -> String {
        switch self {
        case .kubernetes: "leave out the hostPath volume of \(path)"
        case .bundle: "leave \(path) out of linux.devices"
        default: "leave out --device \(path)"
        }
    }

    /// What mends a probe that got through.
    public func mending(_ row: ProbeRow) -> String {
        if self == .host { return HostSetting.mending(row) }
        let capability = row.capability.map { String($0.dropFirst($0.hasPrefix("CAP_") ? 4 : 0)) } ?? ""
        switch (row.remedy, self) {
        case (.seccomp, .coffer): return "leave out --security-opt seccomp=…, --privileged and --level compat"
        case (.seccomp, .kubernetes): return "securityContext.seccompProfile with a stricter profile"
        case (.seccomp, .bundle): return "a stricter profile in linux.seccomp"
        case (.seccomp, _): return "--security-opt seccomp=FILE with a stricter profile"
        case (.capability, .coffer): return "leave out --cap-add \(capability), --privileged and --level compat"
        case (.capability, .kubernetes): return "securityContext.capabilities.drop: [\(capability.isEmpty ? "ALL" : capability)]"
        case (.capability, .bundle): return "leave CAP_\(capability) out of process.capabilities"
        case (.capability, _): return "--cap-drop \(capability.isEmpty ? "ALL" : capability)"
        case (.userNamespace, _): return word(.hostUser)
        case (.pidNamespace, _): return word(.hostPID)
        case (.networkNamespace, _): return word(.hostNetwork)
        case (.ipcNamespace, _): return word(.hostIPC)
        case (.utsNamespace, _): return word(.hostUTS)
        case (.cgroupNamespace, _): return word(.hostCgroup)
        case (.hostMount, _): return "leave out the mount of the host's files"
        case (.socketMount, _): return "leave out the mount of the socket"
        case (.propagation, .kubernetes): return "leave out mountPropagation: Bidirectional"
        case (.propagation, .bundle): return "linux.rootfsPropagation: private, and no shared in the mounts' options"
        case (.propagation, _): return "leave out :shared and :rshared of -v"
        case (.device, .kubernetes): return "leave out privileged, and the hostPath volumes of devices"
        case (.device, .bundle): return "deny devices in linux.resources.devices, and list fewer in linux.devices"
        case (.device, _): return "leave out --device and --privileged"
        case (.maskedPaths, .kubernetes): return "leave out procMount: Unmasked"
        case (.maskedPaths, .bundle): return "add the path to linux.maskedPaths"
        case (.maskedPaths, .coffer): return "leave out --security-opt unmask=… and systempaths=unconfined, and --level compat"
        case (.maskedPaths, _): return "leave out --security-opt systempaths=unconfined; coffer run masks it by default"
        case (.readOnlyPaths, .kubernetes): return "leave out procMount: Unmasked"
        case (.readOnlyPaths, .bundle): return "add the path to linux.readonlyPaths"
        case (.readOnlyPaths, _): return "leave out --security-opt unmask=… and systempaths=unconfined, and --privileged"
        case (.cgroupMount, .bundle): return "the option ro for the mount on /sys/fs/cgroup, and {\"type\": \"cgroup\"} in linux.namespaces"
        case (.cgroupMount, .kubernetes): return "leave out privileged"
        case (.cgroupMount, _): return "leave out --privileged and mounts of /sys/fs/cgroup"
        case (.noNewPrivileges, .kubernetes): return "securityContext.allowPrivilegeEscalation: false"
        case (.noNewPrivileges, .bundle): return "process.noNewPrivileges: true, and nosuid on the mounts"
        case (.noNewPrivileges, .coffer): return "leave out --security-opt no-new-privileges=false, --privileged and --level compat"
        case (.noNewPrivileges, _): return "--security-opt no-new-privileges"
        case (.landlock, .coffer): return "leave out --security-opt landlock=off and --level compat"
        case (.landlock, _): return "coffer run, which has Landlock by default; no flag of this engine gives it"
        case (.networkRules, .coffer): return "leave out --network host, or say --network none"
        case (.networkRules, .kubernetes): return "a NetworkPolicy, and no hostNetwork"
        case (.networkRules, .bundle): return "rules in the network namespace"
        case (.networkRules, _): return "--network none, or an internal network"
        case (.environment, .kubernetes): return "leave the variable out of env, and mount a Secret as a file"
        case (.environment, .bundle): return "leave the variable out of process.env"
        case (.environment, _): return "leave out -e and --env-file for it"
        case (.limits, .kubernetes): return "resources.limits, and the kubelet's podPidsLimit"
        case (.limits, .bundle): return "linux.resources with limits"
        case (.limits, _): return "--pids-limit, --memory, --cpus, --ulimit"
        case (.engine, .coffer): return "no flag: this is a defect, please report it"
        case (.engine, _): return "no flag of this engine: coffer run"
        case (.kernel, _): return "a setting of the host's kernel, for its administrator"
        }
    }
}
