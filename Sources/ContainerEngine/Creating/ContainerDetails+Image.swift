import OCISpec

extension ContainerDetails {
    /// Puts a request and an image together, as Docker does: what the user said replaces what the image says, environment
    /// and labels are merged.
    ///
    /// - Throws: `EngineError` when there is nothing to run.
    public init(_ request: RunRequest, _ image: ResolvedImage, id: String) throws(EngineError) {
        self.init(request: request)
        let defaults = image.defaults
        // A replaced entrypoint also drops the image's command, which would be its arguments.
        entrypoint = request.entrypoint.map { $0.isEmpty ? [] : [$0] } ?? defaults.entrypoint ?? []
        command = request.command.isEmpty ? (request.entrypoint == nil ? defaults.command ?? [] : []) : request.command
        arguments = entrypoint + command
        guard let program = arguments.first else {
            throw EngineError("no command specified", remedy: "name one behind the image: coffer run \(request.image) COMMAND")
        }
        if program.isEmpty { throw EngineError("the command is an empty string") }
        if arguments.contains(where: { $0.utf8.contains(0) }) { throw EngineError("an argument of the command holds a NUL byte") }
        hostname = request.hostname ?? (request.security.utsNamespace == "host" || request.network == .host ? "" : String(id.prefix(12)))
        let own =
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            + (hostname.isEmpty ? [] : ["HOSTNAME=\(hostname)"]) + (request.terminal ? ["TERM=xterm"] : [])
        environment = Environment.merged(own, defaults.environment ?? [], request.environment)
        // The runtime sets HOME to the user's own where nothing else says it.
        workingDirectory = request.workingDirectory ?? defaults.workingDirectory.flatMap { $0.isEmpty ? nil : normalised($0) } ?? "/"
        user = request.user ?? defaults.user ?? ""
        labels = (defaults.labels ?? [:]).merging(request.labels) { _, own in own }
        stopSignal = request.stopSignal ?? defaults.stopSignal.flatMap { $0.isEmpty ? nil : $0 } ?? "SIGTERM"
        imageVolumes = (defaults.volumes ?? [:]).keys.sorted()
        exposedPorts = Set((defaults.exposedPorts ?? [:]).keys.map(Self.port) + request.exposedPorts.map(Self.port)).sorted()
        imageReference = image.reference
        imageDigest = image.digest
    }

    private static func port(_ text: String) -> String { text.contains("/") ? text : text + "/tcp" }
}
