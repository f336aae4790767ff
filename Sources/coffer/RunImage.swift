import ContainerEngine
import ImageStore
import LinuxKernel
import OCISpec
import PullMessages
import Rendering

/// The image of `run` and `create`: the local one, or one that is pulled now, as `--pull` says.
enum RunImage {
    /// - Returns: the image, and the hold that keeps its layers until the container is recorded.
    static func find(
        _ request: RunRequest, _ engine: Engine, _ options: ProcessOptions
    ) throws -> (ResolvedImage, StoreHold) {
        try checkIdentity(engine)
        if options.pull != .always, let found = try engine.resolveImage(request) { return (found.image, found.hold) }
        do {
            try pull(request, engine, options)
        } catch let error as EngineError {
            // Without its image a container cannot be: 125, as Docker's, where `pull` itself ends with 1.
            throw EngineError(error.summary, remedy: error.remedy, code: .engine)
        }
        guard let found = try engine.resolveImage(request) else {
            throw EngineError("No such image: \(request.image)", remedy: "another command may have removed it: try again")
        }
        return (found.image, found.hold)
    }

    /// An ordinary user without subordinate IDs can unpack no image and run no container: said before anything is fetched.
    private static func checkIdentity(_ engine: Engine) throws {
        if engine.root.isRootful { return }
        do {
            let ranges = try SubordinateIDs.ofInvokingUser()
            if ranges.users.isEmpty { throw IDMapError.noSubordinateRange(user: "you", file: "/etc/subuid") }
        } catch {
            throw EngineError("\(error)", code: .engine)
        }
    }

    private static func pull(_ request: RunRequest, _ engine: Engine, _ options: ProcessOptions) throws {
        let reference = try ImageCommands.told { try ImageReference(parsing: request.image) }
        let resolution = reference.description == request.image ? "" : " (\(request.image) → \(reference))"
        if options.pull == .never {
            throw EngineError("No such image: \(reference.familiar)\(resolution)", remedy: "pull it, or leave --pull never out")
        }
        if options.pull == .missing, !options.quiet {
            ImagePulling.note("Unable to find image '\(reference.familiar)' locally\(resolution)")
        }
        let pulled = try ImagePulling.pull(
            request.image, platform: try ImageCommands.platform(request.platform),
            flags: nil, isQuiet: options.quiet,
            namesImage: options.pull == .always, into: try engine.root.imageStore(warn: Invocation.warn))
        if !options.quiet { ImagePulling.note("Digest: \(pulled.digest)") }
    }
}
