import ArgumentParser

/// What bounds the container.
struct ConfinementOptions: ParsableArguments {
    @Option(name: .long, parsing: .unconditional, help: "Level of confinement: standard, strict or compat.")
    var level: String = "standard"

    @Flag(name: .long, help: "Print the launch plan, and run nothing.")
    var explain = false

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Add a capability.")
    var capAdd: [String] = []

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Drop a capability, or ALL.")
    var capDrop: [String] = []

    @Flag(name: .long, help: "Open nearly everything; for compatibility only.")
    var privileged = false

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: "no-new-privileges[=false], seccomp=unconfined|FILE, landlock=off, apparmor=…, label=…, mask=…, unmask=….")
    var securityOpt: [String] = []

    @Option(name: .long, parsing: .unconditional, help: "User namespace: private, keep-id or host.")
    var userns: String?

    @Option(name: .customLong("uidmap"), parsing: .unconditionalSingleValue, help: "Map user IDs: CONTAINER:HOST:COUNT.")
    var uidmap: [String] = []

    @Option(name: .customLong("gidmap"), parsing: .unconditionalSingleValue, help: "Map group IDs: CONTAINER:HOST:COUNT.")
    var gidmap: [String] = []

    @Option(name: .long, parsing: .unconditional, help: "Process namespace: private, host or container:NAME.")
    var pid: String?

    @Option(name: .long, parsing: .unconditional, help: "IPC namespace: private, host or container:NAME.")
    var ipc: String?

    @Option(name: .long, parsing: .unconditional, help: "Host-name namespace: private or host.")
    var uts: String?

    @Option(name: .long, parsing: .unconditional, help: "Cgroup namespace: private or host.")
    var cgroupns: String?

    @Option(name: .long, parsing: .unconditional, help: "Cgroup to place the container's below.")
    var cgroupParent: String?

    @Option(name: .long, parsing: .unconditionalSingleValue, help: "Set a namespaced kernel parameter: NAME=VALUE.")
    var sysctl: [String] = []
}
