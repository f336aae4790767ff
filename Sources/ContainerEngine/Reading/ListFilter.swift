import TextSearch

/// The `--filter` values of `ps`: those of one key are alternatives, different keys must all hold, labels must all hold.
public struct ListFilter: Sendable {
    private var values: [String: [String]] = [:]
    private static let keys: Set<String> = [
        "id", "name", "label", "status", "exited", "ancestor", "volume", "network", "before", "since", "level", "publish", "expose",
    ]
    private static let states: Set<String> = ["created", "running", "paused", "exited", "removing", "restarting", "dead"]

    /// - Throws: `EngineError` for an unknown key or a value that it cannot have.
    public init(_ filters: [String]) throws(EngineError) {
        for filter in filters {
            let parts = filter.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw EngineError("invalid argument \"\(filter)\" for \"-f, --filter\" flag: bad format of filter (expected name=value)")
            }
            guard Self.keys.contains(parts[0]) else { throw EngineError("invalid filter '\(parts[0])'", code: .failure) }
            if parts[0] == "status", !Self.states.contains(parts[1]) {
                throw EngineError("invalid filter 'status=\(parts[1])'", code: .failure)
            }
            if parts[0] == "exited", Int32(parts[1]) == nil { throw EngineError("invalid filter 'exited=\(parts[1])'", code: .failure) }
            values[parts[0], default: []].append(parts[1])
        }
    }

    /// Whether ended containers are listed without `-a` because the filter speaks of them.
    public var includesStopped: Bool { values["status"] != nil || values["exited"] != nil }

    /// `before` and `since`, by the creation times of the containers they name.
    public func bounds(_ created: (String) throws -> Int64) rethrows -> (before: Int64?, since: Int64?) {
        (try values["before"]?.map(created).min(), try values["since"]?.map(created).max())
    }

    /// Whether a container passes.
    public func accepts(_ container: Engine.Container, _ listing: ContainerListing) -> Bool {
        values.allSatisfy { key, wanted in
            switch key {
            case "id": wanted.contains { listing.id.hasPrefix($0) }
            case "name": wanted.contains { listing.name.contains($0.hasPrefix("/") ? String($0.dropFirst()) : $0) }
            case "label": wanted.allSatisfy { Self.matches(label: $0, listing.labels) }
            case "status": wanted.contains(listing.state)
            case "exited": wanted.contains { container.status.exitCode.map(String.init) == $0 }
            case "ancestor": wanted.contains { Self.isAncestor($0, container.record) }
            case "volume": wanted.contains { volume in listing.mounts.contains(volume) }
            case "network": wanted.contains(listing.network)
            case "level": wanted.contains(listing.level)
            case "publish", "expose": wanted.contains { listing.ports.contains($0) }
            default: true
            }
        }
    }

    private static func matches(label: String, _ labels: [String: String]) -> Bool {
        let parts = label.split(separator: "=", maxSplits: 1).map(String.init)
        guard let value = labels[parts[0]] else { return false }
        return parts.count == 1 || value == parts[1]
    }

    private static func isAncestor(_ reference: String, _ record: ContainerRecord) -> Bool {
        let bare = record.imageID.split(separator: ":").last.map(String.init) ?? record.imageID
        let withTag = { (name: String) in name.split(separator: "/").last?.contains(":") == true ? name : name + ":latest" }
        return withTag(reference) == withTag(record.image) || record.imageID == reference
            || (reference.count >= 4 && bare.hasPrefix(reference))
    }
}
