import Confinement
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import Probing
import StrictJSON

/// What twins of one target are made of, beside their confinement.
struct TwinSource {
    /// Layer directories, top first; empty where the image is not Coffer's: the twin's root is then empty.
    var lowerDirectories: [String] = []
    /// The layers have the image's own IDs.
    var hasImageIDs = false
    /// Of the target; the values are not needed and stay behind.
    var environment: [String] = []
    var workingDirectory = "/"
    var groupNames: [String] = []
}

/// One twin to be run.
struct TwinOrder {
    var name: String
    var confinement: Confinement
    /// Arguments of `coffer-probe`.
    var arguments: [String]
    /// Beside the target's own environment.
    var environment: [String] = []
}

/// Makes the bundle of a twin: fresh writable layer, canaries for the host's files, the probes' program.
struct TwinBuilder {
    /// On the container's own /dev, which no image can have anything on.
    static let program = "/dev/coffer-probe"
    static let callerFile = "/dev/coffer-caller"

    let session: ProbeSession
    let canaries: ProbeCanaries
    let source: TwinSource
    /// Host path of the static program.
    let probe: String

    func build(_ order: TwinOrder) throws(EngineError) -> ContainerDirectory {
        let directory = try session.newTwin()
        let confinement = withProgram(order.confinement)
        let isRootful = session.engine.root.isRootful
        var owner: UInt32 = 0
        var ownsRange = false
        if case .own(let uids, _, _) = confinement.userNamespace {
            owner = uids.first { $0.containerID == 0 }?.hostID ?? 0
            ownsRange = true
        }
        do {
            try TreeOperations().makeOverlayDirectories([directory.writable, directory.upper, directory.work], owner: owner)
            var details = BundleDetails(arguments: [Self.program] + order.arguments)
            details.environment = source.environment.map(Self.withoutValue) + order.environment
            details.workingDirectory = source.workingDirectory
            details.hostname = confinement.namespaces.uts == .own ? "twin" : ""
            details.cgroupsPath = ProbeSession.groupPath(of: directory, session.record.id)
            details.groupNames = source.groupNames
            details.logPath = directory.log
            if case .outbound = confinement.network { details.pastaPath = try PastaProgram.locate() }
            details.rootSource = .overlay(
                OverlayRoot(
                    lowerDirectories: source.lowerDirectories.isEmpty ? [canaries.emptyRoot] : source.lowerDirectories,
                    upperDirectory: directory.upper, workDirectory: directory.work, stageDirectory: directory.stage,
                    idmapLowers: isRootful && ownsRange && (source.lowerDirectories.isEmpty || source.hasImageIDs)))
            var bundle = try confinement.bundle(details)
            bundle.spec.process?.apply(lookup: confinement.user.lookup)
            let encoder = StrictJSONEncoder()
            try replaceFile(directory.config, with: try encoder.encode(bundle.spec))
            try replaceFile(directory.bundleExtension, with: try encoder.encode(bundle.extension))
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("the twin “\(order.name)” cannot be made: \(error)")
        }
        return directory
    }

    /// The name alone counts, and a secret has no business in a twin.
    private static func withoutValue(_ variable: String) -> String {
        let name = variable.prefix { $0 != "=" }
        return name == "PATH" || name == "HOME" ? variable : "\(name)=canary"
    }

    private func withProgram(_ target: Confinement) -> Confinement {
        var confinement = target
        let flags = ["bind", "private", "ro", "nosuid", "nodev"]
        confinement.mounts.append(Mount(destination: Self.program, type: "bind", source: probe, options: flags))
        confinement.mounts.append(Mount(destination: Self.callerFile, type: "bind", source: canaries.callerFile, options: flags))
        if case .enforced(var policy) = confinement.landlock, policy.handlesFileSystem {
            policy.rules.append(.init(path: Self.program, access: ["execute", "read_file"], optional: false))
            confinement.landlock = .enforced(policy)
        }
        return confinement
    }

    /// A confinement with canaries where the target has the host's files.
    ///
    /// - Parameter kinds: by place in `confinement.mounts`.
    func replacing(_ kinds: [Int: CanaryKind], in target: Confinement) -> Confinement {
        var confinement = target
        for (index, kind) in kinds {
            switch kind {
            case .directory: confinement.mounts[index].source = canaries.directory
            case .file: confinement.mounts[index].source = canaries.file
            case .socket: confinement.mounts[index].source = canaries.socket
            }
        }
        return confinement
    }
}

extension RuntimeSpec.Process {
    /// A user who is looked up in the image gets what the runtime leaves him.
    mutating func apply(lookup: String) {
        if lookup.isEmpty { return }
        forUser(lookup, bounding: capabilities?.bounding ?? [])
    }
}
