import Confinement
import Exposure
import Glibc
import LinuxKernel
import OCISpec
import TextSearch

// LinuxKernel has types of the same names for the calls; here the model's are meant.
import struct Confinement.CapabilitySet
import struct Confinement.DeviceRule
import struct Confinement.Namespaces

/// What confines a process that runs, as the kernel tells it below /proc (proc(5)).
///
/// What /proc does not tell: what a system call filter holds (only that there is one), Landlock, published ports, who vouches for the program, and
/// what a user may not read of another's process.
struct ProcessSource {
    private let pid: Int32
    private var status: [String: String] = [:]
    private var unknown: [Aspect: String] = [:]

    static func subject(_ pid: Int32, name: String) throws(EngineError) -> Subject {
        var source = ProcessSource(pid: pid)
        return try source.read(name)
    }

    private init(pid: Int32) { self.pid = pid }

    private func text(_ file: String) -> String? {
        do {
            return String(decoding: try readFile("/proc/\(pid)/\(file)", limit: 16 << 20), as: UTF8.self)
        } catch {
            return nil
        }
    }

    private mutating func read(_ name: String) throws(EngineError) -> Subject {
        guard let lines = text("status") else {
            throw EngineError("there is no process \(pid), or it may not be looked at", code: .failure)
        }
        for line in lines.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            status[String(line[..<colon])] = String(line[line.index(after: colon)...].drop { $0 == "\t" || $0 == " " })
        }
        let namespaces = readNamespaces()
        let users = readUsers()
        let mounts = try readMounts(isHost: namespaces.mount == .host)
        let limits = readLimits()
        let label = (text("attr/current") ?? "").prefix { $0 != "\n" && $0 != "\0" }
        let profile = label.split(separator: " ").first.map(String.init) ?? ""
        let isSELinux = profile.split(separator: ":").count >= 4
        unknown[.landlock] = "the kernel does not show Landlock domains"
        var syscalls = SyscallPolicy.unconfined
        if status["Seccomp"] != "0" {
            unknown[.syscalls] = "a filter is loaded, and reading it would stop the process"
            syscalls = .filtered(SyscallFilter(defaultAction: .allow))
        }
        let rules = deviceRules()
        let confinement = Confinement(
            origin: .foreign, isolation: .sharedKernel, user: payload(users), userNamespace: users, namespaces: namespaces,
            capabilities: CapabilitySets(
                bounding: capabilities("CapBnd"), effective: capabilities("CapEff"), permitted: capabilities("CapPrm"),
                inheritable: capabilities("CapInh"), ambient: capabilities("CapAmb")),
            noNewPrivileges: status["NoNewPrivs"] == "1", syscalls: syscalls,
            appArmor: isSELinux || profile.isEmpty || profile == "unconfined" ? .inherited : .profile(profile),
            seLinux: isSELinux ? .labels(process: profile, mounts: "") : .inherited, landlock: .off, mountsLocked: false,
            rootReadOnly: mounts.rootReadOnly, mounts: mounts.list, maskedPaths: mounts.masked, readonlyPaths: mounts.readOnly,
            devices: DeviceNode.defaults, deviceRules: rules, limits: limits, sysctls: [:], network: network(), networkNamespaceInside: false,
            logs: .rotated(maxBytes: 1 << 30, maxFiles: 1))
        return Subject(name: name, source: .process, confinement: confinement, engineUser: .root, provenance: .none, unknown: unknown)
    }

    private func numbers(_ key: String) -> [UInt32] { (status[key] ?? "").split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) } }
    private func capabilities(_ key: String) -> CapabilitySet {
        CapabilitySet(rawValue: UInt64(status[key] ?? "", radix: 16) ?? .max).intersection(.all)
    }

    /// IDs as they are inside: /proc shows them as the reader's namespace has them.
    private func payload(_ users: UserNamespace) -> PayloadUser {
        func inside(_ id: UInt32, _ maps: [RuntimeSpec.IDMapping]) -> UInt32 {
            for map in maps where id >= map.hostID && id - map.hostID < map.size { return map.containerID + (id - map.hostID) }
            return 65534
        }
        var (uid, gid) = (numbers("Uid").dropFirst().first ?? 0, numbers("Gid").dropFirst().first ?? 0)
        if case .own(let uids, let gids, _) = users { (uid, gid) = (inside(uid, uids), inside(gid, gids)) }
        let groups = numbers("Groups").filter { $0 != numbers("Gid").first }
        return PayloadUser(uid: uid, gid: gid, additionalGids: groups, umask: UInt32(status["Umask"] ?? "", radix: 8) ?? 0)
    }

    private static func link(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 256)
        let length = buffer.withUnsafeMutableBytes { bytes in bytes.baseAddress.map { readlink(path, $0, 256) } ?? -1 }
        return length > 0 ? String(decoding: buffer.prefix(length), as: UTF8.self) : nil
    }

    /// A namespace is the host's when it is that of process 1, or where that may not be seen, the reader's own.
    private mutating func readNamespaces() -> Namespaces {
        func scope(_ kind: String) -> NamespaceScope? {
            guard let own = Self.link("/proc/\(pid)/ns/\(kind)"), let host = Self.link("/proc/1/ns/\(kind)") ?? Self.link("/proc/self/ns/\(kind)")
            else { return nil }
            return own == host ? .host : .own
        }
        let all = ["pid", "mnt", "ipc", "uts", "cgroup", "time"].map(scope)
        if all.contains(nil) { unknown[.namespaces] = "its namespaces may not be looked at" }
        return Namespaces(
            pid: all[0] ?? .host, mount: all[1] ?? .host, ipc: all[2] ?? .host, uts: all[3] ?? .host, cgroup: all[4] ?? .host, time: all[5] ?? .host)
    }

    private mutating func readUsers() -> UserNamespace {
        func maps(_ file: String) -> [RuntimeSpec.IDMapping] {
            (text(file) ?? "").split(separator: "\n").compactMap { line in
                let fields = line.split(separator: " ").compactMap { UInt32($0) }
                return fields.count == 3 ? RuntimeSpec.IDMapping(containerID: fields[0], hostID: fields[1], size: fields[2]) : nil
            }
        }
        let uids = maps("uid_map")
        if uids.isEmpty { unknown[.userNamespace] = "its user namespace has no map that can be read" }
        if uids.count == 1, uids[0].containerID == 0, uids[0].hostID == 0, uids[0].size == .max { return .host }
        return .own(uids: uids, gids: maps("gid_map"), sharesRange: false)
    }

    private mutating func network() -> NetworkReach {
        guard let own = Self.link("/proc/\(pid)/ns/net"), let host = Self.link("/proc/1/ns/net") ?? Self.link("/proc/self/ns/net") else {
            unknown[.network] = "its network namespace may not be looked at"
            return .host
        }
        if own == host { return .host }
        let interfaces = (text("net/dev") ?? "").split(separator: "\n").dropFirst(2).map { $0.prefix { $0 != ":" }.filter { $0 != " " } }
        return interfaces == ["lo"] ? .none : .outbound(ports: [], closesHost: false)
    }
}

extension ProcessSource {
    private struct MountLine {
        let device: String
        let root: String
        let path: String
        let options: [String]
        let type: String
    }

    struct MountFindings {
        var list: [Mount] = []
        var masked: [String] = []
        var readOnly: [String] = []
        var rootReadOnly = false
    }

    /// Lines of mountinfo: ID, parent, device, root, mount point, options, further fields, “-”, type, source, options of the file system.
    private static func lines(_ text: String) -> [MountLine] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ").map { unescaped($0) }
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1 else { return nil }
            let shared = fields[6..<dash].contains { $0.hasPrefix("shared:") } ? ["shared"] : []
            return MountLine(
                device: fields[2], root: fields[3], path: fields[4], options: fields[5].split(separator: ",").map(String.init) + shared,
                type: fields[dash + 1])
        }
    }

    /// Blanks and backslashes stand as octal numbers.
    private static func unescaped(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var result: [UInt8] = []
        var bytes = Array(field.utf8)[...]
        while let byte = bytes.popFirst() {
            if byte == UInt8(ascii: "\\"), bytes.count >= 3, let code = UInt8(String(decoding: bytes.prefix(3), as: UTF8.self), radix: 8) {
                result.append(code)
                bytes = bytes.dropFirst(3)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private mutating func readMounts(isHost: Bool) throws(EngineError) -> MountFindings {
        guard let own = text("mountinfo") else {
            unknown[.mounts] = "its mounts may not be read"
            return MountFindings(list: [Mount(destination: "/", type: "bind", source: "/", options: ["rw"])])
        }
        let lines = Self.lines(own)
        var found = MountFindings()
        // Whoever is not root of the host writes where the files' owners let him.
        let isRoot = numbers("Uid").dropFirst().first == 0
        let root = lines.last { $0.path == "/" }
        found.rootReadOnly = root?.options.contains("ro") ?? false
        if isHost {
            found.list = [Mount(destination: "/", type: "bind", source: "/", options: [isRoot && !found.rootReadOnly ? "rw" : "ro"])]
            found.list += lines.filter { ["/sys", "/sys/fs/cgroup"].contains($0.path) }.map { line in
                Mount(destination: line.path, type: line.type, source: line.type, options: isRoot ? line.options : line.options + ["ro"])
            }
            return found
        }
        let host = Self.lines((try? readFile("/proc/self/mountinfo", limit: 16 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? "")
        for line in lines where line.path != "/" { add(line, host, to: &found) }
        return found
    }

    private static let virtual: Set<String> = [
        "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "nsfs", "overlay", "fuse.lxcfs", "bpf", "tracefs", "debugfs",
        "securityfs", "ramfs", "hugetlbfs",
    ]

    private func add(_ line: MountLine, _ host: [MountLine], to found: inout MountFindings) {
        let isReadOnly = line.options.contains("ro")
        if line.path.hasPrefix("/proc/") || line.path.hasPrefix("/sys/") && line.path != "/sys/fs/cgroup" {
            // A mask is an empty directory in memory or the null device; a read-only path is its own file system once more.
            if line.type == "proc" || line.type == "sysfs" {
                if isReadOnly { found.readOnly.append(line.path) }
            } else if !line.type.hasPrefix("cgroup") {
                found.masked.append(line.path)
            }
            return
        }
        let source = Self.hostPath(line, host)
        if let source, !Self.virtual.contains(line.type) || line.type == "tmpfs" && line.root != "/" || line.type == "devtmpfs" {
            found.list.append(Mount(destination: line.path, type: "bind", source: source, options: line.options))
        } else {
            found.list.append(Mount(destination: line.path, type: line.type, source: line.type, options: line.options))
        }
    }

    /// Where the host has the same directory: the mount of the same device whose root holds it.
    private static func hostPath(_ line: MountLine, _ host: [MountLine]) -> String? {
        let same = host.filter { $0.device == line.device && ($0.root == "/" || line.root == $0.root || line.root.hasPrefix($0.root + "/")) }
        guard let best = same.max(by: { $0.root.count < $1.root.count }) else { return nil }
        let rest = best.root == "/" ? line.root : String(line.root.dropFirst(best.root.count))
        let path = (best.path == "/" ? "" : best.path) + (rest == "/" ? "" : rest)
        return path.isEmpty ? "/" : path
    }
}

extension ProcessSource {
    /// The directories of its control groups, by controller; version 2 has one, under "".
    private func groups() -> [String: String] {
        var result: [String: String] = [:]
        for line in (text("cgroup") ?? "").split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard fields.count == 3, !fields[2].contains("/../") else { continue }
            for controller in fields[1].split(separator: ",").map(String.init) + (fields[1].isEmpty ? [""] : []) {
                let base =
                    controller.isEmpty
                    ? ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] : ["/sys/fs/cgroup/\(controller)", "/sys/fs/cgroup/\(fields[1])"]
                result[controller] = base.map { $0 + fields[2] }.first { access($0 + "/cgroup.procs", F_OK) == 0 }
            }
        }
        return result
    }

    private static func limit(_ path: String) -> Limit? {
        guard let bytes = try? readFile(path, limit: 4096) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
        if text == "max" || text == "-1" { return .unlimited }
        // Version 1 says "no limit" with the largest number of pages.
        return UInt64(text).map { $0 >= 1 << 62 ? .unlimited : .at($0) }
    }

    private mutating func readLimits() -> Limits {
        let groups = groups()
        var limits = Limits()
        // Version 2 wants the least of every group above; what is set on the group itself is what an engine sets.
        func value(_ controller: String, _ old: String, _ new: String) -> Limit {
            groups[controller].flatMap { Self.limit("\($0)/\(old)") } ?? groups[""].flatMap { Self.limit("\($0)/\(new)") } ?? .unlimited
        }
        limits.pids = value("pids", "pids.max", "pids.max")
        limits.memory = value("memory", "memory.limit_in_bytes", "memory.max")
        limits.memoryAndSwap = groups["memory"].flatMap { Self.limit("\($0)/memory.memsw.limit_in_bytes") } ?? .unlimited
        if case .at(let bytes) = limits.memory, let swap = groups[""].flatMap({ Self.limit("\($0)/memory.swap.max") }), case .at(let more) = swap {
            limits.memoryAndSwap = .at(bytes + more)
        }
        if let quota = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.cfs_quota_us") }),
            let period = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.cfs_period_us") })
        {
            limits.cpuQuota = quota
            if case .at(let microseconds) = period { limits.cpuPeriod = microseconds }
        }
        if let shares = groups["cpu"].flatMap({ Self.limit("\($0)/cpu.shares") }), case .at(let number) = shares { limits.cpuShares = number }
        limits.oomScoreAdjustment = Int((text("oom_score_adj") ?? "0").filter { !$0.isWhitespace }) ?? 0
        for line in (text("limits") ?? "").split(separator: "\n") where line.hasPrefix("Max open files") {
            let fields = line.split(separator: " ")
            if fields.count >= 5 {
                limits.processLimits = [.init(type: "RLIMIT_NOFILE", soft: UInt64(fields[3]) ?? .max, hard: UInt64(fields[4]) ?? .max)]
            }
        }
        return limits
    }

    /// Version 1 lists what may be opened; version 2 holds it in a program that cannot be read.
    private mutating func deviceRules() -> [DeviceRule] {
        guard let group = groups()["devices"], let bytes = try? readFile(group + "/devices.list", limit: 1 << 20) else {
            if status["CapEff"] != "0000000000000000" { unknown[.devices] = "the device rules cannot be read" }
            return [DeviceRule(allows: false, kind: .all)]
        }
        let all = String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains { $0.hasPrefix("a ") }
        return [DeviceRule(allows: all, kind: .all)]
    }
}
