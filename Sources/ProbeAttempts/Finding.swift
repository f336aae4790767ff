import CProbing
import Glibc
import Probe

/// What one attempt saw.
struct Finding: Equatable {
    var outcome: ProbeOutcome
    var errno: Int32?
    var signal: Int32?
    var detail: String

    init(_ outcome: ProbeOutcome, errno: Int32? = nil, signal: Int32? = nil, _ detail: String) {
        self.outcome = outcome
        self.errno = errno
        self.signal = signal
        self.detail = detail
    }

    static func held(_ detail: String) -> Finding { Finding(.held, detail) }
    static func reached(_ detail: String) -> Finding { Finding(.reached, detail) }
    static func information(_ detail: String) -> Finding { Finding(.information, detail) }
    static func absent(_ detail: String) -> Finding { Finding(.absent, detail) }
    static func tried(_ detail: String) -> Finding { Finding(.tried, detail) }
    static func inconclusive(_ detail: String) -> Finding { Finding(.inconclusive, detail) }

    /// Denied with an error number.
    static func denied(_ number: Int32, _ what: String) -> Finding { Finding(.held, errno: number, "\(what): \(errnoName(number))") }

    /// The same, told as knowledge.
    var asInformation: Finding {
        var copy = self
        if copy.outcome == .reached { copy.outcome = .information }
        return copy
    }

    func answer(_ id: String) -> ProbeAnswer {
        ProbeAnswer(id, outcome, errno: errno.map(errnoName), signal: signal.map(signalName), detail: detail)
    }
}

/// "EPERM"; a number that no header has stays one.
func errnoName(_ number: Int32) -> String {
    guard let name = cl_errno_name(number) else { return "errno \(number)" }
    return String(cString: name)
}

func signalName(_ number: Int32) -> String {
    switch number {
    case SIGSYS: "SIGSYS"
    case SIGKILL: "SIGKILL"
    case SIGSEGV: "SIGSEGV"
    case SIGALRM: "SIGALRM"
    case SIGXCPU: "SIGXCPU"
    default: "signal \(number)"
    }
}

/// What the kernel answered to one call.
struct Reply {
    var value: Int
    /// 0 when it succeeded.
    var errno: Int32

    var succeeded: Bool { errno == 0 }

    init(_ value: Int) {
        self.value = value
        errno = value == -1 ? Glibc.errno : 0
    }

    init(_ value: Int32) { self.init(Int(value)) }

    init(errno: Int32) {
        value = errno == 0 ? 0 : -1
        self.errno = errno
    }

    /// Denials of a filter or of a check that comes before the arguments are looked at.
    static let denials: Set<Int32> = [EPERM, EACCES, ENOSYS]

    /// For what has to succeed to be a hole: whatever error came held it.
    func whenItSucceeds(_ what: String) -> Finding {
        succeeded ? .reached("\(what) succeeded") : .denied(errno, what)
    }

    /// For calls with arguments that the kernel refuses: an error about them shows that the call got past every check.
    func whenItIsLookedAt(_ what: String, also denials: Set<Int32> = []) -> Finding {
        if succeeded { return .reached("\(what) succeeded") }
        if Self.denials.contains(errno) || denials.contains(errno) { return .denied(errno, what) }
        return .reached("\(what) got past every check and failed only on its arguments (\(errnoName(errno)))")
    }
}

extension Finding {
    /// ENOSYS and EAFNOSUPPORT are the kernel's own where no filter stands before it.
    func unlessMissing(_ situation: Situation) -> Finding {
        guard outcome == .held, !situation.isFiltered, let errno, [ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, ENODEV].contains(errno)
        else { return self }
        return Finding(.absent, errno: errno, "\(detail): this kernel has no such thing")
    }
}

/// One system call by its number.
func systemCall(
    _ number: Int, _ a: UInt = 0, _ b: UInt = 0, _ c: UInt = 0, _ d: UInt = 0, _ e: UInt = 0, _ f: UInt = 0
) -> Reply {
    if number < 0 { return Reply(errno: ENOSYS) }
    return Reply(cl_call(number, a, b, c, d, e, f))
}

/// -1 as an argument.
let minusOne = UInt(bitPattern: -1)
