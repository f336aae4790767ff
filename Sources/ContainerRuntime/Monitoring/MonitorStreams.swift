import CLinux
import Glibc
import LinuxKernel

/// The pipes between a payload and its monitor.
struct MonitorStreams {
    /// The payload's stdin, stdout, stderr; nil with a terminal.
    let payload: [Int32]?
    /// The monitor's ends of the same; -1 where there is none.
    let ours: (input: Int32, output: Int32, errorOutput: Int32)

    init(terminal: Bool, stdinOpen: Bool) throws {
        if terminal {
            payload = nil
            ours = (-1, -1, -1)
            return
        }
        let output = try makePipe()
        let errors = try makePipe()
        var input: (read: Int32, write: Int32) = (-1, -1)
        if stdinOpen {
            input = try makePipe()
            try retrying("fcntl") { cl_fcntl(input.write, F_SETFL, Int(O_WRONLY | O_NONBLOCK)) }
        } else {
            input.read = try FileDescriptor.open("/dev/null", O_RDONLY).release()
        }
        // Programs reopen their streams through /dev/stdout as whatever user they have become: the pipes belong to this
        // container alone, so anyone in it may.
        for end in [output.write, errors.write] + (stdinOpen ? [input.read] : []) {
            try retrying("fchmod") { fchmod(end, 0o666) }
        }
        for end in [output.read, errors.read] { try retrying("fcntl") { cl_fcntl(end, F_SETFL, Int(O_RDONLY | O_NONBLOCK)) } }
        payload = [input.read, output.write, errors.write]
        ours = (input.write, output.read, errors.read)
    }

    /// Gives the monitor its ends; none of them stays open here, or the payload would not see that the monitor closes its stdin.
    func send(to channel: borrowing FileDescriptor) throws(KernelError) {
        try Handover.input.send(FileDescriptor(owning: ours.input), to: channel)
        try Handover.output.send(FileDescriptor(owning: ours.output), to: channel)
        try Handover.errorOutput.send(FileDescriptor(owning: ours.errorOutput), to: channel)
    }
}
