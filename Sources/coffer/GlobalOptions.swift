import ContainerEngine

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

    /// Only `main` writes it, before anything else runs.
    nonisolated(unsafe) private(set) static var root: String?

    private static func keep(root path: String) throws {
        if path.isEmpty { throw EngineError("--root needs a directory") }
        root = path
    }
}
