import ArgumentParser
import ContainerEngine
import ImageStore
import OCISpec
import PullMessages
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

    /// What `--creds` says.
    func credentials() throws -> PullCredentials? {
        guard let creds else { return nil }
        guard let credentials = PullCredentials(option: creds) else { throw EngineError("--creds takes USER:PASSWORD", code: .failure) }
        return credentials
    }
}

/// Pulls an image and shows how that goes, for `pull`, `run` and `create`.
enum ImagePulling {
    /// - Parameters:
    ///   - text: the name as the user wrote it.
    ///   - flags: nil for a registry that is spoken to by default.
    ///   - isQuiet: No progress, and nothing about the name.
    ///   - namesImage: Says what a short name stands for.
    /// - Throws: `EngineError` in one sentence, `ContainedExit` when a signal ended it.
    static func pull(
        _ text: String, platform: Platform?, flags: RegistryFlags?, isQuiet: Bool, namesImage: Bool = true, into store: ImageStore
    ) throws -> PullResult {
        try ImageCommands.told {
            let reference = try ImageReference(parsing: text)
            if !isQuiet, namesImage, reference.description != text { note("\(text) → \(reference)") }
            let request = PullRequest(
                image: reference, platform: platform, store: store.root, credentials: try flags?.credentials(),
                verifiesTLS: flags?.tlsVerify ?? true, certificateDirectory: flags?.certDir)
            let bars = LayerBars(isQuiet: isQuiet)
            let observer = PullObserver(layer: { bars.show($0, $1) }, warning: { note("warning: \($0)") })
            defer { bars.bars.finish() }
            do {
                return try RegistryProcess.pull(request, environment: Invocation.environment, observer: observer)
            } catch {
                // What the pull had extracted: its program knows of no container, and so removes no layer.
                store.collectGarbageAfterFailure()
                throw error
            }
        }
    }

    static func note(_ text: String) { Terminal.write(HumanUnits.printable(text) + "\n", to: 2) }
}
