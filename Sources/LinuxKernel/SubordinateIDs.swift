import Glibc

/// A range of IDs that the administrator has granted to a user (subuid(5), subgid(5)).
public struct SubordinateRange: Sendable, Equatable, Hashable {
    public let start: UInt32
    public let count: UInt32

    public init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }
}

/// The subordinate IDs of one user, in the order of the files.
public struct SubordinateIDs: Sendable, Equatable {
    public let users: [SubordinateRange]
    public let groups: [SubordinateRange]

    public init(users: [SubordinateRange], groups: [SubordinateRange]) {
        self.users = users
        self.groups = groups
    }

    /// The ranges of the invoking user, by user name or numeric ID.
    ///
    /// - Parameter userName: the name, or nil to look it up in /etc/passwd. Pass it where accounts come from elsewhere
    ///   (LDAP): this room asks no name service, so that it also works in a fully static program.
    /// - Throws: `IDMapError.noSubordinateRange` or `.malformedSubordinateLine`.
    public static func ofInvokingUser(userName: String? = nil) throws(IDMapError) -> SubordinateIDs {
        let id = getuid()
        let name: String?
        if let userName { name = userName } else { name = try accountName(of: id) }
        return SubordinateIDs(
            users: try read(.user, name: name, id: id), groups: try read(.group, name: name, id: id))
    }

    /// The maps of the owner namespace M: 0 is the user, 1… are the subordinate IDs.
    public func ownerMaps(user: UInt32, group: UInt32) -> IDMaps {
        IDMaps(users: Self.lines(user, users), groups: Self.lines(group, groups))
    }

    private static func lines(_ own: UInt32, _ ranges: [SubordinateRange]) -> [IDMapping] {
        var lines = [IDMapping(inside: 0, outside: own, count: 1)]
        var next: UInt32 = 1
        for range in ranges {
            lines.append(IDMapping(inside: next, outside: range.start, count: range.count))
            next += range.count
        }
        return lines
    }

    private static func read(_ kind: IDKind, name: String?, id: uid_t) throws(IDMapError) -> [SubordinateRange] {
        let file = kind.subordinateFile
        let content: [UInt8]
        do {
            content = try readFile(file, limit: 8 << 20)
        } catch {
            guard error.errno == ENOENT else { throw .kernel(error) }
            throw .noSubordinateRange(user: name ?? String(id), file: file)
        }
        let ranges = try parse(content, name: name, id: id, file: file)
        if ranges.isEmpty { throw .noSubordinateRange(user: name ?? String(id), file: file) }
        return ranges
    }

    /// The ranges that a subuid(5) file grants to `name` or `id`.
    ///
    /// Lines of other users are not judged: their mistakes are not this user's. A range may not hold ID 0 or the user's
    /// own, which would make container root a user of the host.
    static func parse(
        _ content: [UInt8], name: String?, id: uid_t, file: String
    ) throws(IDMapError) -> [SubordinateRange] {
        var ranges: [SubordinateRange] = []
        var total: UInt64 = 1
        for (index, line) in content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let text = String(decoding: line, as: UTF8.self)
            let fields = text.split(separator: ":", omittingEmptySubsequences: false)
            guard let owner = fields.first, owner == String(id) || (name.map { owner == $0 } ?? false) else { continue }
            guard fields.count == 3, let start = decimal(fields[1]), let count = decimal(fields[2]), count > 0,
                UInt64(start) + UInt64(count) <= UInt64(UInt32.max), start > 0,
                !(start...(start + count - 1)).contains(id)
            else { throw .malformedSubordinateLine(file: file, line: index + 1, text: text) }
            total += UInt64(count)
            if total > UInt64(UInt32.max) { throw .malformedSubordinateLine(file: file, line: index + 1, text: text) }
            ranges.append(SubordinateRange(start: start, count: count))
        }
        return ranges
    }

    /// Digits only: `UInt32("+5")` is 5 in Swift, and a sign or a space is no number here (rule R9).
    private static func decimal(_ text: Substring) -> UInt32? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return UInt32(text)
    }

    /// The name that /etc/passwd gives to a user ID, or nil.
    static func accountName(of id: uid_t) throws(IDMapError) -> String? {
        let content: [UInt8]
        do {
            content = try readFile("/etc/passwd", limit: 8 << 20)
        } catch {
            guard error.errno == ENOENT else { throw .kernel(error) }
            return nil
        }
        for line in content.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard fields.count >= 3, !fields[0].isEmpty else { continue }
            if decimal(Substring(String(decoding: fields[2], as: UTF8.self))) == id {
                return String(decoding: fields[0], as: UTF8.self)
            }
        }
        return nil
    }
}
