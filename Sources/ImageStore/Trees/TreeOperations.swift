import Glibc
import LinuxKernel
import StrictJSON

/// What the engine does to containers' trees, whose files belong to subordinate IDs.
///
/// As root the work is done at once; for a user it is done by `internal tree …` in the owner namespace. Trees are named by a
/// host path of the engine's own, whose last component may be of hostile content, but is never followed when it is a link.
public struct TreeOperations: Sendable {
    let program: String

    public init(program: String = "/proc/self/exe") { self.program = program }

    /// Removes a tree. What does not exist is no error.
    public func remove(_ path: String) throws {
        do {
            // What belongs to the user needs no namespace: it also goes where none can be had.
            try TreeProgram.perform(.remove(path: path))
        } catch let error as KernelError where geteuid() != 0 && [EACCES, EPERM, ENOTEMPTY].contains(error.errno) {
            try perform(.remove(path: path))
        }
    }

    /// Makes an upper and a work directory for an overlay (mode 0755 and 0700) that belong to one ID of the host.
    ///
    /// - Parameters:
    ///   - owner: the ID as the owner namespace counts: rootless the container root's ID in M, as root the ID itself.
    ///   - files: existing files that get the same owner.
    public func makeOverlayDirectories(_ directories: [String], owner: UInt32, giving files: [String] = []) throws {
        try perform(.makeDirectories(paths: directories, owner: owner, files: files))
    }

    /// Bytes that a tree occupies on disk; a file with several names counts once.
    public func diskUsage(_ path: String) throws -> Int64 {
        try perform(.usage(path: path)).bytes ?? 0
    }

    /// What an overlay's upper directory changes against its lower directories, sorted by path.
    ///
    /// - Parameter lowers: lower directories, top first.
    public func changes(upper: String, lowers: [String]) throws -> [TreeChange] {
        try perform(.changes(upper: upper, lowers: lowers)).changes ?? []
    }

    @discardableResult
    private func perform(_ request: TreeRequest) throws -> TreeAnswer {
        let namespace = try OwnerNamespace.forTrees()
        guard let maps = namespace.maps else { return try TreeProgram.perform(request) }
        let text = String(decoding: try StrictJSONEncoder().encode(request), as: UTF8.self)
        let (readEnd, writeEnd) = try makePipe()
        let output = FileDescriptor(owning: readEnd)
        let input = FileDescriptor(owning: writeEnd)
        let child = try namespace.start(program: program, ["internal", "tree", text], standardOutput: input.rawValue)
        try input.close()
        try child.completeMaps(maps)
        let bytes = try output.readAll(limit: 256 << 20)
        let end = try child.process.wait()
        guard end == .exited(0) else {
            throw ImageStoreError.system(KernelError(call: "internal tree", errno: EIO, subject: "\(request)"), doing: "change a container's files")
        }
        let answer = try StrictJSONDecoder.rejectUnknownKeys.decode(TreeAnswer.self, from: bytes)
        if let error = answer.error {
            throw ImageStoreError.failed(KernelError(call: error.call, errno: error.errno, subject: error.subject), "change a container's files")
        }
        return answer
    }
}

/// One path that differs from the image.
public struct TreeChange: Codable, Sendable, Equatable, Comparable {
    public enum Kind: String, Codable, Sendable { case changed = "C", added = "A", deleted = "D" }
    public let kind: Kind
    /// Absolute, as the container sees it. Bytes that are no UTF-8 appear as U+FFFD.
    public let path: String

    public init(kind: Kind, path: String) {
        self.kind = kind
        self.path = path
    }

    public static func < (left: TreeChange, right: TreeChange) -> Bool { left.path < right.path }
}

enum TreeRequest: Codable, Sendable {
    case remove(path: String)
    case makeDirectories(paths: [String], owner: UInt32, files: [String])
    case usage(path: String)
    case changes(upper: String, lowers: [String])
}

struct TreeAnswer: Codable, Sendable {
    struct Failure: Codable, Sendable {
        var call: String
        var errno: Int32
        var subject: String
    }
    var bytes: Int64?
    var changes: [TreeChange]?
    var error: Failure?
}

/// The owner namespace's half.
enum TreeProgram {
    /// - Returns: the exit status.
    static func main(_ arguments: [String]) throws -> Int32 {
        try OwnerNamespace.enter()
        let request = try StrictJSONDecoder.rejectUnknownKeys.decode(TreeRequest.self, from: Array(arguments[0].utf8))
        var answer = TreeAnswer()
        do {
            answer = try perform(request)
        } catch let error as KernelError {
            answer.error = .init(call: error.call, errno: error.errno, subject: error.subject)
        }
        let output = FileDescriptor(owning: 1)
        try output.writeAll(try StrictJSONEncoder().encode(answer))
        try output.close()
        return 0
    }

    @discardableResult
    static func perform(_ request: TreeRequest) throws -> TreeAnswer {
        switch request {
        case .remove(let path): try remove(path)
        case .makeDirectories(let paths, let owner, let files):
            try makeDirectories(paths, owner)
            for file in files { try give(file, to: owner) }
        case .usage(let path): return TreeAnswer(bytes: try TreeUsage.bytes(of: try openDirectory(path)))
        case .changes(let upper, let lowers): return TreeAnswer(changes: try UpperChanges.list(upper: upper, lowers: lowers))
        }
        return TreeAnswer()
    }

    private static func remove(_ path: String) throws(KernelError) {
        let place: TreePlace
        do {
            place = try TreePlace(path)
        } catch  where error.errno == ENOENT {
            return
        }
        do {
            try TreeRemoval.remove(place.name, in: place.parent.rawValue)
        } catch {
            throw KernelError(call: error.call, errno: error.errno, subject: path)
        }
    }

    private static func makeDirectories(_ paths: [String], _ owner: UInt32) throws(KernelError) {
        for path in paths {
            let place = try TreePlace(path)
            let (parent, name) = (place.parent.rawValue, place.name)
            try retrying("mkdirat", path) { mkdirat(parent, name, 0o755) }
            let directory = FileDescriptor(
                owning: try retrying("openat", path) { openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
            let raw = directory.rawValue
            try retrying("fchown", path) { fchown(raw, owner, owner) }
        }
    }

    private static func give(_ path: String, to owner: UInt32) throws(KernelError) {
        let place = try TreePlace(path)
        let (parent, name) = (place.parent.rawValue, place.name)
        try retrying("fchownat", path) { fchownat(parent, name, owner, owner, AT_SYMLINK_NOFOLLOW) }
    }

    static func openDirectory(_ path: String) throws(KernelError) -> FileDescriptor {
        try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    }
}

/// A host path of the engine's own as the directory that holds it and a name in there.
private struct TreePlace: ~Copyable {
    let parent: FileDescriptor
    let name: [CChar]

    init(_ path: String) throws(KernelError) {
        guard let slash = path.lastIndex(of: "/"), path.hasPrefix("/"), slash < path.index(before: path.endIndex) else {
            throw KernelError(call: "openat", errno: EINVAL, subject: path)
        }
        parent = try TreeProgram.openDirectory(slash == path.startIndex ? "/" : String(path[..<slash]))
        name = cString(path[path.index(after: slash)...].utf8)
    }
}
