/// One `--uidmap`/`--gidmap` CONTAINER:HOST:COUNT (user_namespaces(7)).
public struct IDMapFlag: Sendable, Equatable, Codable {
    public let containerID: UInt32
    public let hostID: UInt32
    public let count: UInt32

    public init(containerID: UInt32, hostID: UInt32, count: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.count = count
    }

    /// - Throws: `EngineError` that names the value.
    public init(parsing text: String) throws(EngineError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (2...3).contains(parts.count), let container = parts[0], let host = parts[1], let count = parts.count == 3 ? parts[2] : 1,
            count > 0, UInt64(container) + UInt64(count) <= UInt64(UInt32.max), UInt64(host) + UInt64(count) <= UInt64(UInt32.max)
        else { throw EngineError("invalid ID mapping: '\(text)'", remedy: "write CONTAINER:HOST:COUNT, for example 0:100000:65536") }
        self.init(containerID: container, hostID: host, count: count)
    }
}
