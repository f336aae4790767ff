import ArgumentParser

/// What the container sees of the host's files.
struct FileSystemOptions: ParsableArguments {
    @Option(
        name: [.customShort("v", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Mount a host directory or a volume: SOURCE:DESTINATION[:OPTIONS].")
    var volume: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Mount: type=bind|volume|tmpfs,source=…,destination=…[,readonly].")
    var mount: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Mount a temporary file system: DESTINATION[:size=…,mode=…].")
    var tmpfs: [String] = []

    @Flag(name: .long, help: "Make the root file system read-only.")
    var readOnly = false

    @Option(name: .long, parsing: .unconditional, help: "Size of /dev/shm.")
    var shmSize: String?

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Pass a host device in: SOURCE[:DESTINATION[:rwm]].")
    var device: [String] = []
}
