import ContainerEngine
import ImageStore
import Rendering

/// The image of `run` and `create`: the local one, or one that is pulled now, as `--pull` says.
enum RunImage {
    /// - Returns: the image, and the hold that keeps its layers until the container is recorded.
    static func find(
        _ request: RunRequest, _ engine: Engine, _ options: ProcessOptions
    ) throws -> (ResolvedImage, StoreHold) {
        if options.pull != .always, let found = try engine.resolveImage(request) { return (found.image, found.hold) }
        if options.pull == .never {
            throw EngineError("No such image: \(request.image)", remedy: "pull it, or leave --pull never out")
        }
        throw EngineError("Unable to find image '\(request.image)' locally", remedy: "load it with 'coffer load'")
    }
}
