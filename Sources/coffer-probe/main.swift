import CProbing
import Glibc
import ProbeAttempts

// Tries from the inside what a container must not be able to do, and says what it saw. Harmless also where everything is reachable. Synchronous and
// single-threaded: user namespaces demand it, and a filter that is looked for holds for one thread.

// Before anything is opened.
let descriptors = OpenDescriptor.all()
let arguments = (1..<max(1, cl_argument_count())).compactMap { cl_argument($0).map { String(cString: $0) } }
if arguments == ["--help"] || arguments == ["-h"] {
    print(ProbeProgram.usage, terminator: "")
    exit(0)
}
exit(ProbeProgram.run(arguments, descriptors: descriptors))
