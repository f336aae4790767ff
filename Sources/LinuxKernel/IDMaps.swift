import CLinux
import Glibc

/// One line of a user namespace's ID map (user_namespaces(7)).
public struct IDMapping: Sendable, Equatable, Hashable {
    /// The first ID inside the namespace.
    public let inside: UInt32
    /// The first ID outside, as the parent namespace counts.
    public let outside: UInt32
    /// How many IDs follow one another.
    public let count: UInt32

    public init(inside: UInt32, outside: UInt32, count: UInt32) {
        self.inside = inside
        self.outside = outside
        self.count = count
    }

    /// The ID outside that `id` inside stands for, or nil when this line does not map it.
    public func outside(of id: UInt32) -> UInt32? {
        guard id >= inside, id - inside < count else { return nil }
        return outside + (id - inside)
    }

    /// The ID inside that `id` outside appears as, or nil when this line does not map it.
    public func inside(of id: UInt32) -> UInt32? {
        guard id >= outside, id - outside < count else { return nil }
        return inside + (id - outside)
    }
}

/// Which of the two maps of a user namespace.
public enum IDKind: String, Sendable, CaseIterable {
    case user, group

    /// The file below /proc/PID that holds the map.
    var mapFile: String { self == .user ? "uid_map" : "gid_map" }
    /// The set-user-ID program that writes the map for an unprivileged user.
    var program: String { self == .user ? "newuidmap" : "newgidmap" }
    /// Where the administrator grants ranges (subuid(5)).
    var subordinateFile: String { self == .user ? "/etc/subuid" : "/etc/subgid" }
}

/// The user and group ID maps of a user namespace.
public struct IDMaps: Sendable, Equatable, Hashable {
    public let users: [IDMapping]
    public let groups: [IDMapping]

    public init(users: [IDMapping], groups: [IDMapping]) {
        self.users = users
        self.groups = groups
    }

    /// The same map for users and groups.
    public init(both mappings: [IDMapping]) { self.init(users: mappings, groups: mappings) }

    /// Whether the calling process is in the initial user namespace, or one that is like it: every ID is mapped to itself.
    public static func isInitialNamespace() throws(KernelError) -> Bool {
        let map = String(decoding: try readFile("/proc/self/uid_map", limit: 4096), as: UTF8.self)
        return map.split(whereSeparator: { $0 == " " || $0 == "\n" }) == ["0", "0", "4294967295"]
    }

    /// 0…count-1 mapped to themselves.
    public static func identity(count: UInt32 = 65536) -> IDMaps {
        IDMaps(both: [IDMapping(inside: 0, outside: 0, count: count)])
    }

    public subscript(kind: IDKind) -> [IDMapping] { kind == .user ? users : groups }

    /// The number of IDs that are mapped without a gap from 0 on, the smaller of users and groups.
    public var contiguousCount: UInt32 { min(Self.contiguous(users), Self.contiguous(groups)) }

    private static func contiguous(_ mappings: [IDMapping]) -> UInt32 {
        var next: UInt32 = 0
        for mapping in mappings.sorted(by: { $0.inside < $1.inside }) {
            guard mapping.inside == next else { break }
            next += mapping.count
        }
        return next
    }

    /// Writes both maps of the user namespace that process `pid` has just made.
    ///
    /// Root writes /proc/PID/uid_map and gid_map itself; a user asks newuidmap(1) and newgidmap(1), which check
    /// /etc/subuid and /etc/subgid. `pid` must be a child of the caller that it has not waited for, so that the number
    /// cannot have become another process's.
    ///
    /// - Throws: `IDMapError`.
    public func write(to pid: pid_t) throws(IDMapError) {
        for kind in IDKind.allCases { try Self.validate(self[kind], kind) }
        // In a namespace of the user's own the helpers' privileges mean nothing, and are not needed.
        let setIDs: UInt64 = 0xc0  // CAP_SETGID, CAP_SETUID
        let isEntitled = geteuid() == 0 || cl_effective_capabilities() & setIDs == setIDs
        if !isEntitled, isOwnIDAlone { return try writeOwnID(pid) }
        for kind in IDKind.allCases {
            if isEntitled {
                try Self.writeDirectly(self[kind], kind, pid)
            } else {
                try Self.writeByProgram(self[kind], kind, pid)
            }
        }
    }

    /// A user namespace with these maps in which nobody lives, for ID-mapped mounts.
    public func makeNamespace() throws(IDMapError) -> FileDescriptor {
        do {
            let (readEnd, writeEnd) = try makePipe()
            let waiting = FileDescriptor(owning: readEnd)
            let holding = FileDescriptor(owning: writeEnd)
            switch try Processes.fork(into: [.user]) {
            case .child:
                close(writeEnd)
                var byte: UInt8 = 0
                while read(readEnd, &byte, 1) < 0 && errno == EINTR {}
                _exit(0)
            case .parent(let child):
                try waiting.close()
                let result: Result<Int32, IDMapError>
                do throws(IDMapError) { result = .success(try namespace(of: child.pid)) } catch { result = .failure(error) }
                try holding.close()
                try Processes.wait(for: child.pid)
                return FileDescriptor(owning: try result.get())
            }
        } catch let error as KernelError {
            throw .kernel(error)
        } catch let error as IDMapError {
            throw error
        } catch {
            throw .invalid("\(error)")
        }
    }

    private func namespace(of pid: pid_t) throws(IDMapError) -> Int32 {
        try write(to: pid)
        do {
            return try FileDescriptor.open("/proc/\(pid)/ns/user", O_RDONLY).release()
        } catch {
            throw .kernel(error)
        }
    }

    /// One ID of the caller's own, which needs no privilege and no helper (user_namespaces(7)).
    private var isOwnIDAlone: Bool {
        users.count == 1 && groups.count == 1 && users[0].count == 1 && groups[0].count == 1 && users[0].outside == geteuid()
            && groups[0].outside == getegid()
    }

    /// The kernel wants setgroups(2) given up for ever in exchange.
    private func writeOwnID(_ pid: pid_t) throws(IDMapError) {
        do {
            let setgroups = try FileDescriptor.open("/proc/\(pid)/setgroups", O_WRONLY)
            try setgroups.writeAll("deny".utf8)
            try setgroups.close()
        } catch {
            throw .kernel(error)
        }
        for kind in IDKind.allCases { try Self.writeDirectly(self[kind], kind, pid) }
    }

    /// The kernel takes at most 340 lines (Linux 4.15), none of them empty, overlapping or beyond 2^32-2.
    static func validate(_ mappings: [IDMapping], _ kind: IDKind) throws(IDMapError) {
        guard !mappings.isEmpty, mappings.count <= 340 else {
            throw .invalid("a \(kind.rawValue) ID map has 1 to 340 lines, this one has \(mappings.count)")
        }
        for ends in [mappings.map { ($0.inside, $0.count) }, mappings.map { ($0.outside, $0.count) }] {
            var next: UInt64 = 0
            for (start, count) in ends.sorted(by: { $0.0 < $1.0 }) {
                guard count > 0, UInt64(start) + UInt64(count) <= UInt64(UInt32.max) else {
                    throw .invalid("the \(kind.rawValue) ID range \(start):\(count) is empty or leaves the 32-bit ID space")
                }
                guard UInt64(start) >= next else {
                    throw .invalid("the \(kind.rawValue) ID range \(start):\(count) overlaps another one")
                }
                next = UInt64(start) + UInt64(count)
            }
        }
    }

    private static func writeDirectly(_ mappings: [IDMapping], _ kind: IDKind, _ pid: pid_t) throws(IDMapError) {
        let path = "/proc/\(pid)/\(kind.mapFile)"
        // One write(2): the kernel takes the map once and whole.
        let text = mappings.map { "\($0.inside) \($0.outside) \($0.count)\n" }.joined()
        do {
            let file = try FileDescriptor.open(path, O_WRONLY | O_NOFOLLOW)
            try file.writeAll(text.utf8)
            try file.close()
        } catch {
            throw .kernel(KernelError(call: error.call, errno: error.errno, subject: path))
        }
    }

    private static func writeByProgram(_ mappings: [IDMapping], _ kind: IDKind, _ pid: pid_t) throws(IDMapError) {
        // Fixed places, not PATH: this program is set-user-ID root or carries capabilities.
        let places = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"]
        guard let directory = places.first(where: { access("\($0)/\(kind.program)", X_OK) == 0 }) else {
            throw .programMissing(kind.program)
        }
        var arguments = [kind.program, String(pid)]
        for mapping in mappings { arguments += [String(mapping.inside), String(mapping.outside), String(mapping.count)] }
        do {
            let (status, complaint) = try SpawnedProcess.run("\(directory)/\(kind.program)", arguments)
            if status != .exited(0) { throw IDMapError.programFailed(kind.program, status, complaint) }
        } catch let error as KernelError {
            throw .kernel(error)
        } catch let error as IDMapError {
            throw error
        } catch {
            throw .invalid("\(kind.program): \(error)")
        }
    }
}

/// Why an ID map could not be made. Each is one sentence for the user.
public enum IDMapError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The map itself is wrong.
    case invalid(String)
    /// newuidmap or newgidmap is not installed.
    case programMissing(String)
    /// newuidmap or newgidmap refused, with what it wrote to its standard error.
    case programFailed(String, ProcessEnd, String)
    /// /etc/subuid or /etc/subgid has no range for this user.
    case noSubordinateRange(user: String, file: String)
    /// A line of /etc/subuid or /etc/subgid that grants this user something cannot be understood.
    case malformedSubordinateLine(file: String, line: Int, text: String)
    /// user.max_user_namespaces is 0, or its limit is reached.
    case namespacesExhausted
    /// AppArmor forbids user namespaces to unprivileged programs without a profile (Ubuntu 23.10 and later).
    case restrictedByAppArmor
    /// Another reason why the kernel refuses user namespaces.
    case namespacesRefused(KernelError)
    /// Another system call failed.
    case kernel(KernelError)

    public var description: String {
        switch self {
        case .invalid(let reason): return reason
        case .programMissing(let program): return "\(program) not found: install the package uidmap"
        case .programFailed(let program, let status, let complaint):
            return "\(program) failed with status \(status.exitCode)\(complaint.isEmpty ? "" : ": \(complaint)"): check /etc/subuid and /etc/subgid"
        case .noSubordinateRange(let user, let file):
            return "no subordinate ID range for user \(user) in \(file): add one with "
                + "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \(user)`"
        case .malformedSubordinateLine(let file, let line, let text):
            return "\(file) line \(line) is not NAME:START:COUNT: \"\(text)\""
        case .namespacesExhausted:
            return "the kernel allows no further user namespace: raise the sysctl user.max_user_namespaces"
        case .restrictedByAppArmor:
            return "AppArmor restricts unprivileged user namespaces on this system: load Coffer's profile "
                + "(apparmor_parser -r /etc/apparmor.d/coffer) or set the sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        case .namespacesRefused(let error):
            return "the kernel refuses a user namespace (\(error.reason)): check the sysctls kernel.unprivileged_userns_clone "
                + "and user.max_user_namespaces"
        case .kernel(let error): return error.description
        }
    }

    /// What a failed unshare(CLONE_NEWUSER) or clone3 means on this system.
    ///
    /// - Parameter errorNumber: what the call left in errno.
    public static func refusedNamespace(_ errorNumber: Int32) -> IDMapError {
        if errorNumber == ENOSPC || readNumber("/proc/sys/user/max_user_namespaces") == 0 { return .namespacesExhausted }
        if errorNumber == EPERM || errorNumber == EACCES, isRestrictedByAppArmor { return .restrictedByAppArmor }
        return .namespacesRefused(KernelError(call: "unshare", errno: errorNumber, subject: "CLONE_NEWUSER"))
    }

    /// Ubuntu's switch. Where it is 1, unshare succeeds but the new namespace grants no capability: writing the map or
    /// the first mount then fails with EPERM or EACCES.
    public static var isRestrictedByAppArmor: Bool {
        geteuid() != 0 && readNumber("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1
    }

    private static func readNumber(_ path: String) -> Int? {
        do {
            let text = String(decoding: try readFile(path, limit: 64), as: UTF8.self)
            return Int(text.filter { !$0.isWhitespace })
        } catch {
            return nil  // The file is missing where the kernel lacks the feature: then it is not the reason.
        }
    }
}
