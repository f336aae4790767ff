import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// `exec [--process FILE] [-t] [-d] [-u USER] [-e K=V] [--cwd DIR] ID [PROGRAM …]`, or the engine's form with `--state FILE`.
enum ExecCommand {
    private static let table: [String: Bool] = [
        "process": true, "tty": false, "detach": false, "user": true, "env": true, "cwd": true, "pid-file": true, "state": true,
        "interactive": false, "user-spec": true,
    ]

    static func run(_ arguments: [String], _ global: GlobalOptions) throws -> Int32 {
        let options = try ParsedOptions(
            arguments, table, aliases: ["p": "process", "t": "tty", "d": "detach", "u": "user", "e": "env", "i": "interactive"],
            stopsAtOperand: true)
        let bundle: String
        let state: RuntimeState
        var filters: String?
        if let path = options.value("state") {
            state = try StrictJSONDecoder().decode(RuntimeState.self, from: try readFile(path))
            bundle = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            filters = access(bundle + "/../../cache", W_OK) == 0 ? bundle + "/../../cache" : nil
        } else {
            let record = try ContainerDirectory(root: global.root, id: try options.containerID()).load()
            (state, bundle) = (record.state, record.bundle)
            filters = try FilterCache.directory(global)
        }
        let (spec, ext) = try Bundle.read(directory: bundle)
        try ProgramSeal.apply(for: spec)
        let process = try process(options, spec)
        let session = ExecSession(
            state: state, spec: spec, ext: ext, process: process, userSpec: options.value("user-spec"),
            detach: options.isSet("detach"), interactive: options.value("state") == nil || options.isSet("interactive"),
            filterCache: filters, pidFile: options.value("pid-file"))
        return try session.run()
    }

    private static func process(_ options: ParsedOptions, _ spec: RuntimeSpec) throws -> RuntimeSpec.Process {
        var process: RuntimeSpec.Process
        if let source = options.value("process") {
            // A number is a descriptor that the engine has handed down: nothing is written to disk for an exec.
            let bytes: [UInt8]
            if let descriptor = Int32(source), descriptor > 2 {
                bytes = try FileDescriptor(owning: descriptor).readAll(limit: 4 << 20)
            } else {
                bytes = try readFile(source, limit: 4 << 20)
            }
            process = try StrictJSONDecoder().decode(RuntimeSpec.Process.self, from: bytes)
        } else {
            guard let base = spec.process else { throw OptionError("config.json has no process") }
            process = base
            process.args = Array(options.operands.dropFirst())
            process.terminal = false
            if process.args?.isEmpty ?? true { throw OptionError("exec needs a program") }
        }
        if options.isSet("tty") { process.terminal = true }
        process.env = (process.env ?? []) + (options.values["env"] ?? [])
        if let cwd = options.value("cwd") { process.cwd = cwd }
        if let user = options.value("user") {
            // Digits alone: UInt32 takes a sign, and a prefix that is a number is not one (CVE-2026-30892).
            let parts = user.split(separator: ":", omittingEmptySubsequences: false).map { $0.allSatisfy(\.isNumber) ? UInt32($0) : nil }
            guard let uid = parts.first ?? nil, parts.count < 3, !parts.contains(nil) else {
                throw OptionError("--user \(user) is not UID[:GID]")
            }
            process.user = RuntimeSpec.User(uid: uid, gid: (parts.count > 1 ? parts[1] : nil) ?? process.user?.gid ?? 0)
        }
        return process
    }
}
