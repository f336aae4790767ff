import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// The same calls by other doors: other tables, bits that the kernel ignores, a terminal, a program without a file.
    static let interpreters: Group = [
        ("sys-x32", callX32),
        ("sys-int80", callInt80),
        ("sys-int80-socketcall", socketByInt80),
        ("sys-socket-high-bits", socketWithHighBits),
        ("sys-ioctl-high-bits", { pushInput($0, request: TIOCSTI | 1 << 32, "TIOCSTI with bits above 32") }),
        ("sys-tiocsti", { pushInput($0, request: TIOCSTI, "TIOCSTI") }),
        ("sys-tioclinux", askConsole),
        ("sys-memfd-exec", runWithoutFile),
    ]

    private static let TIOCSTI: UInt = 0x5412
    private static let TIOCLINUX: UInt = 0x541C
    static let AF_VSOCK: UInt = 40

    // MARK: Tables

    private static func callX32(_ situation: Situation) -> Finding {
        let reply = Reply(cl_call_x32(Int(SYS_getpid)))
        if reply.errno == ENOEXEC { return .absent("this architecture has no x32 table") }
        return reply.whenItSucceeds("getpid(2) of the x32 table").unlessMissing(situation)
    }

    /// Tries it in a child: a kernel without the table answers with SIGSEGV.
    private static func byInt80(_ what: String, _ call: () -> Int32) -> Finding {
        switch runInChild(call) {
        case .exited(0): return .reached("\(what) succeeded")
        case .exited(ENOEXEC): return .absent("this architecture has no 32-bit table")
        case .exited(let number): return .denied(number, what)
        case .signalled(SIGSEGV): return Finding(.absent, signal: SIGSEGV, "\(what): this kernel has no 32-bit table")
        case .signalled(let number): return Finding(.held, signal: number, "\(what): \(signalName(number))")
        case .notMade(let number): return .inconclusive("no child: \(errnoName(number))")
        }
    }

    private static func callInt80(_ situation: Situation) -> Finding {
        byInt80("getpid(2) by int 0x80") { Reply(cl_call_int80(20, 0, 0, 0)).errno }
    }

    /// socketcall(SYS_SOCKET): the family is in memory, where no filter looks.
    private static func socketByInt80(_ situation: Situation) -> Finding {
        byInt80("socketcall(AF_VSOCK) by int 0x80") {
            guard let page = cl_low_page() else { return ENOEXEC }
            page.assumingMemoryBound(to: UInt32.self).update(repeating: 0, count: 3)
            page.assumingMemoryBound(to: UInt32.self)[0] = UInt32(AF_VSOCK)
            page.assumingMemoryBound(to: UInt32.self)[1] = 1
            let number = Reply(cl_call_int80(102, 1, UInt32(truncatingIfNeeded: UInt(bitPattern: page)), 0)).errno
            // A kernel without AF_VSOCK was asked all the same.
            return number == EAFNOSUPPORT ? 0 : number
        }
    }

    // MARK: Bits that the kernel ignores

    private static func socketWithHighBits(_ situation: Situation) -> Finding {
        let reply = systemCall(Int(SYS_socket), AF_VSOCK | 1 << 32, UInt(SOCK_STREAM.rawValue), 0)
        if reply.succeeded { close(Int32(reply.value)) }
        return reply.whenItSucceeds("socket(AF_VSOCK) with bits above 32").unlessMissing(situation)
    }

    // MARK: Terminals

    /// A terminal of its own, as the controlling one: the attempt leads a session.
    private static func makeTerminal() -> Result<(master: Int32, slave: Int32), KernelError> {
        let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        if master < 0 { return .failure(.last("open", "/dev/ptmx")) }
        var unlocked: Int32 = 0
        if cl_ioctl_pointer(master, 0x4004_5431, &unlocked) != 0 { return .failure(.last("ioctl", "TIOCSPTLCK")) }
        // TIOCGPTPEER; open(2) of a terminal makes it the controlling one, this does not without TIOCSCTTY.
        let slave = cl_ioctl_int(master, 0x5441, UInt(O_RDWR | O_CLOEXEC))
        if slave < 0 { return .failure(.last("ioctl", "TIOCGPTPEER")) }
        if cl_ioctl_int(slave, 0x540E, 0) != 0 { return .failure(.last("ioctl", "TIOCSCTTY")) }
        return .success((master, slave))
    }

    private static func pushInput(_ situation: Situation, request: UInt, _ what: String) -> Finding {
        // Not to be ended when the terminal goes.
        signal(SIGHUP, SIG_IGN)
        switch makeTerminal() {
        case .failure(let error): return .denied(error.errno, "a terminal to try \(what) on (\(error.call) \(error.subject))")
        case .success(let terminal):
            var byte: UInt8 = 120
            return withUnsafeMutablePointer(to: &byte) { systemCall(Int(SYS_ioctl), UInt(terminal.slave), request, UInt(bitPattern: $0)) }
                .whenItSucceeds("\(what) on its own terminal")
        }
    }

    /// Subcode 6 asks for the state of the shift keys: it changes nothing, and needs the same permission as pasting.
    private static func askConsole(_ situation: Situation) -> Finding {
        signal(SIGHUP, SIG_IGN)
        var last: Finding?
        for path in ["/dev/tty", "/dev/console", "/dev/tty0"] {
            let file = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
            if file < 0 { continue }
            defer { close(file) }
            let reply = shiftState(file)
            if reply.succeeded { return .reached("TIOCLINUX on \(path) succeeded") }
            last = .denied(reply.errno, "TIOCLINUX on \(path)")
        }
        if let last { return last }
        guard case .success(let terminal) = makeTerminal() else { return .held("there is no terminal to try it on") }
        return .denied(shiftState(terminal.slave).errno, "TIOCLINUX on its own terminal")
    }

    private static func shiftState(_ file: Int32) -> Reply {
        var code: UInt8 = 6
        return withUnsafeMutablePointer(to: &code) { systemCall(Int(SYS_ioctl), UInt(file), TIOCLINUX, UInt(bitPattern: $0)) }
    }

    // MARK: Programs

    /// Exit code of this program when it was started for no more than that.
    static let startedWithoutFile: Int32 = 42

    /// Copies this very program into memory and starts it there; it ends at once.
    private static func runWithoutFile(_ situation: Situation) -> Finding {
        let file = cl_memfd_create("coffer-probe", 0)
        if file < 0 { return Finding.denied(errno, "memfd_create(2)").unlessMissing(situation) }
        let own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        if own < 0 { return .inconclusive("its own program cannot be read: \(errnoName(errno))") }
        if let number = copyAll(from: own, to: file) { return .inconclusive("its own program cannot be copied: \(errnoName(number))") }
        let end = runInChild {
            execute(descriptor: file, ["coffer-probe", ProgramMode.exitFromMemory.rawValue])
        }
        switch end {
        case .exited(startedWithoutFile): return .information("a program that is in no file was started")
        case .exited(let number): return .denied(number, "execveat(2) of a program that is in no file")
        case .signalled(let number): return Finding(.held, signal: number, "execveat(2): \(signalName(number))")
        case .notMade(let number): return .inconclusive("no child: \(errnoName(number))")
        }
    }

    /// nil, or the error number.
    static func copyAll(from: Int32, to: Int32) -> Int32? {
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let length = read(from, &buffer, buffer.count)
            if length < 0 { return errno }
            if length == 0 { return nil }
            var done = 0
            while done < length {
                let written = buffer.withUnsafeBytes { write(to, $0.baseAddress.map { $0 + done }, length - done) }
                if written < 0 { return errno }
                done += written
            }
        }
    }

    /// execveat(2) with an empty environment; the error number when it fails.
    static func execute(descriptor: Int32, _ arguments: [String]) -> Int32 {
        var pointers = arguments.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        let reply = pointers.withUnsafeMutableBufferPointer { list in
            environment.withUnsafeMutableBufferPointer { none in
                withPath("") {
                    systemCall(
                        Int(SYS_execveat), UInt(descriptor), $0, UInt(bitPattern: list.baseAddress), UInt(bitPattern: none.baseAddress), 0x1000)
                }
            }
        }
        return reply.errno
    }
}

/// What the program was started for.
public enum ProgramMode: String, Sendable {
    case run
    case list
    /// By a probe: ends at once with `Attempts.startedWithoutFile`.
    case exitFromMemory = "exit-from-memory"
    /// By a probe, as a set-user-ID program: its exit code says whether it became user 0.
    case tellUser = "tell-user"

    /// Runs what a probe started the program for; nil for the modes that users see.
    public func runForProbe() -> Int32? {
        switch self {
        case .run, .list: nil
        case .exitFromMemory: Attempts.startedWithoutFile
        case .tellUser: geteuid() == 0 ? Attempts.becameRoot : Attempts.stayedUser
        }
    }
}
