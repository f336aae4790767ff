/// `--help`, of the program and of each command. The program goes by the name that it was called by, as an engine may know it by another one.
enum Help {
    /// A name that is nothing for a terminal to show is not repeated to it.
    static let program: String = {
        guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return "coffer-runtime" }
        let isPlain = name.utf8.count <= 64 && name.unicodeScalars.allSatisfy { (0x21...0x7e).contains($0.value) }
        return isPlain ? String(name) : "coffer-runtime"
    }()

    /// What a command does, what it is given, and its options.
    private static let table: [(name: String, summary: String, operands: String, options: [String])] = [
        ("create", "create a container from a bundle", "CONTAINER", bundle), ("start", "run the program of a created container", "CONTAINER", []),
        ("run", "create a container from a bundle and start it", "CONTAINER", bundle + ["-d, --detach", "--keep"]),
        (
            "exec", "run a further process in a running container", "CONTAINER cmd [ARGUMENT...]",
            [
                "-p, --process FILE", "-t, --tty", "-d, --detach", "-u, --user UID[:GID]", "-g, --additional-gids GID", "-e, --env NAME=VALUE",
                "--cwd DIR", "-c, --cap CAPABILITY", "--no-new-privs", "--apparmor PROFILE", "--process-label LABEL", "--cgroup [CONTROLLER:]PATH",
                "--pid-file FILE", "--console-socket SOCKET", "--pidfd-socket SOCKET", "--preserve-fds N", "--ignore-paused",
            ]
        ),
        ("state", "print the state of a container", "CONTAINER", []), ("list", "list containers", "", ["-q, --quiet", "-f, --format table|json"]),
        ("ps", "list the processes of a container", "CONTAINER [ps OPTIONS]", ["-f, --format table|json"]),
        ("kill", "send a signal to the first process of a container", "CONTAINER [SIGNAL]", ["-a, --all"]),
        ("pause", "freeze every process of a container", "CONTAINER", []), ("resume", "let a frozen container go on", "CONTAINER", []),
        (
            "update", "change the limits of a container", "CONTAINER",
            [
                "-r, --resources FILE|-", "--memory BYTES", "--memory-reservation BYTES", "--memory-swap BYTES", "--cpu-share N", "--cpu-quota µs",
                "--cpu-period µs", "--cpu-burst µs", "--cpu-idle 0|1", "--cpu-rt-runtime µs", "--cpu-rt-period µs", "--cpuset-cpus LIST",
                "--cpuset-mems LIST", "--pids-limit N", "--blkio-weight N",
            ]
        ), ("events", "print resource use and out-of-memory events", "CONTAINER", ["--stats", "--interval TIME"]),
        ("delete", "remove a container", "CONTAINER", ["-f, --force", "-r, --regex"]),
        ("spec", "write a default config.json", "", ["-b, --bundle DIR", "--rootless"]), ("features", "print what this runtime supports", "", []),
        ("checkpoint", "not supported: no CRIU", "CONTAINER", []), ("restore", "not supported: no CRIU", "CONTAINER", []),
        ("monitor", "supervise one container of the engine (internal)", "", []),
    ]

    private static let bundle = [
        "-b, --bundle DIR", "-f, --config FILE", "--pid-file FILE", "--console-socket SOCKET", "--pidfd-socket SOCKET", "--preserve-fds N",
        "--no-pivot", "--no-new-keyring",
    ]

    /// nil for a command that nobody needs to know of.
    static func of(_ command: String) -> String? {
        guard let row = table.first(where: { $0.name == command }) else { return nil }
        let words = [program, "[OPTION...]", command, row.operands].filter { !$0.isEmpty }
        let options = row.options.isEmpty ? "" : "\nOPTIONS:\n" + row.options.map { "   \($0)\n" }.joined()
        return "NAME:\n   \(program) \(command) - \(row.summary)\n\nUsage: \(words.joined(separator: " "))\n" + options
    }

    static var ofProgram: String {
        let commands = table.map { "   \($0.name)" + String(repeating: " ", count: 12 - $0.name.count) + $0.summary + "\n" }.joined()
        return """
            NAME:
               \(program) - Open Container Initiative runtime, and the monitor of Coffer's containers

            Usage: \(program) [OPTION...] COMMAND [OPTION...] [ARGUMENT...]

            COMMANDS:
            \(commands)
            GLOBAL OPTIONS:
               --root DIR             directory for state (default: /run/coffer-runtime, or below $XDG_RUNTIME_DIR)
               --log FILE             write errors there too
               --log-format FORMAT    text or json
               --debug                write what is done there too, or to stderr
               --log-level LEVEL      the same with "debug" or "trace"
               --cgroup-manager NAME  cgroupfs, systemd or disabled
               --systemd-cgroup       systemd makes the control groups
               --rootless VALUE       accepted as other runtimes do
               --version, --help

            """
    }
}
