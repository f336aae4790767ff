import Confinement
import ContainerRuntime
import Exposure
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import StrictJSON
import TextSearch

/// Fills a container's directory: confinement, bundle, network files, writable layer, sources of its mounts.
struct ContainerAssembly {
    let engine: Engine
    let record: ContainerRecord
    let image: ResolvedImage
    let details: ContainerDetails
    /// A client will be there when the container ends, and removes it then; otherwise the monitor has to have it done.
    var hasClient = false

    private var directory: ContainerDirectory { engine.root.container(record.id) }

    /// - Returns: lines for the user.
    /// - Throws: `EngineError`; the caller removes what was made.
    func build() throws(EngineError) -> [String] {
        let files = try NetworkFiles(details)
        let (bundle, resolution) = try resolve(files)
        let owner = bundle.spec.linux?.uidMappings?.first { $0.containerID == 0 }?.hostID ?? 0
        try write(files, owner: owner)
        try writeLayer(owner: owner)
        var notes = try prepareMounts(bundle.spec, owner: owner)
        try write(bundle)
        notes += publishedPortNotes()
        // What is so on this machine for every container is `--explain`'s business.
        notes += resolution.notes.filter { !$0.contains("shared") && !$0.hasPrefix("AppArmor") }
        if !resolution.relaxations.isEmpty {
            if let note = try exposureNote(resolution) { notes.append(note) }
            try engine.database.setRelaxations(resolution.relaxations.map(Self.text), of: record, details)
            // What opens everything at once says at once what it opens; the rest is in `inspect` and `--explain`.
            if details.request.security.privileged {
                notes += resolution.relaxations.map { "loosened by " + Self.text($0) }
            }
        }
        return notes
    }

    /// What the flags make of the level's figure; nil where they do not raise it.
    private func exposureNote(_ resolution: Resolution) throws(EngineError) -> String? {
        guard case .level(let level) = resolution.confinement.origin else { return nil }
        return try OwnContainers.note(
            subject(resolution.confinement), level: level,
            host: try HostFacts.current(isRootful: engine.root.isRootful, range: try engine.idRange(of: record)),
            image: imageDefaults)
    }

    private var imageDefaults: ImageDefaults { ImageDefaults(provenance: image.isPinned ? .pinnedDigest : image.isLocal ? .local : .tag) }

    private func subject(_ confinement: Confinement) -> Subject {
        Subject(
            name: record.name, source: .coffer, confinement: confinement, engineUser: engine.root.isRootful ? .root : .ordinary,
            provenance: OwnContainers.provenance(record.image))
    }

    static func text(_ relaxation: Relaxation) -> String {
        "\(relaxation.flag): \(relaxation.effect) (+\(relaxation.points))"
    }

    /// The confinement and the bundle that says it, without touching anything.
    func resolve(_ files: NetworkFiles) throws(EngineError) -> (ConfinementBundle, Resolution) {
        let request = try ConfinementRequest(details, directory, engine)
        let host = try HostFacts.current(isRootful: engine.root.isRootful, range: try engine.idRange(of: record))
        do {
            let resolution = try ConfinementResolver.resolve(request, image: imageDefaults, host: host)
            try PolicyFiles(environment: engine.environment).check(subject(resolution.confinement), user: details.user)
            var bundle = try resolution.confinement.bundle(try bundleDetails(files))
            if !details.user.isEmpty {
                bundle.extension.userSpec = details.user
                let bounding = bundle.spec.process?.capabilities?.bounding ?? []
                bundle.spec.process?.forUser(details.user, bounding: bounding)
            }
            return (bundle, resolution)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(error)")
        }
    }

    private func bundleDetails(_ files: NetworkFiles) throws(EngineError) -> BundleDetails {
        let request = details.request
        // pasta has its rights over a network from a user namespace that it can enter; in the host's it would have to be root.
        if details.network == .outbound, request.security.userNamespace == "host" {
            throw EngineError("--userns host has no outbound network: add --network none, or --network host for the host's own")
        }
        let overlay = OverlayRoot(
            lowerDirectories: image.layers, upperDirectory: directory.upper, workDirectory: directory.work,
            stageDirectory: directory.stage, idmapLowers: engine.root.isRootful && request.security.userNamespace != "host")
        var bundle = BundleDetails(
            arguments: details.arguments, environment: details.environment, workingDirectory: details.workingDirectory,
            terminal: request.terminal,
            consoleSize: request.terminal ? TerminalWindow.size(of: 0).map { .init(height: $0.rows, width: $0.columns) } : nil,
            hostname: details.hostname, rootSource: .overlay(overlay), stdinOpen: request.stdinOpen,
            logPath: directory.log, exitCommand: request.autoRemove && !hasClient ? try exitCommand() : nil, initProcess: request.initProcess,
            cgroupsPath: details.request.security.cgroupPath(of: record.id), annotations: request.annotations,
            pastaPath: details.network == .outbound ? try PastaProgram.locate() : "", dnsForwardAddress: files.dnsForwardAddress,
            cgroupRequired: engine.root.isRootful && requiresControlGroup)
        bundle.groupNames = request.security.addGroups.filter { UInt32($0) == nil }
        bundle.stdinStays = request.stdinStays ?? false
        bundle.filledVolumes = details.mounts.filter { $0.type == "volume" && !$0.noCopy }.map(\.destination)
        return bundle
    }

    /// What the monitor runs when the container has ended and no client is there to remove it.
    private func exitCommand() throws(EngineError) -> [String] {
        [try InstalledProgram.ownPath(), "internal", "remove-ended", engine.root.path, record.id]
    }

    /// A limit that the user named must hold; one that only the level names may be reported as missing.
    private var requiresControlGroup: Bool {
        let resources = details.request.resources
        return resources.memory != nil || resources.nanoCPUs != nil || resources.pids != nil || resources.cpusetCPUs != nil
    }

    // MARK: Files

    private func write(_ files: NetworkFiles, owner: UInt32) throws(EngineError) {
        do {
            for (path, text) in [(directory.hosts, files.hosts), (directory.hostname, files.hostname), (directory.resolver, files.resolver)] {
                let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644)
                try file.writeAll(Array(text.utf8))
                let raw = file.rawValue
                try retrying("fchmod", path) { fchmod(raw, 0o644) }
                // Container root may change them, as everywhere else. What a user cannot give away goes with the writable layer.
                if engine.root.isRootful { try retrying("fchown", path) { fchown(raw, owner, owner) } }
                try file.close()
            }
        } catch {
            throw EngineError("the container's files cannot be written: \(error)", remedy: Engine.remedy(error))
        }
    }

    private func writeLayer(owner: UInt32) throws(EngineError) {
        do {
            try TreeOperations().makeOverlayDirectories(
                [directory.writable, directory.upper, directory.work], owner: owner,
                giving: engine.root.isRootful ? [] : [directory.hosts, directory.hostname, directory.resolver])
        } catch {
            throw EngineError("the writable layer cannot be made: \(error)")
        }
    }

    private func write(_ bundle: ConfinementBundle) throws(EngineError) {
        do {
            var log = bundle.extension
            if details.request.logDriver == .none { log.log = nil }
            let encoder = StrictJSONEncoder()
            // In one step each: who is killed here leaves the whole file or none.
            try replaceFile(directory.config, with: try encoder.encode(bundle.spec))
            try replaceFile(directory.bundleExtension, with: try encoder.encode(log))
        } catch let error as KernelError {
            throw EngineError("the container's configuration cannot be written: \(error)", remedy: Engine.remedy(error))
        } catch {
            throw EngineError("the container's configuration cannot be written: \(error)")
        }
    }

    private func publishedPortNotes() -> [String] {
        guard details.network == .outbound else { return [] }
        return details.ports.filter { $0.hostAddress == nil }.map { port in
            let host = port.hostPort ?? 0
            let transport = port.transport == .udp ? "/udp" : ""
            return "publishing \(host)\(transport) on 127.0.0.1 only; use -p 0.0.0.0:\(host):\(port.containerPort)\(transport) to open it"
        }
    }
}
