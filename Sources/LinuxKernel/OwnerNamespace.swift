import CLinux
import Glibc

/// The namespace M in which every ID of the user's own store is mapped.
///
/// A user's containers and layers belong to subordinate IDs, which the user alone may neither read nor remove. So whatever
/// touches them (extraction, `rm`, `cp`, `diff`) runs as a child program in a user namespace that maps 0 to the user and
/// 1… to the subordinate range. Root needs no such namespace, but its extraction runs in one with 0…65535 mapped to
/// themselves, where capabilities reach nothing else.
///
///     parent                                   child (this same program, `internal …`)
///     posix_spawn ───────────────────────────▶
///                                              unshare(CLONE_NEWUSER | …)
///            ◀──────────────── 'U' + errno (i32) ────
///     write uid_map, gid_map (newuidmap)
///     'M' ───────────────────────────────────▶
///                                              setgroups none, setresgid 0, setresuid 0
public struct OwnerNamespace: Sendable, Equatable {
    /// The maps that the child gets, or nil where it stays in the caller's namespace.
    public let maps: IDMaps?
    /// The ID of M that an image's own ID 0 has on disk: 0 for root, 1 for a user.
    public let imageIDOffset: UInt32

    /// The descriptor on which the child finds the socket to its parent.
    public static let socketDescriptor: Int32 = 3

    public init(maps: IDMaps?, imageIDOffset: UInt32) {
        self.maps = maps
        self.imageIDOffset = imageIDOffset
    }

    /// M of the invoking user, for operations on containers' trees. Root stays where it is: its containers' files belong
    /// to ranges all over the ID space.
    ///
    /// - Parameter userName: see `SubordinateIDs.ofInvokingUser`.
    public static func forTrees(userName: String? = nil) throws(IDMapError) -> OwnerNamespace {
        if geteuid() == 0 { return OwnerNamespace(maps: nil, imageIDOffset: 0) }
        return try rootless(userName)
    }

    /// The namespace for extracting layers, which hold an image's own IDs.
    public static func forLayers(userName: String? = nil) throws(IDMapError) -> OwnerNamespace {
        if geteuid() == 0 { return OwnerNamespace(maps: .identity(), imageIDOffset: 0) }
        return try rootless(userName)
    }

    private static func rootless(_ userName: String?) throws(IDMapError) -> OwnerNamespace {
        let subordinate = try SubordinateIDs.ofInvokingUser(userName: userName)
        return OwnerNamespace(maps: subordinate.ownerMaps(user: geteuid(), group: getegid()), imageIDOffset: 1)
    }

    /// How many of an image's IDs, from 0 on, have an ID on disk.
    public var imageIDCount: UInt32 {
        guard let maps else { return 65536 }
        let count = maps.contiguousCount
        return min(65536, count > imageIDOffset ? count - imageIDOffset : 0)
    }

    /// Starts a hidden subcommand of this very program in the namespace.
    ///
    /// - Parameters:
    ///   - program: what to run; the running program unless a test names another.
    ///   - arguments: what follows the program's name.
    ///   - descriptors: become the child's descriptors 4, 5, …
    ///   - standardInput: become the child's 0 and 1; nil is /dev/null.
    /// - Returns: the child, and this end of the socket that it has on descriptor 3.
    public func start(
        program: String = "/proc/self/exe", _ arguments: [String], descriptors: [Int32] = [],
        standardInput: Int32? = nil, standardOutput: Int32? = nil
    ) throws(IDMapError) -> OwnerNamespaceChild {
        do {
            var ends: [Int32] = [-1, -1]
            try retrying("socketpair") {
                socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends)
            }
            let ours = FileDescriptor(owning: ends[0])
            let theirs = FileDescriptor(owning: ends[1])
            let process = try SpawnedProcess.start(
                program, ["coffer"] + arguments,
                descriptors: [standardInput, standardOutput, 2, theirs.rawValue] + descriptors.map { $0 })
            try theirs.close()
            return OwnerNamespaceChild(process: process, socket: ours)
        } catch {
            throw .kernel(error)
        }
    }
}

/// A child that `OwnerNamespace.start` has started.
public struct OwnerNamespaceChild: ~Copyable {
    public let process: SpawnedProcess
    /// SOCK_SEQPACKET to the child's descriptor 3.
    public let socket: FileDescriptor

    /// Writes the child's maps once it has made its namespace. Needed only where the namespace has maps; a child that
    /// cannot be served is killed.
    public borrowing func completeMaps(_ maps: IDMaps) throws(IDMapError) {
        do {
            let report = try receive()
            guard report.count == 5, report[0] == UInt8(ascii: "U") else {
                throw IDMapError.kernel(KernelError(call: "recv", errno: EPROTO, subject: "the owner namespace's child"))
            }
            let number = report[1...].reversed().reduce(Int32(0)) { $0 << 8 | Int32($1) }
            if number != 0 { throw IDMapError.refusedNamespace(number) }
            try maps.write(to: process.pid)
            try send([UInt8(ascii: "M")])
        } catch {
            let reason = (error as? IDMapError) ?? .kernel((error as? KernelError) ?? KernelError(call: "recv", errno: EPROTO))
            do { try process.killAndWait() } catch { throw .kernel(error) }
            if case .kernel(let cause) = reason, cause.errno == EPERM || cause.errno == EACCES,
                IDMapError.isRestrictedByAppArmor
            {
                throw .restrictedByAppArmor
            }
            throw reason
        }
    }

    /// Sends one message.
    public borrowing func send(_ message: [UInt8]) throws(KernelError) {
        try retrying("send") { Glibc.send(socket.rawValue, message, message.count, Int32(MSG_NOSIGNAL)) }
    }

    /// The child's next message, at most 64 KiB; empty when the child has ended.
    public borrowing func receive() throws(KernelError) -> [UInt8] {
        try socket.read(upTo: 65536)
    }
}

extension OwnerNamespace {
    /// The child's half: makes the namespace, waits for its maps and becomes root in it.
    ///
    /// Call it first in `main` of a hidden subcommand, while the program has a single thread. Afterwards the process
    /// holds all capabilities inside the namespace and is not dumpable.
    ///
    /// - Parameter others: further namespaces to make in the same call.
    public static func enter(with others: [NamespaceKind] = []) throws(KernelError) {
        let result = cl_unshare(([.user] + others).cloneFlags)
        let number = result == 0 ? 0 : errno
        let socket = socketDescriptor
        let report = [UInt8(ascii: "U")] + (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
        try retrying("send") { Glibc.send(socket, report, report.count, Int32(MSG_NOSIGNAL)) }
        // Who started this process has been told, and says it to the user: one error, in one voice.
        if number != 0 { exit(125) }
        var answer: UInt8 = 0
        let length = try retrying("recv") { recv(socket, &answer, 1, 0) }
        guard length == 1, answer == UInt8(ascii: "M") else { throw KernelError(call: "recv", errno: EPROTO) }
        // The caller's groups must not linger: they have no ID in here and still grant access outside.
        try Credentials.assume(user: 0, group: 0, additionalGroups: [])
    }
}
