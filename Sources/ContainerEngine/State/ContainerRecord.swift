import TextSearch

/// One container as the database knows it: what never changes after `create`, and how far it got.
public struct ContainerRecord: Sendable, Equatable {
    /// How far the engine got. Whether a started container still runs is not stored: its lock and `state.json` say it.
    public enum Phase: String, Sendable {
        /// The row exists; directory and files may not.
        case creating
        /// Complete, never started.
        case created
        /// `run` is on its way: like `creating` until the monitor has written a state, like `started` from then on. It saves
        /// `run` a transaction between the two.
        case launching
        /// A monitor has been asked to run it at least once.
        case started
        /// Being removed.
        case removing
        /// No container: the place of the twins of a `coffer probe` that is at work, or was killed. Nobody but reconciliation sees it.
        case probing
    }

    /// 64 hexadecimal digits.
    public var id: String
    public var name: String
    /// The image as the user named it.
    public var image: String
    /// "sha256:…" of the image's configuration.
    public var imageID: String
    /// Nanoseconds since the epoch.
    public var created: Int64
    public var phase: Phase
    public var autoRemove: Bool
    /// When its monitor was found dead, nanoseconds since the epoch; nil unless that happened since the last start.
    public var monitorLostAt: Int64?
    /// Why the last start failed, for `inspect`; "" when it did not.
    public var startError: String
    /// The exit code of a start that failed (125…127), 0 otherwise.
    public var startErrorCode: Int32
    /// First host ID of the container's own range, or nil where it has none of its own.
    public var rangeStart: UInt32?
    /// The `ContainerDetails` as JSON.
    public var details: String

    public init(
        id: String, name: String, image: String, imageID: String, created: Int64, phase: Phase, autoRemove: Bool,
        rangeStart: UInt32?, details: String
    ) {
        self.id = id
        self.name = name
        self.image = image
        self.imageID = imageID
        self.created = created
        self.phase = phase
        self.autoRemove = autoRemove
        self.rangeStart = rangeStart
        self.details = details
        monitorLostAt = nil
        startError = ""
        startErrorCode = 0
    }

    /// Whether volumes may have to go with it; a container without any is spared the question.
    var hasVolumes: Bool { details.contains("\"volume\"") }

    public var shortID: String { String(id.prefix(12)) }
}
