import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel

/// `run [-b DIR] [-f FILE] [--pid-file FILE] [-d] ID`
enum RunCommand {
    private static let table: [String: Bool] = [
        "bundle": true, "config": true, "pid-file": true, "detach": false, "no-pivot": false, "no-new-keyring": false,
        "keep": false, "preserve-fds": true, "console-socket": true, "no-subreaper": false,
    ]

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(arguments, table, aliases: ["b": "bundle", "f": "config", "d": "detach"])
        for name in ["no-pivot", "console-socket", "preserve-fds", "keep"] where options.value(name) != nil && options.value(name) != "0" {
            throw OptionError("--\(name) is not supported yet")
        }
        let id = try options.containerID()
        let bundle = try absolute(options.value("bundle") ?? ".")
        let run = DirectRun(
            directory: ContainerDirectory(root: global.root, id: id), bundle: bundle,
            configuration: options.value("config") ?? "config.json", detach: options.isSet("detach"),
            pidFile: options.value("pid-file"), filterCache: try FilterCache.directory(global), preference: global.groups)
        return try run.run()
    }

    static func absolute(_ path: String) throws -> String {
        guard let resolved = realpath(path, nil) else { throw KernelError.last("realpath", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// Where compiled filters are kept.
enum FilterCache {
    static func directory(_ global: GlobalOptions) throws -> String? {
        let path = global.root + "/.filters"
        if access(path, W_OK) == 0 { return path }
        var current = ""
        for component in path.split(separator: "/") {
            current += "/" + component
            if mkdir(current, 0o700) != 0 && errno != EEXIST { throw KernelError.last("mkdir", current) }
        }
        return path
    }
}
