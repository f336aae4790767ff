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
/// What it does not tell is in `ComparedField`'s table, and in `unknown` what this reader may not see: another's process, or what a filter holds.
struct ProcessSource {
    let pid: Int32
    var status: [String: String] = [:]
    var unknown: [Aspect: String] = [:]

    static func subject(_ pid: Int32, name: String) throws(EngineError) -> Subject {
        var source = ProcessSource(pid: pid)
        return try source.read(name)
    }

    /// The process, and what a comparison asks beside the model.
    static func view(_ pid: Int32, name: String) throws(EngineError) -> (subject: Subject, view: KernelView) {
        var source = ProcessSource(pid: pid)
        let subject = try source.read(name)
        return (subject, KernelView(processLimits: source.processLimits()) { Self.hasPath(pid, $0) })
    }

    private init(pid: Int32) { self.pid = pid }

    func text(_ file: String) -> String? {
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
        let filters = readFilters()
        // What it holds is in the filters themselves; where they cannot be read it is unknown.
        if status["Seccomp"] != "0" { syscalls = .filtered(SyscallFilter(defaultAction: .allow)) }
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
            devices: nodes(isHost: namespaces.mount == .host, rules), deviceRules: rules, limits: limits, sysctls: [:], network: network(),
            networkNamespaceInside: false,
            logs: .rotated(maxBytes: 1 << 30, maxFiles: 1))
        var subject = Subject(name: name, source: .process, confinement: confinement, engineUser: .root, provenance: .none, unknown: unknown)
        subject.loadedFilters = filters
        return subject
    }

    /// The filters from the kernel; nil when there are none, or when they are unknown.
    private mutating func readFilters() -> LoadedFilters? {
        if status["Seccomp"] == "0" { return nil }
        func because(_ why: String) -> LoadedFilters? {
            unknown[.syscalls] = why
            return nil
        }
        // SECCOMP_MODE_STRICT: read, write, exit and sigreturn.
        if status["Seccomp"] == "1" { return because("it is in the strict mode, which this program does not price") }
        if pid == getpid() { return because("a program cannot read its own filter") }
        do {
            let programs = try LoadedSyscallFilters.of(pid)
            if programs.isEmpty { return because("the kernel shows no filter, though it says that there is one") }
            var parsed: [FilterProgram] = []
            for program in programs { parsed.append(try FilterProgram(program)) }
            return LoadedFilters(parsed)
        } catch let error as KernelError {
            switch error.errno {
            case EACCES: return because("a filter is loaded, and only root of the host can read what it holds")
            case EPERM: return because("a filter is loaded, and this user may not trace the process, or somebody else does")
            case EIO, EINVAL: return because("a filter is loaded, and this kernel does not show what it holds (CONFIG_CHECKPOINT_RESTORE)")
            default: return because("a filter is loaded, and what it holds cannot be read: \(error.reason)")
            }
        } catch {
            return because("a filter is loaded, and what it holds cannot be read: \(error)")
        }
    }

    func numbers(_ key: String) -> [UInt32] { (status[key] ?? "").split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) } }
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
        var groups = numbers("Groups")
        if case .own(_, let gids, _) = users { groups = groups.map { inside($0, gids) } }
        groups.removeAll { $0 == gid }
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
        var all = ["pid", "mnt", "ipc", "uts", "cgroup", "time"].map(scope)
        // In a namespace of its own, and yet with the host's /proc: it sees whom the host sees.
        if let seen = Self.link("/proc/\(pid)/root/proc/1/ns/pid"), seen == Self.link("/proc/1/ns/pid") { all[0] = .host }
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
