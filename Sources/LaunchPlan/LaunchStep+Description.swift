import OCISpec

extension LaunchStep: CustomStringConvertible {
    /// One line in plain words, for `run --explain` and the report.
    public var description: String {
        switch self {
        case .namespaces(let new, let joined):
            let made = new.isEmpty ? "no new namespaces" : "new namespaces: \(new.joined(separator: ", "))"
            return joined.isEmpty ? made : made + "; joined: " + joined.map { "\($0.kind) of \($0.path)" }.joined(separator: ", ")
        case .identityMaps(let uid, let gid):
            func text(_ maps: [RuntimeSpec.IDMapping]) -> String {
                maps.map { "\($0.containerID)→\($0.hostID) ×\($0.size)" }.joined(separator: ", ")
            }
            return uid == gid ? "user and group IDs \(text(uid))" : "user IDs \(text(uid)); group IDs \(text(gid))"
        case .controlGroup(let group): return "control group \(group.path): \(group.resources.summary)"
        case .networkDevice(let device):
            return "network device \(device.hostName) of the host" + (device.name == device.hostName ? "" : " as \(device.name)")
        case .network(.none): return "network: loopback only"
        case .network(.host): return "network: the host's"
        case .network(.outbound(let network)):
            let ports = network.ports.map { "\($0.hostAddress):\($0.hostPort)→\($0.containerPort)/\($0.transport.rawValue)" }
            return "network: outbound through pasta" + (ports.isEmpty ? "" : ", published \(ports.joined(separator: ", "))")
        case .layers(let overlay): return "\(overlay.lowerDirectories.count) layers shifted into the ID range (idmapped mounts)"
        case .timeOffsets(let offsets):
            return "clocks: " + offsets.map { "\($0.clock) \($0.seconds) s \($0.nanoseconds) ns" }.joined(separator: ", ")
        case .mountNamespace: return "private mount namespace, no propagation to or from the host"
        case .hostname(let name, let domain):
            return [name.map { "host name \($0)" }, domain.map { "domain name \($0)" }].compactMap { $0 }.joined(separator: ", ")
        case .loopback: return "loopback interface up"
        case .egressRules: return "host loopback, link-local and the host's own addresses closed (nftables)"
        case .systemControl(let key, let value): return "\(key) = \(value)"
        case .resourceLimit(let name, let soft, let hard):
            func text(_ value: UInt64) -> String { value == .max ? "unlimited" : "\(value)" }
            return "\(name) \(text(soft)):\(text(hard))"
        case .oomScore(let value): return "oom_score_adj \(value)"
        case .root(.directory(let path)): return "root file system \(path)"
        case .root(.overlay(let overlay)): return "root file system: overlay of \(overlay.lowerDirectories.count) layers"
        case .mount(let step): return step.summary
        case .device(let device): return "device \(device.path) (\(device.type) \(device.major):\(device.minor))"
        case .console: return "terminal on /dev/console"
        case .mask(let path): return "masked \(path)"
        case .readOnlyPath(let path): return "read-only \(path)"
        case .runtimeHooks: return "hooks of the runtime"
        case .containerHooks(let hooks): return "hooks of createContainer: \(hooks.map(\.path).joined(separator: ", "))"
        case .startHooks(let hooks): return "hooks of startContainer: \(hooks.map(\.path).joined(separator: ", "))"
        case .pivot(let step):
            return (step.sharesMounts ? "root changed by chroot alone: the mounts are the host's" : "root switched, old root gone")
                + (step.readOnly ? ", root read-only" : "")
        case .nestingLimit: return "no nested user namespaces (user.max_user_namespaces)"
        case .lockedMounts: return "every mount locked by a second user namespace"
        case .keyring: return "session keyring of its own"
        case .personality(let value): return "personality \(hexadecimal(value))"
        case .scheduler(let step): return "scheduling policy \(step.policy)"
        case .ioPriority(let value): return "I/O class \(value >> 13), priority \(value & 0x1fff)"
        case .memoryPolicy(let step): return "memory policy \(step.mode & 0xff)"
        case .workingDirectory(let path): return "working directory \(path)"
        case .identity(.numeric(let uid, let gid, let groups, _)):
            return "user \(uid), group \(gid)" + (groups.isEmpty ? "" : ", groups \(groups.map(String.init).joined(separator: ","))")
        case .identity(.named(let name, _, let groups, _)):
            return "user \(name)" + (groups.isEmpty ? "" : ", groups \(groups.joined(separator: " "))")
        case .capabilities(let sets):
            return "capabilities: bounding \(hexadecimal(sets.bounding)), effective \(hexadecimal(sets.effective))"
        case .noNewPrivileges: return "no new privileges"
        case .securityLabel(let label):
            return label.appArmorProfile.map { "AppArmor profile \($0)" } ?? "SELinux label \(label.selinuxLabel ?? "")"
        case .landlock(let policy):
            return policy.handlesFileSystem ? "Landlock: \(policy.rules.count) path rules" : "Landlock: scopes only"
        case .verification: return "read back from /proc and compared"
        case .systemCallFilter(let filter): return "system call filter, default \(filter.profile.defaultAction)"
        case .execute(let arguments, _): return "execute \(arguments.joined(separator: " "))"
        }
    }
}

/// A mask as /proc/PID/status prints it: 16 digits.
public func hexadecimal(_ mask: UInt64) -> String {
    let digits = String(mask, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

extension MountStep {
    /// One line in plain words.
    var summary: String {
        let words = [(UInt64(1), "ro"), (2, "nosuid"), (4, "nodev"), (8, "noexec")]
        let flags = words.filter { setAttributes & $0.0 != 0 }.map(\.1).joined(separator: ",")
        let suffix = flags.isEmpty ? "" : " (\(flags))"
        switch source {
        case .fileSystem(let type, _): return "mount \(type) on \(destination)\(suffix)"
        case .bind(let path, _): return "bind \(path) on \(destination)\(suffix)"
        case .inside(let path, _): return "bind \(path) of the root on \(destination)\(suffix)"
        case .controlGroups: return "mount own control groups on \(destination)\(suffix)"
        }
    }
}

extension RuntimeSpec.Resources {
    /// The limits in plain words.
    var summary: String {
        var parts: [String] = []
        if let limit = pids?.limit { parts.append("pids \(limit)") }
        if let limit = memory?.limit { parts.append("memory \(limit) bytes") }
        if let swap = memory?.swap { parts.append("memory+swap \(swap) bytes") }
        if let shares = cpu?.shares { parts.append("cpu shares \(shares)") }
        if let quota = cpu?.quota { parts.append("cpu quota \(quota)/\(cpu?.period ?? 100_000) µs") }
        if let devices, !devices.isEmpty { parts.append("\(devices.count) device rules") }
        return parts.isEmpty ? "no limits" : parts.joined(separator: ", ")
    }
}
