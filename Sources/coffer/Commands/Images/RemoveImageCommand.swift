import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Rendering

/// `coffer rmi`, `coffer image rm`.
struct RemoveImageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rmi", abstract: "Remove images.")

    @Flag(name: .shortAndLong, help: "Remove all names of an ID, and the names of an image in use.") var force = false
    @Flag(name: .long, help: "Accepted for compatibility: there are no untagged parents.") var noPrune = false
    @Argument(help: ArgumentHelp("Names or IDs.", valueName: "image")) var images: [String] = []

    func run() throws {
        let store = try ImageCommands.store()
        let engine = try Invocation.engine()
        try ImageCommands.forEach(images) { name in
            let steps: [RemovalStep]
            do {
                steps = try store.remove(name, force: force) { try ImageCommands.user(of: $0, engine) }
            } catch ImageStoreError.noSuchImage(let name) where force {
                // `rmi -f` of what is not there is no failure, as Docker's.
                ImagePulling.note("coffer: no such image: \(name)")
                return
            }
            RemovalOutput.show(steps)
        }
    }
}

/// What `rmi` and `image prune` print.
enum RemovalOutput {
    static func show(_ steps: [RemovalStep]) {
        for step in steps {
            switch step {
            case .untagged(let reference): ImageCommands.print("Untagged: \(reference.familiar)")
            case .deleted(let digest): ImageCommands.print("Deleted: \(digest)")
            }
        }
    }
}
