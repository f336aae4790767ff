import Glibc

/// A signal by name or number (signal(7)).
public struct Signal: Sendable, Equatable, Codable {
    public let number: Int32

    public init(number: Int32) { self.number = number }

    public static let terminate = Signal(number: 15)
    public static let kill = Signal(number: 9)

    /// Accepts "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3".
    ///
    /// - Throws: `EngineError` that names the value.
    public init(parsing text: String) throws(EngineError) {
        let upper = text.uppercased()
        let name = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
        if let value = Int32(name), (1...64).contains(value) {
            number = value
        } else if let value = Self.names.firstIndex(of: name), value > 0 {
            number = Int32(value)
        } else if let value = Self.realTime(name) {
            number = value
        } else if name == "POLL" {
            number = 29
        } else {
            throw EngineError("invalid signal: \(text)")
        }
    }

    /// "SIGTERM"; the number for a real-time signal.
    public var name: String {
        number > 0 && number < Self.names.count ? "SIG" + Self.names[Int(number)] : "\(number)"
    }

    /// RTMIN+n and RTMAX-n. glibc keeps 32 and 33 for itself, so RTMIN is 34.
    private static func realTime(_ name: String) -> Int32? {
        if name == "RTMIN" { return 34 }
        if name == "RTMAX" { return 64 }
        if name.hasPrefix("RTMIN+"), let offset = Int32(name.dropFirst(6)), (1...30).contains(offset) { return 34 + offset }
        if name.hasPrefix("RTMAX-"), let offset = Int32(name.dropFirst(6)), (1...30).contains(offset) { return 64 - offset }
        return nil
    }

    /// Linux's numbers on x86-64 and aarch64, which agree.
    private static let names = [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
        "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
        "SYS",
    ]
}
