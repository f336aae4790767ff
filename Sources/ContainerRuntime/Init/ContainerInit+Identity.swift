import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension ContainerInit {
    /// Looks the user up in the image's own files while the root's resolver is at hand (rule R9, rule R4).
    mutating func resolveIdentity() throws {
        for step in plan.steps {
            guard case .identity(let wanted) = step else { continue }
            switch wanted {
            case .numeric(let uid, let gid, let groups, let umask):
                identity = ResolvedIdentity(uid: uid, gid: gid, additionalGroups: groups, home: nil, umask: umask)
                identity.home = try UserDatabase.home(of: uid, in: root)
            case .named(let text, let groups, let names, let umask):
                identity = try UserDatabase.resolve(text, additionalGroups: groups, groupNames: names, in: root)
                identity.umask = umask
            }
        }
        for id in [identity.uid] where !isMapped(id, group: false) {
            throw LaunchFailure(.identity, "user \(id) is not mapped in the container's user namespace", errno: EINVAL)
        }
        for id in [identity.gid] + identity.additionalGroups where !isMapped(id, group: true) {
            throw LaunchFailure(.identity, "group \(id) is not mapped in the container's user namespace", errno: EINVAL)
        }
    }

    private func isMapped(_ id: UInt32, group: Bool) -> Bool {
        for step in plan.steps {
            if case .identityMaps(let uid, let gid) = step { return (group ? gid : uid).contains { $0.contains(id) } }
        }
        return true
    }

    mutating func enterDirectory(_ path: String) throws {
        do {
            try enter(path)
        } catch let error as KernelError {
            guard error.errno == EACCES || error.errno == EPERM else {
                throw LaunchFailure(.workingDirectory, doing: "entering the working directory", error)
            }
            pendingDirectory = path  // the payload's own user may be allowed
        }
    }

    /// By the resolver, which takes no magic link: /proc/self/fd/7 is no working directory (CVE-2024-21626).
    private func enter(_ path: String) throws {
        let top = RootDirectory(try FileDescriptor.open("/", RootDirectory.pathOnly | O_DIRECTORY))
        let directory = try top.open(path, RootDirectory.pathOnly | O_DIRECTORY)
        let raw = directory.rawValue
        try retrying("fchdir", path) { fchdir(raw) }
        try checkDirectory(path)
    }

    /// A working directory that leads outside shows as "(unreachable)" in the system call itself (CVE-2024-21626).
    private func checkDirectory(_ path: String) throws {
        var buffer = [CChar](repeating: 0, count: 4097)
        let length = cl_getcwd(&buffer, 4096)
        if length <= 0 || buffer[0] != CChar(bitPattern: UInt8(ascii: "/")) {
            throw LaunchFailure(.workingDirectory, "the working directory \(path) is outside of the container", subject: path)
        }
    }

    mutating func assumeIdentity(_ step: IdentityStep) throws {
        // What `verify` is to find is then what the caller has.
        if prepared.keepsGroups { identity.additionalGroups = try Credentials.additionalGroups() }
        let wanted = identity
        let terminal = terminal.rawValue
        if terminal >= 0 {
            // The payload's user owns its terminal; the group is as devpts was mounted with (gid=5, tty's), where that has one.
            try performing(.console, "giving the terminal to the user") {
                try retrying("fchown", "terminal") { fchown(terminal, wanted.uid, UInt32.max) }
            }
        }
        if terminal < 0 { try ownStreams() }
        try performing(.identity, "becoming user \(wanted.uid)") {
            try Credentials.keepCapabilities(true)
            let groups = prepared.keepsGroups ? nil : wanted.additionalGroups
            try Credentials.assume(user: wanted.uid, group: wanted.gid, additionalGroups: groups)
            try Credentials.setDumpable(false)
            if let mask = wanted.umask { cl_umask(mask) } else { cl_umask(0o022) }
        }
        if let path = pendingDirectory {
            try performing(.workingDirectory, "entering the working directory") { try enter(path) }
        }
    }

    /// The payload's user can reopen its streams (/dev/stdout) only when they are its own. Those of another user namespace, of a read-only
    /// file system and the null device stay as they are.
    private func ownStreams() throws {
        for stream in Int32(0)...2 {
            var status = stat()
            if fstat(stream, &status) != 0 { continue }
            let kind = status.st_mode & S_IFMT
            if kind != S_IFIFO && kind != S_IFSOCK && !(kind == S_IFCHR && isatty(stream) == 1) { continue }
            // A terminal keeps its group, which is tty's.
            let group = kind == S_IFCHR ? status.st_gid : identity.gid
            if status.st_uid == identity.uid, status.st_gid == group { continue }
            if fchown(stream, identity.uid, group == status.st_gid ? UInt32.max : group) != 0 && ![EPERM, EINVAL, EROFS, EACCES].contains(errno) {
                throw LaunchFailure(.identity, doing: "giving stream \(stream) to the user", KernelError.last("fchown"))
            }
        }
    }

    mutating func setCapabilities(_ sets: CapabilityStep, _ index: Int) throws {
        let available = ThreadCapabilities.bounding().mask
        let lacking = (sets.bounding | sets.permitted) & ~available
        if lacking != 0 {
            // runtime-spec, "capabilities": one that cannot be granted is a warning, not a failure.
            results.append(.init(step: index, result: .partial("not available here: \(hexadecimal(lacking))")))
        }
        let permitted = sets.permitted & available
        try performing(.capabilities, "setting capabilities") {
            // Effective was cleared by the change of user; CAP_SETPCAP is needed once more to drop the bounding set.
            let all = CapabilitySet(mask: available)
            try ThreadCapabilities.set(effective: all, permitted: all, inheritable: .empty, ambient: .empty)
            try ThreadCapabilities.limitBounding(to: CapabilitySet(mask: sets.bounding))
            try ThreadCapabilities.set(
                effective: CapabilitySet(mask: sets.effective & permitted), permitted: CapabilitySet(mask: permitted),
                inheritable: CapabilitySet(mask: sets.inheritable & available),
                ambient: CapabilitySet(mask: sets.ambient & permitted & sets.inheritable))
            try Credentials.keepCapabilities(false)
        }
    }

    /// Reads the kernel's own word back from the private procfs and compares (rule R9): a mismatch stops the start.
    func verify() throws {
        let bytes = try performing(.verification, "reading back /proc/PID/status") {
            try status.readAll(limit: 65536)
        }
        let shown = ProcessStatus(String(decoding: bytes, as: UTF8.self))
        let available = ThreadCapabilities.bounding().mask
        for step in plan.steps {
            switch step {
            case .noNewPrivileges: try expect("NoNewPrivs", shown["NoNewPrivs"] == "1", shown["NoNewPrivs"])
            case .capabilities(let sets):
                try expect("CapBnd", shown.mask("CapBnd").map { $0 & ~sets.bounding == 0 }, shown["CapBnd"])
                try expect("CapPrm", shown.mask("CapPrm").map { $0 & ~sets.permitted == 0 }, shown["CapPrm"])
                try expect("CapEff", shown.mask("CapEff").map { $0 & ~sets.effective == 0 }, shown["CapEff"])
                try expect("CapInh", shown.mask("CapInh").map { $0 & ~sets.inheritable == 0 }, shown["CapInh"])
                try expect("CapAmb", shown.mask("CapAmb").map { $0 & ~sets.ambient == 0 }, shown["CapAmb"])
                try expect("CapBnd", available & ~sets.bounding == 0, shown["CapBnd"])
            case .identity:
                let wanted = [identity.uid, identity.uid, identity.uid, identity.uid].map(String.init).joined(separator: "\t")
                try expect("Uid", shown["Uid"] == wanted, shown["Uid"])
                let group = [identity.gid, identity.gid, identity.gid, identity.gid].map(String.init).joined(separator: "\t")
                try expect("Gid", shown["Gid"] == group, shown["Gid"])
                // Where setgroups(2) is given up they are the caller's, which a login has put its own group among; others have no number here.
                let known = identity.additionalGroups + [identity.gid, Credentials.overflowGroup]
                try expect("Groups", shown.groups.map { $0.isSubset(of: known) }, shown["Groups"])
            default: break
            }
        }
    }

    private func expect(_ name: String, _ holds: Bool?, _ found: String?) throws {
        if holds == true { return }
        throw LaunchFailure(.verification, "the kernel shows \(name) \(found ?? "nothing"), which is not what was set: not starting")
    }
}

/// "Name:\tvalue" lines of proc_pid_status(5).
struct ProcessStatus {
    private var values: [Substring: Substring] = [:]

    init(_ text: String) {
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            values[line[..<colon]] = line[line.index(after: colon)...].drop { $0 == "\t" || $0 == " " }
        }
    }

    subscript(name: String) -> String? { values[name[...]].map(String.init) }
    func mask(_ name: String) -> UInt64? { values[name[...]].flatMap { UInt64($0, radix: 16) } }
    /// The supplementary groups.
    var groups: Set<UInt32>? { values["Groups"].map { Set($0.split(separator: " ").compactMap { UInt32($0) }) } }
}
