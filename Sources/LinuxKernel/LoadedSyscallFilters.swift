import CLinux
import Glibc

/// The system call filters that another process has loaded (ptrace(2), PTRACE_SECCOMP_GET_FILTER of Linux 4.4).
///
/// The kernel shows them to a tracer with CAP_SYS_ADMIN in the first user namespace that has no filter itself, and only while the process stands
/// still: it is stopped for that moment and goes on as it was (PTRACE_SEIZE sends no signal).
public enum LoadedSyscallFilters {
    // linux/ptrace.h
    private static let seize = 0x4206
    private static let interrupt = 0x4207
    private static let getFilter = 0x420C
    private static let detach = 17
    private static let stopEvent = 128
    /// Instructions of all filters of one process (MAX_INSNS_PER_PATH of kernel/seccomp.c).
    private static let maximumInstructions = 32768

    /// The programs, the newest first, each as instructions of 8 bytes.
    ///
    /// - Throws: `KernelError`: EACCES or EPERM where they may not be read, ESRCH when the process ended, ETIMEDOUT when it does not stop.
    public static func of(_ pid: Int32) throws(KernelError) -> [[UInt8]] {
        try retrying("ptrace", "\(pid)") { cl_ptrace(seize, pid, 0, nil) }
        // Whatever happens from here on, the kernel lets the process go at the latest when this one ends.
        try retrying("ptrace", "\(pid)") { cl_ptrace(interrupt, pid, 0, nil) }
        let signal = try waitForStop(pid)
        let programs: Result<[[UInt8]], KernelError> = Result { () throws(KernelError) in try read(pid) }
        try retrying("ptrace", "\(pid)") { cl_ptrace(detach, pid, 0, UnsafeMutableRawPointer(bitPattern: Int(signal))) }
        return try programs.get()
    }

    /// - Returns: the signal that the process was about to get, which it must get when it goes on; 0 for none.
    private static func waitForStop(_ pid: Int32) throws(KernelError) -> Int32 {
        // A process deep in the kernel stops when it comes back.
        for _ in 0..<1000 {
            var status: Int32 = 0
            let answer = try retrying("waitpid", "\(pid)") { waitpid(pid, &status, WNOHANG | 0x4000_0000) }  // __WALL
            if answer == pid {
                guard status & 0xFF == 0x7F else { throw KernelError(call: "ptrace", errno: ESRCH, subject: "\(pid)") }
                return status >> 16 == stopEvent ? 0 : (status >> 8) & 0xFF
            }
            usleep(2000)
        }
        throw KernelError(call: "ptrace", errno: ETIMEDOUT, subject: "\(pid)")
    }

    private static func read(_ pid: Int32) throws(KernelError) -> [[UInt8]] {
        var programs: [[UInt8]] = []
        var total = 0
        while true {
            let index = programs.count
            let length: Int
            do {
                length = Int(try retrying("ptrace", "\(pid)") { cl_ptrace(getFilter, pid, index, nil) })
            } catch {
                // ENOENT after the last.
                if error.errno == ENOENT { return programs }
                throw error
            }
            total += length
            guard length > 0, total <= maximumInstructions else { throw KernelError(call: "ptrace", errno: E2BIG, subject: "\(pid)") }
            var bytes = [UInt8](repeating: 0, count: length * 8)
            let copied = try retrying("ptrace", "\(pid)") {
                bytes.withUnsafeMutableBytes { cl_ptrace(getFilter, pid, index, $0.baseAddress) }
            }
            guard Int(copied) == length else { throw KernelError(call: "ptrace", errno: EAGAIN, subject: "\(pid)") }
            programs.append(bytes)
        }
    }
}
