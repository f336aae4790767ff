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
        let details = try ContainerDetails(decoding: container.record.details, of: name)
        guard let spec = try BundleFiles.load(ProcessDocument.self, container.directory.config) else {
            throw EngineError("container \(name) has no config.json", remedy: "remove it: coffer rm -f \(name)", code: .failure)
        }
        let user = request.user ?? details.user
        let process = try JSONBytes.encode(Self.process(request, details, spec, user))
        let runtime = try RuntimeProgram.locate(environment)
        var arguments = ["coffer-runtime", "exec", "--state", container.directory.state, "--process", "3"]
        if request.terminal { arguments.append("--tty") }
        if request.interactive { arguments.append("--interactive") }
        if request.detached { arguments.append("--detach") }
        if !user.isEmpty { arguments += ["--user-spec", user] }
        do {
            let file = try Self.sealed(process)
            if request.detached {
                let child = try SpawnedProcess.start(runtime, arguments, descriptors: [nil, nil, 2, file.rawValue])
                if try child.wait() != .exited(0) { throw EngineError("the program could not be started", code: .notExecutable) }
                return
            }
            try Self.become(runtime, arguments, handing: file)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(runtime) cannot be started: \(error)")
        }
    }

    /// The container's own process with another program: everything that confines it stays.
    private static func process(
        _ request: ExecRequest, _ details: ContainerDetails, _ spec: ProcessDocument, _ user: String
    ) -> RuntimeSpec.Process {
        var process = spec.process ?? RuntimeSpec.Process(cwd: "/")
        process.args = request.command
        process.env = Environment.merged(details.environment, request.terminal ? ["TERM=xterm"] : [], request.environment)
        process.cwd = request.workingDirectory ?? details.workingDirectory
        process.terminal = request.terminal
        process.consoleSize = request.terminal ? TerminalWindow.size(of: 0).map { .init(height: $0.rows, width: $0.columns) } : nil
        if request.user != nil { process.forUser(user, bounding: spec.process?.capabilities?.bounding ?? []) }
        return process
    }

    /// A file without a name that nobody can change (memfd_create(2)): nothing of an exec touches the disk.
    private static func sealed(_ bytes: [UInt8]) throws(KernelError) -> FileDescriptor {
        let file = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("process", 1) })
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

/// What `exec` wants to know of config.json. The runtime reads all of it.
private struct ProcessDocument: Decodable {
    var process: RuntimeSpec.Process?
}

extension RuntimeSpec.Process {
    /// Makes this the process of another user: root has the container's whole set, anybody else nothing but the bound.
    ///
    /// A name counts as an ordinary user until the runtime has looked it up: fewer capabilities than meant, never more.
    mutating func forUser(_ text: String, bounding: [String]) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let name = parts.first.map(String.init) ?? ""
        let isRoot = name == "root" || UInt32(name) == 0
        user = RuntimeSpec.User(
            uid: UInt32(name) ?? (isRoot ? 0 : 1), gid: parts.count > 1 ? UInt32(parts[1]) ?? 0 : 0, umask: user?.umask,
            additionalGids: user?.additionalGids)
        capabilities = RuntimeSpec.Capabilities(
            bounding: bounding, effective: isRoot ? bounding : [], inheritable: [], permitted: isRoot ? bounding : [], ambient: [])
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
