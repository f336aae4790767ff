import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// The birth of a process in namespaces that exist already. setns(2) puts only the caller's children into a pid namespace, and a user namespace
/// must be joined before the new ones are made, or they belong to another owner: a helper joins, and bears the process as its own sibling.
enum NamespaceJoining {
    /// A process in the namespaces behind these files, and in new ones.
    static func fork(joining files: [(kind: NamespaceKind, file: Int32)], into kinds: [NamespaceKind]) throws -> Processes.Fork {
        try fork(into: kinds) { try join(files) }
    }

    /// A process in another's namespaces, which setns(2) takes from a pidfd in the right order. The caller stays outside: it goes on to use
    /// paths, and those of a container are nothing to write a PID or a log to.
    static func fork(joining target: borrowing FileDescriptor, _ kinds: [NamespaceKind]) throws -> Processes.Fork {
        if kinds.isEmpty { return try Processes.fork() }
        let raw = target.rawValue
        return try fork(into: []) { try join(raw, kinds) }
    }

    /// Takes the pid namespace of a container for the children of this process: what is forked next needs no helper, and joins the rest itself
    /// (`join`). False, and nothing done, where that cannot be or must not be.
    ///
    /// Until it has joined the rest, the child can be seen from inside while it is still of the host. It is not dumpable: root of a container with a
    /// user namespace of its own may not trace it, and no other root may without CAP_SYS_PTRACE.
    ///
    /// - Parameter mayTrace: whether something in the container may have CAP_SYS_PTRACE over the host's user namespace.
    static func takeProcessNamespace(
        of target: borrowing FileDescriptor, _ kinds: [NamespaceKind], mayTrace: Bool
    ) throws(KernelError) -> Bool {
        guard kinds.contains(.pid), kinds.contains(.user) || !mayTrace else { return false }
        do {
            try Namespaces.join(target, [.pid])
            return true
        } catch {
            if error.errno == EPERM { return false }  // an ordinary user's right to it comes with the user namespace
            throw error
        }
    }

    /// The other namespaces of the process behind a pidfd, for the caller itself.
    static func join(_ target: Int32, _ kinds: [NamespaceKind]) throws {
        try performing(.namespaces, "entering the container") {
            try retrying("setns", "pidfd") { cl_setns(target, Int32(truncatingIfNeeded: Int64(kinds.cloneFlags))) }
        }
    }

    private static func fork(into kinds: [NamespaceKind], _ join: () throws -> Void) throws -> Processes.Fork {
        let (ours, theirs) = try SocketPair().ends()
        switch try Processes.fork() {
        case .child:
            close(ours)
            let channel = FileDescriptor(owning: theirs)
            do {
                try join()
                switch try Processes.fork(into: kinds, asSibling: true) {
                case .child: return .child
                case .parent(let process):
                    let pid = process.pid
                    let number = (0..<4).map { UInt8(truncatingIfNeeded: pid >> ($0 * 8)) }
                    try channel.sendMessage([0] + number, with: process.pidfd)
                    _exit(0)
                }
            } catch {
                report(error, channel)
                _exit(1)
            }
        case .parent(let helper):
            close(theirs)
            let channel = FileDescriptor(owning: ours)
            let answer = try channel.receiveMessage(limit: InitMessage.limit)
            try Processes.wait(for: helper.pid)
            guard let (bytes, descriptor) = answer else { throw LaunchFailure(.namespaces, "joining namespaces ended unexpectedly") }
            if bytes.count == 5, bytes[0] == 0, descriptor >= 0 {
                let pid = bytes.dropFirst().reversed().reduce(Int32(0)) { $0 << 8 | Int32($1) }
                return .parent(ChildProcess(pid: pid, pidfd: FileDescriptor(owning: descriptor)))
            }
            if case .failed(let failure) = try InitMessage(decoding: bytes) { throw failure }
            throw InitMessageError.unexpected
        }
    }

    /// Those of the host first, while this process still has rights over them, then the user namespace, then what only its owner may join.
    private static func join(_ files: [(kind: NamespaceKind, file: Int32)]) throws {
        var refused: [(kind: NamespaceKind, file: Int32)] = []
        for (kind, file) in files where kind != .user && kind != .mount {
            if try isRefused(kind, file) { refused.append((kind, file)) }
        }
        for (kind, file) in files where kind == .user {
            try performing(.namespaces, "joining the user namespace") { try enter(kind, file) }
        }
        for (kind, file) in refused { try performing(.namespaces, "joining the \(kind.rawValue) namespace") { try enter(kind, file) } }
    }

    private static func isRefused(_ kind: NamespaceKind, _ file: Int32) throws(KernelError) -> Bool {
        do {
            try enter(kind, file)
            return false
        } catch {
            if error.errno == EPERM { return true }
            throw error
        }
    }

    private static func enter(_ kind: NamespaceKind, _ file: Int32) throws(KernelError) {
        try retrying("setns", kind.rawValue) { cl_setns(file, Int32(truncatingIfNeeded: Int64(kind.cloneFlag))) }
    }

    private static func report(_ error: any Error, _ channel: borrowing FileDescriptor) {
        let failure = error as? LaunchFailure ?? LaunchFailure(.namespaces, "joining namespaces: \(error)")
        do {
            try channel.sendMessage(try InitMessage.failed(failure).encoded())
        } catch {
            // The runtime is gone: nobody is left to be told.
        }
    }
}
