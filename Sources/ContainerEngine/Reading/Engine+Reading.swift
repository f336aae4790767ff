extension Engine {
    /// `logs`: shows what a container wrote.
    ///
    /// - Parameter emit: gets each text, and whether it went to standard error; false stops.
    public func logs(of reference: String, _ query: LogQuery, emit: @escaping (String, Bool) -> Bool) throws(EngineError) {
        let container = try container(reference)
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        if details.request.logDriver == .none {
            throw EngineError(
                "container \(container.record.name) keeps no log", remedy: "run it without --log-driver none", code: .failure)
        }
        try LogReader(container.directory, query, emit: emit).run()
    }

    /// `port`: "80/tcp -> 127.0.0.1:8080" for each published port, or the bindings of one.
    public func publishedPorts(of reference: String, port: String?) throws(EngineError) -> [String] {
        let container = try container(reference)
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        guard container.status.isRunning else { return [] }
        var lines: [String] = []
        let wanted = port.map { $0.contains("/") ? $0 : $0 + "/tcp" }
        for mapping in details.ports {
            let key = "\(mapping.containerPort)/\(mapping.transport.rawValue)"
            let address = mapping.boundAddress.contains(":") ? "[\(mapping.boundAddress)]" : mapping.boundAddress
            let binding = "\(address):\(mapping.hostPort ?? 0)"
            if let wanted { if wanted == key { lines.append(binding) } } else { lines.append("\(key) -> \(binding)") }
        }
        if let port, lines.isEmpty {
            throw EngineError("no public port '\(port)' published for \(reference)", code: .failure)
        }
        return lines
    }

    /// `rename`.
    public func rename(_ reference: String, to name: String) throws(EngineError) {
        let container = try container(reference)
        try database.rename(container.record.id, to: try ContainerName.validated(name))
    }
}
