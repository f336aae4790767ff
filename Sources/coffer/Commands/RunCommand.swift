import ArgumentParser
import ContainerEngine
import Glibc
import Rendering

/// `coffer run`.
struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent(
        "run", abstract: "Create a container from an image and start it.",
        usage: "coffer run [OPTIONS] IMAGE [COMMAND] [ARG...]")

    @OptionGroup var options: ContainerOptions
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
        var request = try options.request()
        if options.process.detach, request.stdinOpen { request.stdinStays = true }
        if options.process.detach, !request.attach.isEmpty { throw EngineError("Conflicting options: -a and -d") }
        if request.terminal, request.stdinOpen, !options.process.detach, !Terminal.isTerminal(0) {
            throw EngineError("the input device is not a TTY", remedy: "leave -t out when input comes from a pipe or a file", code: .failure)
        }
        let cidFile = try options.process.cidfile.map { try CIDFile($0) }
        let engine = try Invocation.engine()
        let (image, hold) = try RunImage.find(request, engine, options.process)
        if options.confinement.explain {
            Terminal.write(try engine.explain(request, image: image).lines.map { $0 + "\n" }.joined(), to: 1)
            return
        }
        let settings = AttachSettings(
            request, detachKeys: try connection.keys(), proxiesSignals: connection.sigProxy && !request.terminal)
        var containerID = ""
        let isDetached = options.process.detach
        let end = try engine.run(request, image: image, attach: isDetached ? nil : settings) { id, notes throws(EngineError) in
            try cidFile?.write(id)
            Invocation.tell(notes)
            containerID = id
        }
        if isDetached { Terminal.write(containerID + "\n", to: 1) }
        _ = hold
        try Invocation.end(end)
    }
}

/// `coffer create`.
struct CreateCommand: ParsableCommand {
    static let configuration = CommandConfiguration.frequent(
        "create", abstract: "Create a container from an image without starting it.",
        usage: "coffer create [OPTIONS] IMAGE [COMMAND] [ARG...]")

    @OptionGroup var options: ContainerOptions

    func run() throws {
        let request = try options.request()
        let cidFile = try options.process.cidfile.map { try CIDFile($0) }
        let engine = try Invocation.engine()
        let (image, hold) = try RunImage.find(request, engine, options.process)
        let (id, notes) = try engine.create(request, image: image)
        try cidFile?.write(id)
        Invocation.tell(notes)
        Terminal.write(id + "\n", to: 1)
        _ = hold
    }
}

/// `--cidfile`: a file that must not exist yet.
struct CIDFile {
    private let path: String

    init(_ path: String) throws(EngineError) {
        if access(path, F_OK) == 0 {
            throw EngineError(
                "container ID file found, make sure the other container isn't running or delete \(path)")
        }
        self.path = path
    }

    func write(_ id: String) throws(EngineError) {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard file >= 0, Terminal.write(id, to: file) else {
            throw EngineError("the container ID file \(path) cannot be written: \(String(cString: strerror(errno)))")
        }
        close(file)
    }
}
