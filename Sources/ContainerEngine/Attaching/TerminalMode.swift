import CLinux
import Glibc
import LinuxKernel

/// The user's terminal in raw mode, put back when this goes out of scope.
struct RawTerminal: ~Copyable {
    private let descriptor: Int32
    private var saved: termios

    /// Puts the terminal on `descriptor` into raw mode (cfmakeraw(3)), so that the program inside does the editing.
    init(_ descriptor: Int32) throws(KernelError) {
        self.descriptor = descriptor
        saved = termios()
        if tcgetattr(descriptor, &saved) != 0 { throw .last("tcgetattr") }
        var raw = saved
        cfmakeraw(&raw)
        if tcsetattr(descriptor, TCSADRAIN, &raw) != 0 { throw .last("tcsetattr") }
    }

    deinit {
        var mode = saved
        tcsetattr(descriptor, TCSADRAIN, &mode)
    }

    /// The size of a terminal in rows and columns, or nil when the descriptor is none.
    static func size(of descriptor: Int32) -> (rows: UInt16, columns: UInt16)? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
        return (size.ws_row, size.ws_col)
    }
}
