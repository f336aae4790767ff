import ContainerEngine
import Glibc

/// Options before the command's name. They are taken here, because ArgumentParser would look for them behind it too, where
/// they may belong to the contained command.
enum GlobalOptions {
    /// Removes the global options from the front of `arguments` and keeps their values.
    static func take(from arguments: inout [String]) throws {
        while let first = arguments.first, first.hasPrefix("--root") {
            if first == "--root", arguments.count >= 2 {
                try keep(root: arguments[1])
                arguments.removeFirst(2)
            } else if first.hasPrefix("--root=") {
                try keep(root: String(first.dropFirst(7)))
                arguments.removeFirst()
            } else {
                return
            }
        }
    }

    /// Children of this program (the exit command, extraction) find the same state through the environment.
    private static func keep(root: String) throws {
        if root.isEmpty { throw EngineError("--root needs a directory") }
        let absolute = root.hasPrefix("/") ? root : currentDirectory() + "/" + root
        setenv("COFFER_ROOT", absolute, 1)
    }
}
