import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import Registry
import Rendering

/// How a registry is spoken to, as Podman's commands take it.
struct RegistryFlags: ParsableArguments {
    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("Credentials for the registry.", valueName: "user:password"))
    var creds: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: "Verify the registry's certificate. false accepts any, and plain HTTP.")
    var tlsVerify: Bool = true

    @Option(name: .long, parsing: .unconditional, help: "A directory with CAs (*.crt) and client certificates (*.cert, *.key).")
    var certDir: String?

    func options() throws -> RegistryOptions {
        var options = RegistryOptions(
            verifiesTLS: tlsVerify, certificateDirectory: certDir, environment: Invocation.environment)
        if let creds {
            guard let credentials = RegistryCredentials(option: creds) else {
                throw EngineError("--creds takes USER:PASSWORD", code: .failure)
            }
            options.credentials = credentials
        }
        return options
    }
}

/// Pulls an image and shows how that goes, for `pull`, `run` and `create`.
enum ImagePulling {
    /// - Parameters:
    ///   - text: the name as the user wrote it.
    ///   - isQuiet: No progress, and nothing about the name.
    ///   - namesImage: Says what a short name stands for.
    /// - Throws: `EngineError` in one sentence, `ContainedExit` when a signal ended it.
    static func pull(
        _ text: String, platform: Platform?, options: RegistryOptions, isQuiet: Bool, namesImage: Bool = true,
        into store: ImageStore
    ) throws -> PulledImage {
        try ImageCommands.told {
            let reference = try ImageReference(parsing: text)
            if !isQuiet, namesImage, reference.description != text { note("\(text) → \(reference)") }
            let bars = LayerBars(isQuiet: isQuiet)
            let observer = PullObserver(layer: { bars.show($0, $1) }, warning: { note("warning: \($0)") })
            defer { bars.bars.finish() }
            return try ImagePull(reference, platform: platform, options: options, into: store, observer: observer).run()
        }
    }

    static func note(_ text: String) { Terminal.write(HumanUnits.printable(text) + "\n", to: 2) }
}
