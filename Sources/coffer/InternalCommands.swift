import ContainerEngine
import Rendering

/// Hidden commands: what this program runs as a child of itself. None is for users, and none is documented.
enum InternalCommands {
    /// - Parameter arguments: what follows `internal`.
    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        switch (arguments.first, arguments.count) {
        case ("remove-tree", 2): return OwnedTrees.serve { try TreeRemoval.remove(arguments[1]) }
        default:
            Terminal.write("coffer: 'internal' is for the program itself\n", to: 2)
            return 125
        }
    }
}
