import CLinux
import Glibc

/// The user's terminal in raw mode, put back when this goes out of scope.
public struct RawTerminal: ~Copyable {
    private let descriptor: Int32
    private var saved: termios

    /// Puts the terminal on `descriptor` into raw mode (cfmakeraw(3)), so that the program inside does the editing.
    ///
    /// - Throws: ENOTTY when it is none.
    public init(_ descriptor: Int32) throws(KernelError) {
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
}

/// Single modes of a terminal (termios(3)).
public enum TerminalMode {
    /// Output passes as it is written: no carriage return before a newline (ONLCR).
    public static func keepNewlines(_ descriptor: Int32) throws(KernelError) {
        var mode = termios()
        if tcgetattr(descriptor, &mode) != 0 { throw .last("tcgetattr") }
        mode.c_oflag &= ~tcflag_t(ONLCR)
        if tcsetattr(descriptor, TCSANOW, &mode) != 0 { throw .last("tcsetattr") }
    }
}

/// The size of a terminal in characters (ioctl_tty(2)).
public enum TerminalWindow {
    /// Rows and columns, or nil when the descriptor is no terminal.
    public static func size(of descriptor: Int32) -> (rows: UInt16, columns: UInt16)? {
        var size = winsize()
        guard cl_ioctl_pointer(descriptor, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
        return (size.ws_row, size.ws_col)
    }

    /// Sets it; whoever runs on the terminal gets SIGWINCH.
    public static func resize(_ descriptor: Int32, rows: UInt16, columns: UInt16) throws(KernelError) {
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try retrying("ioctl", "TIOCSWINSZ") { cl_ioctl_pointer(descriptor, UInt(TIOCSWINSZ), &size) }
    }
}
