import ArgumentParser
import ContainerEngine
import Glibc

/// The program `coffer`: parses, makes one engine call, renders.
///
/// `main` is synchronous: an asynchronous one costs 35 ms at exit in a large static binary. Commands that talk to a network
/// bridge to `async` themselves.
@main enum Program {
    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "internal" {
            // Children of this very program; the namespaces they enter want a single thread and nothing done before.
            exit(InternalCommands.run(Array(arguments.dropFirst())))
        }
        do {
            try GlobalOptions.take(from: &arguments)
            var command = try Coffer.command(of: DockerFlags.normalised(DockerFlags.withHelpFirst(arguments)))
            try command.run()
        } catch {
            FailureReport(error, arguments: arguments).exit()
        }
    }
}
