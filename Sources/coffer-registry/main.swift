import Glibc
import ImageStore
import LinuxKernel

// The program `coffer-registry`: one pull for the `coffer` that runs it. It alone links HTTP and TLS. Not for users; PullMessages is its interface.

if let code = InternalCommand.run(CommandLine.arguments) {
    // A layer is extracted by a child of this very program.
    exit(code)
}
var status = stat()
guard CommandLine.arguments.dropFirst() == ["pull"], fstat(PullService.socketNumber, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
    PullService.complain("this program belongs to coffer, which runs it: use 'coffer pull'")
    exit(125)
}
exit(PullService(socket: FileDescriptor(owning: PullService.socketNumber)).serve())
