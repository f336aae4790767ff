import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// The version that all programs print.
public enum RuntimeVersion {
    public static let current = "0.1.0"
    /// Of the sources that the program was built from; "unknown" where Scripts/build has not written it down.
    public static var commit: String { String(cString: cl_build_commit()) }
}

/// Time as logs want it.
public enum RuntimeClock {
    /// RFC 3339, UTC.
    public static func now() -> String { Timestamp.now() }
    /// Nanoseconds since the epoch.
    public static func nanoseconds() -> Int64 { Timestamp.nanoseconds() }
}

/// What the runtime keeps about a container that was started by its own command line (not by Coffer's engine).
public struct ContainerRecord: Codable, Sendable, Equatable {
    public var id: String
    /// Absolute path.
    public var bundle: String
    /// RFC 3339.
    public var created: String
    /// The user that made it.
    public var owner: UInt32
    /// `pid` is 0 until there is a process; while it is, `monitorPid` is the process that creates the container.
    public var state: RuntimeState
    /// The group below each hierarchy's root, so that a creation that was killed can be cleaned up after; nil where there is none.
    public var groupPath: String?
    /// Of the configuration, for `state`.
    public var ociVersion: String
    /// The root of a container that has no mount namespace.
    public var hostMount: HostMount?

    public init(id: String, bundle: String, created: String, owner: UInt32, state: RuntimeState, groupPath: String?, ociVersion: String) {
        self.id = id
        self.bundle = bundle
        self.created = created
        self.owner = owner
        self.state = state
        self.groupPath = groupPath
        self.ociVersion = ociVersion
    }
}

/// ROOT/ID of one container.
public struct ContainerDirectory: Sendable {
    public let root: String
    public let id: String
    public var path: String { "\(root)/\(id)" }

    public init(root: String, id: String) {
        self.root = root
        self.id = id
    }

    /// An ID becomes a file name: letters, digits, `_ + - .`, not `.` or `..`, as runc has it.
    public static func checked(_ id: String) throws -> String {
        let stranger = id.first { !($0.isASCII && ($0.isLetter || $0.isNumber)) && !"_+-.".contains($0) }
        if let stranger { throw PlanError("invalid container ID format: \(id): invalid character `\(stranger)` in the ID") }
        guard !id.isEmpty, id != ".", id != "..", id.utf8.count <= 1024 else {
            throw PlanError("invalid container ID format: \(id)")
        }
        return id
    }

    /// The control group of a container whose configuration names none.
    static func ownGroup(_ id: String) -> String { "/coffer/\(id)" }

    /// Makes the directory; an existing one belongs to another container.
    public func create() throws {
        var current = ""
        for component in root.split(separator: "/") {
            current += "/" + component
            if mkdir(current, 0o700) != 0 && errno != EEXIST { throw KernelError.last("mkdir", current) }
        }
        if mkdir(path, 0o700) != 0 {
            if errno == EEXIST { throw PlanError("container with id exists: \(id)") }
            throw KernelError.last("mkdir", path)
        }
    }

    public func store(_ record: ContainerRecord) throws {
        try replaceFile("\(path)/state.json", with: try StrictJSONEncoder().encode(record))
    }

    public func load() throws -> ContainerRecord {
        do {
            return try StrictJSONDecoder().decode(ContainerRecord.self, from: try readFile("\(path)/state.json"))
        } catch let error as KernelError where error.errno == ENOENT || error.errno == ENOTDIR {
            throw NoSuchContainer(id: id)
        } catch  where !(error is KernelError) {
            throw UnreadableState(path: "\(path)/state.json", reason: "\(error)")
        }
    }

    /// What the container is doing, by the kernel's word.
    public func status(of record: ContainerRecord) throws -> RuntimeContainerState.Status {
        if record.state.pid == 0 {
            let creator = try Processes.entry(of: record.state.monitorPid)
            return creator?.startTicks == record.state.monitorStartTicks && creator?.hasEnded == false ? .creating : .stopped
        }
        guard let process = try Processes.entry(of: record.state.pid), process.startTicks == record.state.pidStartTicks, !process.hasEnded
        else { return .stopped }
        // The name is the process's own until its execve; a `start` that was killed after it leaves the socket behind.
        if process.name == ContainerInit.processName, awaitsStart { return .created }
        return try CgroupDirectories.isFrozen(record.state.cgroupPaths) ? .paused : .running
    }

    /// The directory itself, for what lies in it under short names.
    public func open() throws(KernelError) -> FileDescriptor {
        try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY)
    }

    /// Where `start` reaches the container's first process. There only while the container is created and not started.
    public static let startSocket = "start.sock"

    /// Whether `create` was there and `start` was not.
    public var awaitsStart: Bool { access("\(path)/\(Self.startSocket)", F_OK) == 0 }

    public func removeStartSocket() throws(KernelError) {
        if unlink("\(path)/\(Self.startSocket)") != 0 && errno != ENOENT { throw .last("unlink", Self.startSocket) }
    }

    /// Keeps the configuration: what happens to the bundle's after `create` has no effect (runtime-spec, "Lifecycle").
    public func keep(_ configuration: [UInt8]) throws { try replaceFile("\(path)/\(RuntimeSpec.fileName)", with: configuration) }

    /// The kept configuration, and Coffer's own extension from the bundle.
    public func configuration(_ record: ContainerRecord, part: Bundle.Part = .whole) throws -> (spec: RuntimeSpec, ext: BundleExtension?) {
        try Bundle.read(directory: record.bundle, configuration: "\(path)/\(RuntimeSpec.fileName)", part: part)
    }

    /// Removes the record. What is gone already is no error.
    public func remove() throws {
        try ServiceNotification.remove(self)
        let names = ["state.json", RuntimeSpec.fileName].flatMap { [$0 + ".new", $0] } + [Self.startSocket]
        for name in names where unlink("\(path)/\(name)") != 0 && errno != ENOENT {
            throw KernelError.last("unlink", "\(path)/\(name)")
        }
        if rmdir(path) != 0 && errno != ENOENT { throw KernelError.last("rmdir", path) }
    }

    /// All containers below a root.
    public static func all(root: String) throws -> [ContainerDirectory] {
        guard let stream = opendir(root) else {
            if errno == ENOENT { return [] }
            throw KernelError.last("opendir", root)
        }
        defer { closedir(stream) }
        var result: [ContainerDirectory] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix(".") || access("\(root)/\(name)/state.json", F_OK) != 0 { continue }
            result.append(ContainerDirectory(root: root, id: name))
        }
        return result.sorted { $0.id < $1.id }
    }
}

/// There is no container of this name.
public struct NoSuchContainer: Error, Sendable, CustomStringConvertible {
    public let id: String
    public var description: String { "container does not exist: \(id)" }
}

/// A record that is damaged: what the container is doing cannot be known.
public struct UnreadableState: Error, Sendable, CustomStringConvertible {
    let path: String
    let reason: String
    public var description: String { "the container's state is damaged: \(path): \(reason)" }
}

/// Writes to descriptor 2, unbuffered. An error here has nowhere to go.
public func writeStandardError(_ text: String) {
    let bytes = Array(text.utf8)
    var offset = 0
    while offset < bytes.count {
        let count = bytes.withUnsafeBytes { write(2, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
        if count < 0 && errno != EINTR { return }
        offset += max(count, 0)
    }
}
