import ArgumentParser

/// How much of the machine the container may use.
struct ResourceOptions: ParsableArguments {
    @Option(name: [.customShort("m", allowingJoined: true), .long], parsing: .unconditional, help: "Memory limit, for example 512m.")
    var memory: String?

    @Option(name: .long, parsing: .unconditional, help: "Memory and swap together; -1 for unlimited swap.")
    var memorySwap: String?

    @Option(name: .long, parsing: .unconditional, help: "Memory that is left to the container under pressure.")
    var memoryReservation: String?

    @Option(name: .long, parsing: .unconditional, help: "Number of CPUs, for example 1.5.")
    var cpus: String?

    @Option(name: [.customShort("c"), .long], parsing: .unconditional, help: "Weight of CPU time against others (1024 is one share).")
    var cpuShares: Int64?

    @Option(name: .customLong("cpuset-cpus"), parsing: .unconditional, help: "CPUs to run on, for example 0-2,4.")
    var cpusetCPUs: String?

    @Option(name: .customLong("cpuset-mems"), parsing: .unconditional, help: "Memory nodes to use.")
    var cpusetMemory: String?

    @Option(name: .long, parsing: .unconditional, help: "Number of processes and threads; -1 for no limit.")
    var pidsLimit: Int64?

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Limit of a process: NAME=SOFT[:HARD].")
    var ulimit: [String] = []

    @Option(name: .long, parsing: .unconditional, help: "How readily the kernel ends it when memory runs out (-1000…1000).")
    var oomScoreAdj: Int?
}
