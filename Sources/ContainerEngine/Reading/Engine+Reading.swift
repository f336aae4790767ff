import ImageStore
import OCISpec

extension Engine {
    /// `logs`: shows what a container wrote.
    ///
    /// - Parameter emit: gets each text, and whether it went to standard error; false stops.
    public func logs(of reference: String, _ query: LogQuery, emit: @escaping (String, Bool) -> Bool) throws(EngineError) {
        let container = try intactContainer(reference)
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        if details.request.logDriver == .none {
            throw EngineError(
                "container \(container.record.name) keeps no log", remedy: "run it without --log-driver none", code: .failure)
        }
        try LogReader(container.directory, query, emit: emit).run()
    }

    /// `port`: "80/tcp -> 127.0.0.1:8080" for each published port, or the bindings of one.
    public func publishedPorts(of reference: String, port: String?) throws(EngineError) -> [String] {
        let container = try intactContainer(reference)
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

extension Engine {
    /// `diff`: what the container changed against its image, sorted by path.
    public func changes(of reference: String) throws(EngineError) -> [TreeChange] {
        let container = try intactContainer(reference)
        guard case .overlay(let overlay) = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension)?.root else {
            throw EngineError("container \(container.record.name) has no writable layer", code: .failure)
        }
        let changes: [TreeChange]
        do {
            changes = try TreeOperations().changes(upper: overlay.upperDirectory, lowers: overlay.lowerDirectories)
        } catch {
            throw EngineError("the changes of container \(container.record.name) cannot be read: \(error)", code: .failure)
        }
        // Mount points are made in the writable layer; they are the engine's doing, and empty.
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        let points = Set(["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] + details.mounts.map(\.destination))
        let own = changes.filter { !points.contains($0.path) }
        // A directory that changed only because a mount point was made in it did not change for the user.
        let parents = Set(points.map { String($0[..<($0.lastIndex(of: "/") ?? $0.startIndex)]) })
        return own.filter { change in
            change.kind != .changed || !parents.contains(change.path) || own.contains { $0.path.hasPrefix(change.path + "/") }
        }
    }

    /// Bytes of the writable layer, for `ps -s`.
    public func writableSize(of container: Container) throws(EngineError) -> Int64 {
        do {
            return try TreeOperations().diskUsage(container.directory.upper)
        } catch {
            throw EngineError("the size of container \(container.record.name) cannot be read: \(error)", code: .failure)
        }
    }
}
