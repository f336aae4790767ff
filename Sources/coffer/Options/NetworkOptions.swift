import ArgumentParser

/// What the container reaches, and what reaches it.
struct NetworkOptions: ParsableArguments {
    @Option(name: [.long, .customLong("net")], parsing: .unconditional, help: "Network: none, outbound or host.")
    var network: String?

    @Option(
        name: [.customShort("p", allowingJoined: true), .long], parsing: .unconditionalSingleValue,
        help: "Publish a port: [IP:]HOST:CONTAINER[/udp]. Without an IP only this machine reaches it.")
    var publish: [String] = []

    @Flag(name: [.customShort("P"), .long], help: "Publish every port that the image exposes on a free port.")
    var publishAll = false

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Declare a port of the container.")
    var expose: [String] = []

    @Option(name: [.customShort("h", allowingJoined: true), .long], parsing: .unconditional, help: "Host name inside the container.")
    var hostname: String?

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Add a line to /etc/hosts: NAME:ADDRESS.")
    var addHost: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Name server to ask instead of the host's.")
    var dns: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Search domain.")
    var dnsSearch: [String] = []

    @Option(name: [.long, .customLong("dns-opt")], parsing: .unconditionalSingleValue, help: "Resolver option.")
    var dnsOption: [String] = []
}
