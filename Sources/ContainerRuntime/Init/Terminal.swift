import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

/// Both sides of a new pseudo-terminal.
struct TerminalPair: ~Copyable {
    let master: FileDescriptor
    let slave: FileDescriptor

    /// Keeps the slave, closes the master.
    consuming func takeSlave() -> FileDescriptor { slave }
}

/// Pseudo-terminals of a container (pty(7)).
enum Terminal {
    private static let unlock: UInt = 0x4004_5431  // TIOCSPTLCK
    private static let openPeer: UInt = 0x5441  // TIOCGPTPEER, Linux 4.13
    private static let makeControllingRequest: UInt = 0x540e  // TIOCSCTTY
    private static let devptsMagic = 0x1cd1

    /// A new terminal of the devpts mounted in this root. The slave comes from the master itself, never from a name
    /// (CVE-2025-52565), and both must be of a devpts.
    static func open(in root: borrowing RootDirectory, size: TerminalSize?, plainNewlines: Bool) throws -> TerminalPair {
        let master = try root.open("/dev/pts/ptmx", O_RDWR | O_NOCTTY)
        let raw = master.rawValue
        guard try retrying("fstatfs", "/dev/pts/ptmx", { cl_filesystem_magic(raw) }) == devptsMagic else {
            throw KernelError(call: "fstatfs", errno: ENODEV, subject: "/dev/pts/ptmx is not of a devpts")
        }
        var unlocked: Int32 = 0
        try retrying("ioctl", "TIOCSPTLCK") { cl_ioctl_pointer(raw, unlock, &unlocked) }
        let slave = try retrying("ioctl", "TIOCGPTPEER") {
            cl_ioctl_int(raw, openPeer, UInt(O_RDWR | O_NOCTTY | O_CLOEXEC))
        }
        if plainNewlines { try TerminalMode.keepNewlines(slave) }
        if let size { try TerminalWindow.resize(raw, rows: size.rows, columns: size.columns) }
        return TerminalPair(master: master, slave: FileDescriptor(owning: slave))
    }

    /// Makes the terminal the controlling one of a new session.
    static func makeControlling(_ terminal: Int32) throws(KernelError) {
        if setsid() == -1 && errno != EPERM { throw .last("setsid") }
        try retrying("ioctl", "TIOCSCTTY") { cl_ioctl_int(terminal, makeControllingRequest, 0) }
    }
}
