import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// The process that extracts one layer and can reach nothing else (rule R11): `internal unpack REQUEST`.
///
/// Descriptors: 3 the socket to the parent, 4 the layer's directory, 5 the uncompressed archive. It sends one message: an
/// `UnpackAnswer` as JSON.
enum UnpackSandbox {
    private static let directoryDescriptor: Int32 = 4
    private static let streamDescriptor: Int32 = 5

    private struct Request: Codable {
        var ids: ImageIDs
        var limits: UnpackLimits
        var algorithm: String
    }

    private struct Answer: Codable {
        var report: UnpackReport?
        var failure: UnpackFailure?
    }

    // MARK: The parent's half

    static func arguments(ids: ImageIDs, limits: UnpackLimits, algorithm: Digest.Algorithm) throws -> [String] {
        let request = Request(ids: ids, limits: limits, algorithm: algorithm.rawValue)
        return ["internal", "unpack", String(decoding: try StrictJSONEncoder().encode(request), as: UTF8.self)]
    }

    /// Reads the answer; what it says is the sandbox's, which had hostile input.
    static func decode(_ message: [UInt8]) throws -> Result<UnpackReport, UnpackFailure> {
        let answer = try StrictJSONDecoder.rejectUnknownKeys.decode(Answer.self, from: message)
        if let report = answer.report { return .success(report) }
        return .failure(answer.failure ?? UnpackFailure("the extracting process gave no answer"))
    }

    // MARK: The child's half

    /// Extracts, and answers. - Returns: the exit status.
    static func main(_ text: String) throws -> Int32 {
        let request = try StrictJSONDecoder.rejectUnknownKeys.decode(Request.self, from: Array(text.utf8))
        guard let algorithm = Digest.Algorithm(rawValue: request.algorithm) else { throw UnpackFailure("unknown algorithm") }
        let answer: Answer
        do {
            let root = try enter()
            answer = Answer(report: try extract(request, algorithm, into: root), failure: nil)
        } catch let failure as UnpackFailure {
            answer = Answer(report: nil, failure: failure)
        } catch let error as KernelError {
            answer = Answer(report: nil, failure: UnpackFailure("\(error)", errno: error.errno))
        }
        let socket = FileDescriptor(owning: OwnerNamespace.socketDescriptor)
        try socket.sendMessage(try StrictJSONEncoder().encode(answer))
        return answer.report == nil ? 1 : 0
    }

    private static func extract(_ request: Request, _ algorithm: Digest.Algorithm, into root: consuming FileDescriptor) throws -> UnpackReport {
        let source = ByteSource(streamDescriptor, hashing: algorithm, limit: request.limits.streamBytes)
        return try LayerTree.extract(source, into: root, ids: request.ids, limits: request.limits)
    }

    /// A parent that is killed gives up its claim on the directory: nothing may be written there from then on. The change of
    /// identity in `OwnerNamespace.enter` would take the signal back, so it is set after that.
    private static func endWithParent() throws {
        try Credentials.setParentDeathSignal(SIGKILL)
        var peer = pollfd(fd: OwnerNamespace.socketDescriptor, events: 0, revents: 0)
        try retrying("poll") { poll(&peer, 1, 0) }
        if Int32(peer.revents) & POLLHUP != 0 { throw UnpackFailure("the parent process has ended") }
    }

    /// Makes the sandbox around this process. - Returns: the layer's directory, which is now its root.
    private static func enter() throws -> FileDescriptor {
        // The working directory moves along into the new mount namespace; the descriptor would stay in the old one.
        try retrying("fchdir") { fchdir(directoryDescriptor) }
        try OwnerNamespace.enter(with: [.mount, .network, .ipc, .uts])
        try endWithParent()
        try Mounts.setPropagation(.private)
        let here = try FileDescriptor.open(".", RootDirectory.pathOnly | O_DIRECTORY)
        let tree = try Mounts.cloneTree(path: ".", recursive: false)
        try Mounts.setAttributes(tree, set: [.noSetuid, .noDevices, .noExecute], recursive: false)
        try Mounts.attach(tree, on: here)
        let treeDescriptor = tree.rawValue
        try retrying("fchdir") { fchdir(treeDescriptor) }
        try Mounts.pivotToWorkingDirectory()
        // Everything that still refers to the host's tree goes: descriptor 4 above all.
        try retrying("dup2") { dup2(streamDescriptor, directoryDescriptor) }
        try retrying("dup2") { dup2(directoryDescriptor, streamDescriptor) }
        let root = try FileDescriptor.open("/", O_RDONLY | O_DIRECTORY)
        try SandboxRestriction.unpack.apply(root: root)
        return root
    }
}

extension LayerTree {
    /// Extracts a whole archive. - Parameter root: the layer's directory, empty.
    static func extract(
        _ source: ByteSource, into root: consuming FileDescriptor, ids: ImageIDs, limits: UnpackLimits
    ) throws -> UnpackReport {
        let tree = try LayerTree(root, ids: ids, limits: limits)
        let reader = TarReader(source, limits: limits)
        while let entry = try reader.next() { try tree.add(entry, from: reader) }
        try tree.finish()
        guard let diffID = source.digest() else { throw UnpackFailure("the archive was not hashed") }
        return UnpackReport(
            diffID: diffID, bytes: tree.bytes, entries: reader.entries, droppedDevices: tree.droppedDevices,
            droppedAttributes: tree.droppedAttributes)
    }
}
