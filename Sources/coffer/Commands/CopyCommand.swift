import ArgumentParser
import ContainerEngine

/// `coffer cp`.
struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp", abstract: "Copy files between a container and this machine; '-' is a tar stream.",
        usage: "coffer cp [OPTIONS] CONTAINER:PATH DESTINATION|-\ncoffer cp [OPTIONS] SOURCE|- CONTAINER:PATH")

    @Flag(name: .shortAndLong, help: "Keep the owners of files.") var archive = false
    @Flag(name: [.customShort("L"), .long], help: "Follow a symbolic link that is named as source.") var followLink = false
    @Flag(name: .shortAndLong, help: "Nothing is printed anyway; for Docker's scripts.") var quiet = false
    @Argument(help: "What is copied.") var source: String
    @Argument(help: "Where it goes.") var destination: String

    func run() throws {
        let engine = try Invocation.engine()
        switch (Self.split(source), Self.split(destination)) {
        case (nil, nil): throw EngineError("must specify at least one container source", code: .failure)
        case (_?, _?): throw EngineError("copying between containers is not supported", code: .failure)
        case (let (container, path)?, nil):
            try engine.copyOut(
                container, path: path, to: destination == "-" ? nil : destination, follow: followLink, keepsOwners: archive)
        case (nil, let (container, path)?):
            try engine.copyIn(source == "-" ? nil : source, to: container, path: path, follow: followLink, keepsOwners: archive)
        }
    }

    /// Container and path; nil for a path of this machine, which an absolute one and one that begins with a dot always is.
    private static func split(_ text: String) -> (String, String)? {
        guard let colon = text.firstIndex(of: ":"), text.first != "/", text.first != ".", colon != text.startIndex else { return nil }
        let path = String(text[text.index(after: colon)...])
        return (String(text[..<colon]), path.hasPrefix("/") ? path : "/" + path)
    }
}
