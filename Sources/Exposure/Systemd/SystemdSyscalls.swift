import Confinement
import StrictJSON

/// The named groups of system calls of systemd 252 (systemd.exec(5), SystemCallFilter=), as data.
public struct SystemdSyscalls: Sendable {
    private let groups: [String: [String]]
    private let absent: Set<String>
    private let known: Set<String>

    /// The table for an architecture: systemd looks only at calls that the machine has.
    public init(architecture: Architecture) throws(ExposureError) {
        let document: JSONValue
        do {
            document = try JSONParser().parse(PackageResources.systemd_252_syscalls_json)
        } catch {
            throw ExposureError("the built-in systemd-252-syscalls.json cannot be read: \(error)")
        }
        var groups: [String: [String]] = [:]
        for entry in document["groups"]?.object ?? [:] { groups[entry.key] = (entry.value.array ?? []).compactMap(\.string) }
        self.groups = groups
        absent = Set((document["absent"]?[architecture.rawValue]?.array ?? []).compactMap(\.string))
        known = Set(groups.values.joined().filter { !$0.hasPrefix("@") })
        guard !known.isEmpty else { throw ExposureError("the built-in systemd-252-syscalls.json names no group") }
    }

    private static let native = Result { () throws(ExposureError) in try SystemdSyscalls(architecture: .current) }

    /// The table of this machine's architecture, read once.
    public static func current() throws(ExposureError) -> SystemdSyscalls { try native.get() }

    /// The calls of a group, of groups in it too; the name itself for a single call that is known; otherwise nothing.
    public func members(of name: String) -> [String] {
        guard name.hasPrefix("@") else { return known.contains(name) ? [name] : [] }
        return (groups[name] ?? []).flatMap { $0 == name ? [] : members(of: $0) }
    }

    /// The calls of a group that this architecture has.
    public func native(_ group: String) -> [String] { members(of: group).filter { !absent.contains($0) } }
    /// Every call that systemd 252 knows on this architecture.
    public var everything: Set<String> { known.subtracting(absent) }
}
