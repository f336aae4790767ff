import LaunchPlan
import Rendering

/// One line of `coffer ps`, field by field as Docker names them.
public struct ContainerListing: Sendable, Equatable {
    public let id: String
    public let image: String
    /// The whole command, not quoted.
    public let command: String
    public let created: Timestamp
    public let status: String
    /// created, running, paused, exited, removing, dead.
    public let state: String
    public let ports: String
    public let name: String
    public let labels: [String: String]
    public let mounts: [String]
    public let localVolumes: Int
    public let network: String
    public let level: String
    /// Bytes in the writable layer, in words; nil unless it was asked for.
    public var size: String?
    /// The figure of its exposure, "3.2"; "" until it was worked out.
    public var exposure = ""

    /// - Parameter now: the moment that durations are counted to.
    public init(_ container: Engine.Container, now: Timestamp = .now) {
        let record = container.record
        // Of a damaged container the row's columns are shown; what else is wrong with it has been said (`containers`).
        let details = container.details ?? ContainerDetails(request: RunRequest(image: record.image))
        id = record.id
        image = record.image
        command = details.arguments.joined(separator: " ")
        created = Timestamp(nanoseconds: record.created)
        status = StatusText.of(container.status, now: now)
        state = container.status.word
        ports = container.status.isRunning ? PortText.list(details.ports, exposed: details.exposedPorts) : ""
        name = record.name
        labels = details.labels
        mounts = details.mounts.compactMap { mount in
            switch mount.source {
            case .bind(let path): path
            case .volume(let name): name
            case .tmpfs: nil
            }
        }
        localVolumes = details.mounts.filter { $0.type == "volume" }.count
        network = details.network.rawValue
        level = details.request.security.level
    }
}

/// The STATUS column.
public enum StatusText {
    /// "Up 2 seconds", "Up 5 seconds (Paused)", "Exited (137) 3 minutes ago", "Created".
    public static func of(_ status: ContainerStatus, now: Timestamp) -> String {
        switch status {
        case .creating, .created: return "Created"
        case .removing: return "Removal In Progress"
        case .running(let state, let paused):
            let duration = HumanUnits.duration(seconds: now.seconds(since: Timestamp(nanoseconds: state.startedAt)))
            return "Up \(duration)" + (paused ? " (Paused)" : "")
        case .exited(let state):
            return "Exited (\(state.exitCode)) " + HumanUnits.since(Timestamp(nanoseconds: state.finishedAt), now: now)
        case .lost: return "Exited (monitor lost, code unknown)"
        case .damaged: return "Dead"
        }
    }
}

/// The PORTS column.
public enum PortText {
    /// "127.0.0.1:8080->80/tcp, 443/tcp".
    public static func list(_ ports: [PortMapping], exposed: [String]) -> String {
        let published = ports.map { port in
            let address = port.boundAddress.contains(":") ? "[\(port.boundAddress)]" : port.boundAddress
            return "\(address):\(port.hostPort ?? 0)->\(port.containerPort)/\(port.transport.rawValue)"
        }
        let taken = Set(ports.map { "\($0.containerPort)/\($0.transport.rawValue)" })
        return (published + exposed.filter { !taken.contains($0) }).joined(separator: ", ")
    }
}
