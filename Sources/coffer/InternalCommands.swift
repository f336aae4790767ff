import ContainerEngine
import ImageStore
import Rendering

/// Hidden commands: what this program runs as a child of itself. None is for users, and none is documented.
enum InternalCommands {
    /// - Parameter arguments: what follows `internal`.
    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        switch (arguments.first, arguments.count) {
        case ("change-owner", 4):
            guard let uid = UInt32(arguments[2]), let gid = UInt32(arguments[3]) else { break }
            return OwnedTrees.serve { try TreeOwner.change(arguments[1], uid: uid, gid: gid) }
        case ("copy", 2): return ContainerTree.serve(arguments[1])
        case ("hold-namespace", 1): return OwnedTrees.holdNamespace()
        case ("probe-canary", 2): return ProbeCanary.serve(arguments[1])
        case ("remove-ended", 3): return Engine.removeEnded(in: arguments[1], id: arguments[2])
        default:
            // Extraction, trees and decompression belong to the image store.
            if let code = InternalCommand.run(["coffer", "internal"] + arguments) { return code }
        }
        Terminal.write("coffer: 'internal' is for the program itself\n", to: 2)
        return 125
    }
}
