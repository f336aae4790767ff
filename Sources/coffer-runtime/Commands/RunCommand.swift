import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel

/// The options that `create` and `run` share.
enum BundleCommand {
    static let table: [String: Bool] = [
        "bundle": true, "config": true, "pid-file": true, "no-pivot": false, "no-new-keyring": false, "preserve-fds": true,
        "console-socket": true, "no-subreaper": false, "pidfd-socket": true,
    ]
    static let aliases = ["b": "bundle", "f": "config"]

    static func options(_ options: ParsedOptions, _ global: GlobalOptions) throws -> BundleOptions {
        var result = BundleOptions(bundle: try absolute(options.value("bundle") ?? "."))
        if let path = options.value("config") { result.configuration = path.contains("/") ? try absolute(path) : path }
        result.pidFile = options.value("pid-file")
        result.consoleSocket = try options.value("console-socket").map(absolute)
        result.pidfdSocket = try options.value("pidfd-socket").map(absolute)
        result.noPivot = options.isSet("no-pivot")
        result.noNewKeyring = options.isSet("no-new-keyring")
        result.filterCache = try FilterCache.directory(global)
        result.withoutGroups = global.withoutGroups
        result.preference = global.groups
        (result.preservedDescriptors, result.socketActivation) = try PreservedDescriptors.take(options.value("preserve-fds"))
        return result
    }

    static func absolute(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else { throw KernelError.last("realpath", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// `create [-b DIR] [--console-socket PATH] [--pid-file FILE] ID`
enum CreateCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, BundleCommand.table, aliases: BundleCommand.aliases)
        let directory = try global.container(options)
        try options.expectOperands(1)
        var launch = try BundleLaunch(directory, try BundleCommand.options(options, global), requiresProcess: false)
        launch.warn = RuntimeLog.warn
        launch.log = RuntimeLog.log
        try launch.create()
        return 0
    }
}

/// `run [-b DIR] [-f FILE] [--pid-file FILE] [--console-socket PATH] [--keep] [-d] ID`
enum RunCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let table = BundleCommand.table.merging(["detach": false, "keep": false]) { $1 }
        let options = try ParsedOptions(arguments, table, aliases: BundleCommand.aliases.merging(["d": "detach"]) { $1 })
        let directory = try global.container(options)
        try options.expectOperands(1)
        var launch = try BundleLaunch(directory, try BundleCommand.options(options, global), requiresProcess: true)
        launch.warn = RuntimeLog.warn
        launch.log = RuntimeLog.log
        return try launch.run(detach: options.isSet("detach"), keep: options.isSet("keep"))
    }
}

/// `start ID`
enum StartCommand {
    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, [:])
        let directory = try global.container(options)
        try options.expectOperands(1)
        try ContainerStart(directory).run(RuntimeLog.warn)
        return 0
    }
}

/// Descriptors that the caller hands to the payload: `--preserve-fds`, and those of socket activation (sd_listen_fds(3)).
enum PreservedDescriptors {
    /// To be called before this program opens anything that stays open.
    static func take(_ given: String?) throws -> (all: [Int32], sockets: Int32) {
        var count: Int32 = 0
        if let given {
            guard let number = Int32(given), (0...1024).contains(number) else {
                throw OptionError("--preserve-fds \(given) is not a number of descriptors")
            }
            count = number
        }
        var sockets: Int32 = 0
        if let text = getenv("LISTEN_FDS").map({ String(cString: $0) }), !text.isEmpty {
            guard let number = Int32(text), (0...1024).contains(number) else {
                throw OptionError("LISTEN_FDS=\(text) is not a number of descriptors")
            }
            sockets = number
        }
        let wanted = 3..<(3 + count + sockets)
        let open = wanted.filter { fcntl($0, F_GETFD) != -1 }
        let closed = wanted.filter { !open.contains($0) }
        // What this program opens would take the places of those that the caller has not opened, and reach the payload (CVE-2024-21626).
        try occupy(closed, above: 3 + count + sockets)
        if let first = closed.first, let last = closed.last {
            RuntimeLog.warn("of the descriptors to be preserved, \(closed.count) from \(first) to \(last) are not open")
        }
        return (open, sockets)
    }

    /// Closed by execve, and not among those that are passed on.
    private static func occupy(_ descriptors: [Int32], above end: Int32) throws {
        if descriptors.isEmpty { return }
        let null = try FileDescriptor.open("/dev/null", O_RDWR)
        let raw = null.rawValue
        let source = FileDescriptor(owning: try retrying("fcntl", "F_DUPFD_CLOEXEC") { fcntl(raw, F_DUPFD_CLOEXEC, end) })
        try null.close()
        let high = source.rawValue
        for descriptor in descriptors { try retrying("fcntl", "F_DUPFD_CLOEXEC") { fcntl(high, F_DUPFD_CLOEXEC, descriptor) } }
    }
}

/// Where compiled filters are kept.
enum FilterCache {
    static func directory(_ global: GlobalOptions) throws -> String? {
        let path = try global.root() + "/.filters"
        if access(path, W_OK) == 0 { return path }
        var current = ""
        for component in path.split(separator: "/") {
            current += "/" + component
            if mkdir(current, 0o700) != 0 && errno != EEXIST { throw KernelError.last("mkdir", current) }
        }
        return path
    }
}
