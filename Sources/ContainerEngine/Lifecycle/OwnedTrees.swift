import CLinux
import Glibc
import LinuxKernel

/// Work on trees that belong to containers' IDs, done by a child of this program in the owner namespace.
public enum OwnedTrees {
    /// Removes a tree.
    static func remove(_ path: String) throws(EngineError) {
        try run(["internal", "remove-tree", path], doing: "\(path) cannot be removed")
    }

    /// Runs a hidden subcommand in the owner namespace to its end.
    ///
    /// - Parameter doing: begins the message of a failure.
    static func run(_ arguments: [String], doing: String) throws(EngineError) {
        let message: [UInt8]
        do {
            let child = try OwnerNamespace.forTrees().start(arguments)
            message = try child.receive()
            try child.process.wait()
        } catch {
            throw EngineError("\(doing): \(error)")
        }
        // "K" is done; anything else is the reason.
        if message != [UInt8(ascii: "K")] {
            throw EngineError("\(doing): \(message.isEmpty ? "the work was cut short" : String(decoding: message, as: UTF8.self))")
        }
    }

    /// The child's half: enters the namespace, does the work, answers.
    ///
    /// - Returns: the exit code.
    public static func serve(with namespaces: [NamespaceKind] = [], _ work: () throws -> Void) -> Int32 {
        do {
            if geteuid() != 0 || !namespaces.isEmpty { try OwnerNamespace.enter(with: namespaces) }
            try work()
            answer("K")
            return 0
        } catch {
            answer("\(error)")
            return 1
        }
    }

    private static func answer(_ text: String) {
        let bytes = Array(text.utf8.prefix(4096))
        send(OwnerNamespace.socketDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
}
