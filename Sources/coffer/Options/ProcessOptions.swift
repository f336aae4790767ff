import ArgumentParser

/// What runs, and how it is connected.
struct ProcessOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Run in the background and print the container's ID.")
    var detach = false

    @Flag(name: .shortAndLong, help: "Keep standard input open.")
    var interactive = false

    @Flag(name: .shortAndLong, help: "Give the program a terminal.")
    var tty = false

    @Option(
        name: [.customShort("a", allowingJoined: true), .long], parsing: .unconditionalSingleValue, help: "Attach to STDIN, STDOUT or STDERR only.")
    var attach: [String] = []

    @Option(parsing: .unconditional, help: "Name of the container.")
    var name: String?

    @Option(
        name: [.customShort("e", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Set an environment variable: NAME=VALUE, or NAME to pass on yours.")
    var env: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Read environment variables from a file.")
    var envFile: [String] = []

    @Option(name: [.customShort("w", allowingJoined: true), .long], parsing: .unconditional, help: "Working directory inside the container.")
    var workdir: String?

    @Option(name: [.customShort("u", allowingJoined: true), .long], parsing: .unconditional, help: "User and group, by name or ID: USER[:GROUP].")
    var user: String?

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Add a supplementary group.")
    var groupAdd: [String] = []

    @Option(name: .long, parsing: .unconditional, help: "Replace the image's entrypoint.")
    var entrypoint: String?

    @Flag(name: .long, help: "Run a small init as PID 1 that forwards signals and reaps processes.")
    var `init` = false

    @Option(name: .long, parsing: .unconditional, help: "Signal that asks the program to end.")
    var stopSignal: String?

    @Option(name: .long, parsing: .unconditional, help: "Seconds to wait before a stopped container is killed.")
    var stopTimeout: Int?

    @Flag(name: .long, help: "Remove the container once it has ended.")
    var rm = false

    @Option(name: [.customShort("l", allowingJoined: true), .long], parsing: .unconditionalSingleValue, help: "Set a label: NAME[=VALUE].")
    var label: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Read labels from a file.")
    var labelFile: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Add an OCI annotation: NAME=VALUE.")
    var annotation: [String] = []

    @Option(name: .long, parsing: .unconditional, help: "Write the container's ID to a new file.")
    var cidfile: String?

    @Option(name: .long, parsing: .unconditional, help: "Where output is kept: json-file or none.")
    var logDriver: String = "json-file"

    @Option(name: .long, parsing: .unconditional, help: "When to pull the image: missing, always or never.")
    var pull: PullPolicy = .missing

    @Option(name: .long, parsing: .unconditional, help: "Platform of the image: OS/ARCHITECTURE[/VARIANT].")
    var platform: String?

    @Flag(name: .shortAndLong, help: "Print no progress of a pull.")
    var quiet = false
}

/// `--pull`.
enum PullPolicy: String, ExpressibleByArgument, CaseIterable { case missing, always, never }
