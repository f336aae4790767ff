import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// Users and groups of an image, from its own /etc/passwd and /etc/group (passwd(5), group(5)), read as hostile files:
/// regular files only, bounded, no line interpreted twice (rule R9, CVE-2024-9676, CVE-2022-4318).
enum UserDatabase {
    private static let sizeLimit = 1 << 20

    /// Resolves "user[:group]", names or numbers, and the groups that `--group-add` named.
    ///
    /// - Source: docker-run(1), `--user`. Numbers are decimal, at most 4294967294, no sign, no space (CVE-2016-3697, CVE-2024-40635).
    static func resolve(
        _ text: String, additionalGroups: [UInt32], groupNames: [String] = [], in root: borrowing RootDirectory
    ) throws -> ResolvedIdentity {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let userText = parts[0]
        let groupText = parts.count > 1 ? parts[1] : nil
        if userText.isEmpty || groupText?.isEmpty == true {
            throw LaunchFailure(.identity, "invalid user \"\(text)\": expected USER[:GROUP]", errno: EINVAL, subject: text)
        }
        let passwd = try lines(of: "/etc/passwd", in: root)
        var identity = ResolvedIdentity(uid: 0, gid: 0, additionalGroups: additionalGroups, home: nil, umask: nil)
        var name: Substring?
        if let entry = passwd.first(where: { $0.count > 5 && $0[0] == userText }) {
            (identity.uid, identity.gid) = (try number(entry[2], "user", text), try number(entry[3], "group", text))
            identity.home = String(entry[5])
            name = entry[0]
        } else if isNumber(userText) {
            identity.uid = try number(userText, "user", text)
            if let entry = passwd.first(where: { $0.count > 5 && $0[2] == userText }) {
                identity.gid = try number(entry[3], "group", text)
                identity.home = String(entry[5])
                name = entry[0]
            }
        } else {
            throw LaunchFailure(
                .identity, "unable to find user \(userText): no matching entries in passwd file", errno: ENOENT, subject: text)
        }
        let groups = try lines(of: "/etc/group", in: root)
        if let groupText {
            identity.gid = try groupID(groupText, groups, text)
        } else if let name {
            for entry in groups where entry.count > 3 && entry[3].split(separator: ",").contains(name) {
                let id = try number(entry[2], "group", text)
                if id != identity.gid, !identity.additionalGroups.contains(id) { identity.additionalGroups.append(id) }
            }
        }
        for name in groupNames {
            let id = try groupID(name[...], groups, name)
            if id != identity.gid, !identity.additionalGroups.contains(id) { identity.additionalGroups.append(id) }
        }
        return identity
    }

    /// The home directory of a user ID, or nil when the image does not know it. A user given by number needs no file, so that one which is a link may
    /// be looked for where the link leads within the root: nothing depends on it but HOME. Nothing is opened there but a file of an image's kind.
    static func home(of uid: UInt32, in root: borrowing RootDirectory) throws -> String? {
        let wanted = String(uid)
        func home(_ lines: [[Substring]]) -> String? { lines.first { $0.count > 5 && $0[2] == wanted }.map { String($0[5]) } }
        do {
            return home(try lines(of: "/etc/passwd", in: root))
        } catch let failure as LaunchFailure where failure.errno == ELOOP {
            guard try linkLeadsToFile("/etc/passwd", in: root) else { return nil }
            return home(try lines(of: "/etc/passwd", in: root, followsLink: true))
        }
    }

    /// Whether a link's end, within the root, is a regular file of no file system of the kernel's own. By a descriptor that opens nothing.
    private static func linkLeadsToFile(_ path: String, in root: borrowing RootDirectory) throws -> Bool {
        do {
            let found = try root.open(path, RootDirectory.pathOnly)
            let raw = found.rawValue
            let magic = try retrying("fstatfs", path) { cl_filesystem_magic(raw) }
            return try found.status().st_mode & S_IFMT == S_IFREG && !kernelOwned.contains(magic)
        } catch {
            // To nowhere, or to itself.
            if error.errno == ELOOP || error.errno == ENOENT || error.errno == ENOTDIR { return false }
            throw LaunchFailure(.identity, doing: "reading \(path) of the image", error)
        }
    }

    /// PROC_SUPER_MAGIC, SYSFS_MAGIC
    private static let kernelOwned = [0x9fa0, 0x6265_6572]

    private static func groupID(_ group: Substring, _ groups: [[Substring]], _ text: String) throws -> UInt32 {
        if let entry = groups.first(where: { $0.count > 2 && $0[0] == group }) { return try number(entry[2], "group", text) }
        if isNumber(group) { return try number(group, "group", text) }
        throw LaunchFailure(
            .identity, "unable to find group \(group): no matching entries in group file", errno: ENOENT, subject: text)
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    }

    private static func number(_ text: Substring, _ what: String, _ whole: String) throws -> UInt32 {
        // 4294967295 is "no change" to setresuid(2).
        guard isNumber(text), let value = UInt32(text), value != UInt32.max else {
            throw LaunchFailure(.identity, "\(what) ID \"\(text)\" is not a number from 0 to 4294967294", errno: EINVAL, subject: whole)
        }
        return value
    }

    private static func lines(of path: String, in root: borrowing RootDirectory, followsLink: Bool = false) throws -> [[Substring]] {
        // O_NONBLOCK: a FIFO would hang the start for ever (CVE-2024-9676).
        let opened = try performing(.identity, "reading \(path) of the image") {
            try root.openIfPresent(path, O_RDONLY | O_NONBLOCK | (followsLink ? 0 : O_NOFOLLOW))
        }
        guard let file = opened else { return [] }
        let status = try file.status()
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= sizeLimit else {
            throw LaunchFailure(.identity, "\(path) of the image is not a regular file of at most 1 MiB", errno: EINVAL, subject: path)
        }
        let bytes = try performing(.identity, "reading \(path) of the image") { try file.readAll(limit: sizeLimit) }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            .map { $0.split(separator: ":", omittingEmptySubsequences: false) }
    }
}
