import ArgumentParser
import ContainerEngine
import Glibc
import ImageStore
import LinuxKernel
import Rendering

extension ArchiveFormat: ExpressibleByArgument {}

/// `coffer save`.
struct SaveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "save", abstract: "Write images to an archive.",
        discussion: "What 'load' of Docker, Podman and Coffer reads. Blobs stay as they are: every digest is the same afterwards.")

    @Option(name: [.customShort("o", allowingJoined: true), .long], parsing: .unconditional, help: "A file, instead of standard output.")
    var output: String?
    @Option(name: .long, parsing: .unconditional, help: "docker-archive (which is an OCI layout too) or oci-archive.")
    var format: ArchiveFormat = .dockerArchive
    @Argument(help: ArgumentHelp("Names or IDs.", valueName: "image")) var images: [String] = []

    func run() throws {
        if images.isEmpty { throw UsageError.tooFewArguments(1) }
        let store = try ImageCommands.store()
        guard let output else {
            if Terminal.isTerminal(1) {
                throw EngineError(
                    "cowardly refusing to save to a terminal", remedy: "use the -o flag or redirect", code: .failure)
            }
            // A closed pipe is an error of write(2), reported as one.
            signal(SIGPIPE, SIG_IGN)
            let copy = dup(1)
            guard copy >= 0 else { throw EngineError("standard output is closed", code: .failure) }
            let stdout = FileDescriptor(owning: copy)
            return try ImageCommands.told { try store.save(images, as: format, to: stdout) }
        }
        try Self.save(images, as: format, from: store, into: output)
    }

    /// Writes a file that appears when it is whole: a failed save leaves the old one in place.
    private static func save(_ images: [String], as format: ArchiveFormat, from store: ImageStore, into output: String) throws {
        let partial = "\(output).partial-\(getpid())"
        do {
            let file = try FileDescriptor.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o666)
            try store.save(images, as: format, to: file)
            try file.close()
            if rename(partial, output) != 0 { throw KernelError.last("rename", partial) }
        } catch {
            unlink(partial)
            try ImageCommands.told { throw error }
        }
    }
}
