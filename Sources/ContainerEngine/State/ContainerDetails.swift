import StrictJSON

/// What is fixed when a container is created, beside the columns of its row: the request, and what the image added to it.
public struct ContainerDetails: Codable, Sendable, Equatable {
    public var request: RunRequest
    /// The program and its arguments, entrypoint included.
    public var arguments: [String]
    /// The image's own part of `arguments`, for `inspect`.
    public var entrypoint: [String]
    public var command: [String]
    /// The complete environment.
    public var environment: [String]
    public var workingDirectory: String
    /// As written by flag or image; "" is root.
    public var user: String
    public var labels: [String: String]
    public var stopSignal: String
    public var imageVolumes: [String]
    /// Ports that the image or `--expose` declares, "80/tcp".
    public var exposedPorts: [String]
    /// Mounts with volumes named and host paths resolved.
    public var mounts: [MountRequest]
    /// Ports with every host port known.
    public var ports: [PortMapping]
    /// The full reference ("docker.io/library/nginx:latest").
    public var imageReference: String
    /// "sha256:…" of the manifest.
    public var imageDigest: String
    public var hostname: String
    public var network: NetworkMode
    /// Whether the range of IDs is the container's alone.
    public var rangeIsShared: Bool
    /// What relaxes or strengthens the level, one sentence each, with prices.
    public var relaxations: [String]

    public init(request: RunRequest) {
        self.request = request
        arguments = []
        entrypoint = []
        command = []
        environment = []
        workingDirectory = "/"
        user = ""
        labels = [:]
        stopSignal = "SIGTERM"
        imageVolumes = []
        exposedPorts = []
        mounts = []
        ports = []
        imageReference = request.image
        imageDigest = ""
        hostname = ""
        network = request.network ?? .outbound
        rangeIsShared = false
        relaxations = []
    }

    func encoded() throws(EngineError) -> String {
        do {
            return String(decoding: try StrictJSONEncoder().encode(self), as: UTF8.self)
        } catch {
            throw EngineError("the container's settings cannot be stored: \(error)")
        }
    }

    /// - Throws: `EngineError` when the row does not hold what this version writes.
    public init(decoding text: String, of name: String) throws(EngineError) {
        do {
            self = try StrictJSONDecoder().decode(ContainerDetails.self, from: Array(text.utf8))
        } catch {
            throw EngineError("the stored settings of container \(name) cannot be read: \(error)", remedy: "remove it: coffer rm \(name)")
        }
    }
}
