import Glibc
import LinuxKernel

/// The hidden subcommands by which this program runs parts of itself in other processes.
///
/// They are no interface for users: their arguments change with the program. `coffer` calls `run` before it parses its
/// command line.
public enum InternalCommand {
    /// Runs `internal NAME …`.
    ///
    /// - Parameter arguments: the whole command line, the program's name first.
    /// - Returns: the exit status, or nil when this is no internal command.
    public static func run(_ arguments: [String]) -> Int32? {
        guard arguments.count >= 3, arguments[1] == "internal" else { return nil }
        do {
            switch arguments[2] {
            case "unpack" where arguments.count == 4: return try UnpackSandbox.main(arguments[3])
            case "inflate" where arguments.count == 4: return try InflateProgram.main(arguments[3])
            case "tree" where arguments.count >= 4: return try TreeProgram.main(Array(arguments[3...]))
            default: throw UnpackFailure("no such internal command")
            }
        } catch {
            complain("coffer internal \(arguments[2]): \(error)\n")
            return 125
        }
    }

    private static func complain(_ text: String) {
        let bytes = Array(text.utf8)
        // Nothing can be done where even this fails.
        if bytes.withUnsafeBytes({ write(2, $0.baseAddress, $0.count) }) < 0 { return }
    }
}
