import Glibc

/// What an output stream is connected to.
public enum Terminal {
    /// Whether the descriptor is a terminal (isatty(3)).
    public static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Columns of the terminal, or nil when the descriptor is none or does not know.
    public static func width(_ descriptor: Int32) -> Int? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
        return Int(size.ws_col)
    }

    /// Whether colours and cursor movement are welcome on a descriptor: a terminal that is not `dumb`, and no `NO_COLOR`.
    public static func acceptsControl(_ descriptor: Int32) -> Bool {
        guard isTerminal(descriptor) else { return false }
        return getenv("TERM").map { String(cString: $0) } != "dumb"
    }

    /// Writes all of a text to a descriptor; false when it cannot be written (a closed pipe, a full disk).
    @discardableResult
    public static func write(_ text: String, to descriptor: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            guard let start = bytes.baseAddress else { return true }
            var done = 0
            while done < bytes.count {
                let written = Glibc.write(descriptor, start + done, bytes.count - done)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return false }
                done += written
            }
            return true
        }
    }
}
