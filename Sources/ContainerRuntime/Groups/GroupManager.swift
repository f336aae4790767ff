import Glibc
import LaunchPlan
import LinuxKernel

/// Who makes a container's control groups, on this host and for this user.
public enum GroupManager: Sendable {
    /// What the user asks for: Docker's "cgroup driver".
    public enum Preference: String, Sendable { case automatic, cgroupfs, systemd }

    /// Directories in the v1 hierarchies, which are also what a hybrid host limits with.
    case hierarchies(CgroupMounts)
    /// A directory in the v2 hierarchy, below one that is ours to use.
    case unified(base: String)
    /// A scope that systemd makes, in the v2 hierarchy.
    case systemd(SystemdBus, mountPoint: String)
    /// There is none to be had.
    case none(reason: String)

    /// Chooses. systemd wherever it runs, since it takes the whole v2 hierarchy for its own; v1 by its files.
    ///
    /// - Parameters:
    ///   - rootless: whether root of the host is somebody else.
    ///   - user: the invoking user as the host numbers it.
    public static func choose(_ preference: Preference = .automatic, rootless: Bool, user: UInt32) throws(KernelError) -> GroupManager {
        let mounts = try CgroupMounts.detect()
        switch mounts.mode {
        case .none: return .none(reason: "no control group hierarchy is mounted")
        case .v1, .hybrid:
            if rootless { return .none(reason: "control groups v1 cannot be delegated to an ordinary user") }
            if preference == .systemd { return .none(reason: "the systemd cgroup manager needs a host with cgroup v2 alone") }
            return .hierarchies(mounts)
        case .v2: break
        }
        guard let mountPoint = mounts.unified else { return .none(reason: "no control group hierarchy is mounted") }
        let bus = preference == .cgroupfs ? nil : SystemdBus.find(rootless: rootless, user: user)
        if let bus, sharesProcessNumbers { return .systemd(bus, mountPoint: mountPoint) }
        if preference == .systemd { return .none(reason: "no systemd answers here that numbers processes as this namespace does") }
        if !rootless { return .unified(base: mountPoint) }
        guard let base = try delegated(mountPoint) else {
            return .none(reason: "no control group is delegated to this user: log in with a systemd session, or have one delegated")
        }
        return .unified(base: base)
    }

    /// Whether systemd numbers processes as /proc does here: in a process namespace of somebody's its own first process is another one, and
    /// the number that systemd is told would be a stranger's.
    private static var sharesProcessNumbers: Bool {
        do {
            return try group(of: "1").hasSuffix("/init.scope")
        } catch {
            return false  // then the files do it
        }
    }

    /// The highest group above this process that this user may change.
    private static func delegated(_ mountPoint: String) throws(KernelError) -> String? {
        var path = try ownGroup()
        var found: String?
        while !path.isEmpty, path != "/" {
            let directory = mountPoint + path
            let usable = ["", "/cgroup.procs", "/cgroup.subtree_control"].allSatisfy { access(directory + $0, W_OK) == 0 }
            if !usable { break }
            found = directory
            path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        }
        return found
    }

    private static func ownGroup() throws(KernelError) -> String { try group(of: "self") }

    /// The path of a process's group in the v2 hierarchy, "/" at its root (proc_pid_cgroup(5)).
    static func group(of process: String) throws(KernelError) -> String {
        let text = String(decoding: try readFile("/proc/\(process)/cgroup", limit: 65536), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("0::") { return String(line.dropFirst(3)) }
        return ""
    }

    /// Whether processes can be counted by a group; where not, RLIMIT_NPROC does it.
    public var countsProcesses: Bool {
        switch self {
        case .hierarchies: true
        case .unified(let base): contains("pids", base)
        case .systemd(let bus, _): !bus.isUsers || contains("pids", nil)
        case .none: false
        }
    }

    private func contains(_ controller: String, _ base: String?) -> Bool {
        do {
            let directory: String
            if let base {
                directory = base
            } else if case .systemd(_, let mountPoint) = self, let service = try Self.usersService() {
                directory = mountPoint + service
            } else {
                return false
            }
            return try CgroupV2.controllers(of: directory).contains(controller)
        } catch {
            return false  // the smaller claim: then RLIMIT_NPROC is set as well
        }
    }

    /// The group of the user's systemd, which the scopes of a user lie in, as the user's own group tells it: "…/user@1000.service".
    private static func usersService() throws(KernelError) -> String? {
        let components = try ownGroup().split(separator: "/")
        if let index = components.firstIndex(where: { $0.hasPrefix("user@") && $0.hasSuffix(".service") }) {
            return "/" + components[...index].joined(separator: "/")
        }
        // A login from elsewhere is in a session of its own beside it.
        guard let slice = components.first(where: { $0.hasPrefix("user-") && $0.hasSuffix(".slice") }) else { return nil }
        return "/user.slice/\(slice)/user@\(slice.dropFirst(5).dropLast(6)).service"
    }

    /// Directories that a container's groups would have, whoever made them: for finding what a dead monitor has left.
    public static func candidates(cgroupsPath: String, rootless: Bool) throws(KernelError) -> [String] {
        let mounts = try CgroupMounts.detect()
        if mounts.mode != .v2 { return rootless ? [] : mounts.controllers.values.map { $0 + cgroupsPath } }
        guard let mountPoint = mounts.unified else { return [] }
        var found: [String] = []
        if !rootless {
            found.append(mountPoint + cgroupsPath)
        } else if let base = try delegated(mountPoint) {
            found.append(base + cgroupsPath)
        }
        do {
            let scope = try SystemdScope(cgroupsPath: cgroupsPath, user: rootless)
            let above = rootless ? try usersService() : ""
            if let above { found.append(mountPoint + above + scope.relativePath) }
        } catch let error as KernelError {
            throw error
        } catch {
            return found  // no name of a unit: then no scope has it
        }
        return found
    }
}
