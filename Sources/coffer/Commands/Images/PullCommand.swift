import ArgumentParser
import OCISpec
import PullMessages
import Rendering

/// `coffer pull`.
struct PullCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Bring images from a registry.",
        discussion: "A short name is Docker Hub's: nginx is docker.io/library/nginx:latest.")

    @Flag(name: .shortAndLong, help: "Print the image's name only.") var quiet = false
    @Option(name: .long, parsing: .unconditional, help: "Platform of the image: OS/ARCHITECTURE[/VARIANT].") var platform: String?
    @OptionGroup(title: "Registry") var registry: RegistryFlags
    @Argument(help: ArgumentHelp("Names, with a tag or a digest.", valueName: "image")) var images: [String] = []

    func run() throws {
        let store = try ImageCommands.store()
        let platform = try ImageCommands.platform(platform)
        // A flag that is wrong is wrong for every image.
        try _ = registry.credentials()
        try ImageCommands.forEach(images) { name in
            let pulled = try ImagePulling.pull(name, platform: platform, flags: registry, isQuiet: quiet, into: store)
            if !quiet {
                ImagePulling.note("Digest: \(pulled.digest)")
                ImagePulling.note(
                    pulled.wasUpToDate ? "Status: Image is up to date for \(name)" : "Status: Downloaded newer image for \(name)")
            }
            ImageCommands.print(pulled.image)
        }
    }
}
