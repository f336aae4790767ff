import CLinux
import Glibc
import LinuxKernel

/// What a monitor keeps in memory while it waits.
struct MemoryFootprint: ~Copyable {
    /// Which of the program's pages are the file's own, or `.none` where the kernel does not say.
    private let pagemap: FileDescriptor

    /// To be made before the process stops being dumpable: its own /proc is closed to it then, where it is an ordinary user's.
    init() {
        do {
            pagemap = try FileDescriptor.open("/proc/self/pagemap", O_RDONLY)
        } catch {
            pagemap = .none  // it costs memory only
        }
    }

    /// poll(2). A container that is busy is served at once; one that has been idle for a fifth of a second gives its
    /// monitor's program pages back before the monitor sleeps on.
    borrowing func poll(_ list: inout [pollfd]) throws(KernelError) {
        let count = nfds_t(list.count)
        let raw = pagemap.rawValue
        if try retrying("poll", "", { Glibc.poll(&list, count, 200) }) > 0 { return }
        try retrying("poll") { cl_poll_lean(&list, UInt32(count), raw) }
    }
}
