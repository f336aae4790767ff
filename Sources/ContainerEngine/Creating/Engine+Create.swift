import Confinement
import Glibc
import ImageStore
import LinuxKernel
import OCISpec

/// A container that was just created: complete on disk, its lock still held.
struct CreatedContainer: ~Copyable {
    let record: ContainerRecord
    let details: ContainerDetails
    let lock: ContainerLock
    /// What the user should know, one line each.
    let notes: [String]
}

extension Engine {
    /// `create`: makes a container and leaves it.
    ///
    /// - Returns: its ID, and lines for the user.
    public func create(_ request: RunRequest, image: ResolvedImage) throws(EngineError) -> (id: String, notes: [String]) {
        let created = try make(request, image, phase: .creating, hasClient: false)
        try database.setPhase(.created, of: created.record.id)
        return (created.record.id, created.notes)
    }

    /// `run`: makes a container and starts it.
    ///
    /// - Parameters:
    ///   - attach: stay connected until it ends; nil returns as soon as it runs.
    ///   - created: called with the ID and lines for the user, before the start.
    public func run(
        _ request: RunRequest, image: ResolvedImage, attach: AttachSettings?,
        created: (_ id: String, _ notes: [String]) throws(EngineError) -> Void
    ) throws(EngineError) -> ForegroundEnd? {
        let container = try make(request, image, phase: .launching, hasClient: attach != nil)
        let record = container.record
        do throws(EngineError) {
            try created(record.id, container.notes)
        } catch {
            try erase(record)
            throw error
        }
        let end = try launch(record, lock: container.takeLock(), attach: attach, removesOnFailure: true)
        if request.autoRemove, case .exited = end { try removeEnded(record) }
        return end
    }

    /// Removes a `--rm` container whose end was seen. Whoever else noticed it may be faster.
    private func removeEnded(_ record: ContainerRecord) throws(EngineError) {
        let container = Container(record: record, directory: root.container(record.id), status: .created)
        do throws(EngineError) {
            guard let lock = try takeLock(container, waiting: 10_000) else { return }
            try erase(record)
            _ = consume lock
        } catch {
            if error != .noSuchContainer(record.name) { throw error }
        }
    }

    /// The row first, then the directory and everything in it: whatever a killed command leaves behind is known.
    private func make(
        _ request: RunRequest, _ image: ResolvedImage, phase: ContainerRecord.Phase, hasClient: Bool
    ) throws(EngineError) -> CreatedContainer {
        let id = Self.newID()
        var details = try details(request, image, id: id)
        let volumes = nameVolumes(&details)
        let ranges = try rangePool(request)
        let record = try database.insert(
            ContainerRecord(
                id: id, name: request.name ?? "", image: request.image, imageID: image.id, created: nanosecondsNow(), phase: phase,
                autoRemove: request.autoRemove, rangeStart: nil, details: try details.encoded()),
            ranges: ranges, volumes: volumes)
        do throws(EngineError) {
            let lock = try makeDirectory(root.container(id))
            let notes = try ContainerAssembly(engine: self, record: record, image: image, details: details, hasClient: hasClient).build()
            return CreatedContainer(record: record, details: details, lock: lock, notes: notes)
        } catch {
            let failure: EngineError = error
            try erase(record)
            throw failure
        }
    }

    /// What a request and an image come to, before anything exists.
    func details(_ request: RunRequest, _ image: ResolvedImage, id: String) throws(EngineError) -> ContainerDetails {
        var details = try ContainerDetails(request, image, id: id)
        if let named = request.network {
            details.network = named
        } else {
            details.network = try Self.networkOfLevel(request.security.level)
        }
        details.ports = try Self.ports(request, details)
        details.mounts = request.mounts + Self.imageVolumes(details)
        details.rangeIsShared = !root.isRootful && request.security.uidMaps.isEmpty && request.security.userNamespace != "host"
        return details
    }

    /// Anonymous volumes for what the image declares as VOLUME, where the user mounts nothing.
    private static func imageVolumes(_ details: ContainerDetails) -> [MountRequest] {
        let taken = Set(details.request.mounts.map(\.destination))
        let wanted = Set(details.imageVolumes.filter { $0.hasPrefix("/") && !$0.utf8.contains(0) }.map { normalised($0) })
        return wanted.subtracting(taken).subtracting(["/"]).sorted().map { MountRequest(source: .volume(nil), destination: $0) }
    }

    private func makeDirectory(_ directory: ContainerDirectory) throws(EngineError) -> ContainerLock {
        do {
            try retrying("mkdir", directory.path) { mkdir(directory.path, 0o700) }
            guard let lock = try ContainerLock.take(directory.lock, create: true) else {
                throw EngineError("\(directory.lock) is locked by another command")
            }
            try retrying("mkdir", directory.stage) { mkdir(directory.stage, 0o700) }
            return lock
        } catch let error as EngineError {
            throw error
        } catch let error as KernelError {
            throw EngineError("the container's directory cannot be made: \(error)", remedy: Self.remedy(error))
        } catch {
            throw EngineError("the container's directory cannot be made: \(error)")
        }
    }

    static func remedy(_ error: KernelError) -> String? {
        error.errno == ENOSPC || error.errno == EDQUOT ? "free some space, or choose another place with --root" : nil
    }

    static func newID() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in
            let part = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - part.count) + part
        }.joined()
    }

    private static func networkOfLevel(_ name: String) throws(EngineError) -> NetworkMode {
        guard let level = LevelName(rawValue: name) else {
            throw EngineError("unknown level: \(name)", remedy: "use standard, strict or compat")
        }
        do {
            return try Level.builtIn(level).network == .none ? .none : .outbound
        } catch {
            throw EngineError(error.description)
        }
    }

    private static func ports(_ request: RunRequest, _ details: ContainerDetails) throws(EngineError) -> [PortMapping] {
        var ports = request.ports
        if request.publishAll {
            for exposed in details.exposedPorts {
                let mapping = try PortMapping.parse(exposed)
                ports += mapping.filter { new in
                    !request.ports.contains { $0.containerPort == new.containerPort && $0.transport == new.transport }
                }
            }
        }
        guard !ports.isEmpty else { return [] }
        if details.network != .outbound {
            if details.network == .host { return ports }
            throw EngineError(
                "a port cannot be published: the container's network is '\(details.network.rawValue)'",
                remedy: "leave -p out, or add --network outbound")
        }
        return try PortChoice.settle(ports)
    }

    /// Gives anonymous volumes their names, and returns every volume that the container uses.
    private func nameVolumes(_ details: inout ContainerDetails) -> [VolumeUse] {
        var uses: [VolumeUse] = []
        for index in details.mounts.indices {
            guard case .volume(let name) = details.mounts[index].source else { continue }
            let chosen = name ?? Self.newID()
            details.mounts[index].source = .volume(chosen)
            uses.append(VolumeUse(name: chosen, isAnonymous: name == nil))
        }
        return uses
    }

    /// Where the container's own range comes from; nil where it gets none: rootless, with maps of the user's, or without a
    /// user namespace.
    func rangePool(_ request: RunRequest) throws(EngineError) -> IDRangePool? {
        guard root.isRootful, request.security.uidMaps.isEmpty, request.security.gidMaps.isEmpty,
            request.security.userNamespace != "host"
        else { return nil }
        func text(_ path: String) throws(EngineError) -> String {
            do {
                return String(decoding: try readFile(path, limit: 8 << 20), as: UTF8.self)
            } catch {
                if error.errno == ENOENT { return "" }
                throw EngineError("\(path) cannot be read: \(error.reason)")
            }
        }
        return IDRangePool(subuid: try text("/etc/subuid"), subgid: try text("/etc/subgid"))
    }
}

extension CreatedContainer {
    consuming func takeLock() -> ContainerLock { lock }
}
