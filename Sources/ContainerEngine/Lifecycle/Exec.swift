import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// A further program in a running container.
public struct ExecRequest: Sendable {
    public var command: [String]
    public var terminal = false
    public var interactive = false
    public var detached = false
    /// "NAME=VALUE", resolved.
    public var environment: [String] = []
    public var workingDirectory: String?
    /// As written; nil is the container's own user.
    public var user: String?
    public var privileged = false

    public init(command: [String]) { self.command = command }
}

extension Engine {
    /// `exec`: this program becomes `coffer-runtime exec`, which relays the streams and ends with the program's exit code;
    /// detached, it is started beside.
    ///
    /// - Throws: `EngineError`; returns only when detached.
    public func exec(_ reference: String, _ request: ExecRequest) throws(EngineError) {
        let container = try intactContainer(reference)
        let name = container.record.name
        guard case .running(_, let paused) = container.status else {
            throw EngineError("container \(container.record.id) is not running", code: .failure)
        }
        if paused { throw EngineError("Container \(name) is paused, unpause the container before exec", code: .failure) }
        if request.privileged {
            throw EngineError(
                "exec --privileged is refused: it would give the program more than its container has",
                remedy: "run a container that has what it needs", code: .engine)
        }
        let runtime = try RuntimeProgram.locate(environment)
        do {
            // Its values may be secrets, and everybody sees a process's arguments (proc_pid_cmdline(5)).
            let variables = try Self.sealed(request.environment.flatMap { Array($0.utf8) + [0] })
            let arguments = Self.arguments(request, state: container.directory.state)
            if request.detached {
                let child = try SpawnedProcess.start(runtime, arguments, descriptors: [nil, nil, 2, variables.rawValue])
                if try child.wait() != .exited(0) { throw EngineError("the program could not be started", code: .notExecutable) }
                return
            }
            try Self.become(runtime, arguments, handing: variables)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(runtime) cannot be started: \(error)")
        }
    }

    /// What differs from the container's own process, which the runtime knows; the variables are in descriptor 3.
    private static func arguments(_ request: ExecRequest, state: String) -> [String] {
        var arguments = ["coffer-runtime", "exec", "--state", state, "--env-fd", "3"]
        if request.terminal { arguments.append("--tty") }
        if request.interactive { arguments.append("--interactive") }
        if request.detached { arguments.append("--detach") }
        if let user = request.user, !user.isEmpty { arguments += ["--user-spec", user] }
        if let directory = request.workingDirectory { arguments += ["--cwd", directory] }
        return arguments + ["--"] + request.command
    }

    /// A file without a name that nobody can change (memfd_create(2)): nothing of an exec touches the disk.
    private static func sealed(_ bytes: [UInt8]) throws(KernelError) -> FileDescriptor {
        let file = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("environment", 1) })
        try file.writeAll(bytes)
        let raw = file.rawValue
        try retrying("lseek") { lseek(raw, 0, SEEK_SET) }
        return file
    }

    /// execve(2) with `file` as descriptor 3 and nothing above it.
    private static func become(_ program: String, _ arguments: [String], handing file: borrowing FileDescriptor) throws(KernelError) {
        let raw = file.rawValue
        if raw == 3 {
            try retrying("fcntl") { cl_fcntl(3, F_SETFD, 0) }
        } else {
            try retrying("dup2") { dup2(raw, 3) }
        }
        try closeDescriptors(from: 4, onExecOnly: true)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        execv(program, argv)
        throw .last("execve", program)
    }
}

/// JSON documents of this room, with its errors.
enum JSONBytes {
    static func encode(_ value: some Encodable) throws(EngineError) -> [UInt8] {
        do {
            return try StrictJSONEncoder().encode(value)
        } catch {
            throw EngineError("a document cannot be written: \(error)")
        }
    }
}
