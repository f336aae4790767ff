import CLinux
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let identity: Group = [
        ("suid-no-new-privileges", findNoNewPrivileges),
        ("suid-program", runSetUserID),
        ("env-secrets", findServices),
        ("env-tokens", findTokens),
        ("id-root", { _ in geteuid() == 0 ? .information("it is user 0") : .held("it is user \(geteuid())") }),
        ("id-groups", findGroups),
    ]

    private static func findNoNewPrivileges(_ situation: Situation) -> Finding {
        switch cl_prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) {
        case 1: .held("no_new_privs is on")
        case 0: .reached("no_new_privs is off")
        default: .denied(errno, "prctl(PR_GET_NO_NEW_PRIVS)")
        }
    }

    /// Exit codes of `ProgramMode.tellUser`.
    static let becameRoot: Int32 = 43
    static let stayedUser: Int32 = 44

    /// A copy of this program that belongs to user 0 and has the bit, started as another user; it says who it has become.
    private static func runSetUserID(_ situation: Situation) -> Finding {
        guard geteuid() == 0 else { return .inconclusive("it is not user 0, and can make no program that is") }
        var reason = "no place where a program could be made"
        // Each place is tried: one may be mounted nosuid, and another not.
        var held: Finding?
        let reached: Finding? = inScratchDirectories { directory in
            let path = "\(directory)/program"
            defer { unlink(path) }
            if let problem = makeProgram(path, in: directory) {
                reason = problem
                return nil
            }
            guard let finding = startAsOther(path, &reason) else { return nil }
            if finding.outcome == .reached { return finding }
            held = finding
            return nil
        }
        if let finding = reached ?? held { return finding }
        return cl_prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? .held("no_new_privs is on; \(reason)") : .inconclusive(reason)
    }

    /// nil, or why it could not be made.
    private static func makeProgram(_ path: String, in directory: String) -> String? {
        let own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        if own < 0 { return "its own program cannot be read: \(errnoName(errno))" }
        defer { close(own) }
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o755)
        if file < 0 { return "\(path): \(errnoName(errno))" }
        let failure = copyAll(from: own, to: file)
        close(file)
        if let failure { return "copying its own program: \(errnoName(failure))" }
        if chmod(path, 0o4755) != 0 || chmod(directory, 0o755) != 0 { return "chmod(2): \(errnoName(errno))" }
        return nil
    }

    private static func startAsOther(_ path: String, _ reason: inout String) -> Finding? {
        let program = open(path, O_RDONLY | O_CLOEXEC)
        if program < 0 {
            reason = "\(path): \(errnoName(errno))"
            return nil
        }
        defer { close(program) }
        let end = runInChild {
            // Any user but 0: 1, where the namespace has one.
            if cl_setresuid(1, 1, 1) != 0 { return 45 }
            return execute(descriptor: program, ["coffer-probe", ProgramMode.tellUser.rawValue])
        }
        switch end {
        case .exited(becameRoot): return .reached("a set-user-ID program made user 1 user 0")
        case .exited(stayedUser): return .held("a set-user-ID program left user 1 what it was")
        case .exited(45): reason = "it cannot become another user first"
        case .exited(let number): reason = "execveat(2): \(errnoName(number))"
        case .signalled(let number): reason = "execveat(2): \(signalName(number))"
        case .notMade(let number): reason = "no child: \(errnoName(number))"
        }
        return nil
    }

    // MARK: Environment

    private static let services: Set<Substring> = [
        "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "XDG_RUNTIME_DIR", "XAUTHORITY",
        "DISPLAY", "WAYLAND_DISPLAY", "DOCKER_HOST", "CONTAINER_HOST", "KUBECONFIG", "NOTIFY_SOCKET", "SUDO_USER", "LISTEN_FDS",
    ]

    private static func names(_ situation: Situation) -> [Substring] {
        situation.environment.compactMap { $0.split(separator: "=", maxSplits: 1).first }
    }

    private static func findServices(_ situation: Situation) -> Finding {
        let found = names(situation).filter(services.contains)
        return found.isEmpty
            ? .held("none of them among \(situation.environment.count) variables") : .reached("set: \(found.joined(separator: ", "))")
    }

    private static func findTokens(_ situation: Situation) -> Finding {
        let ends = ["_TOKEN", "_SECRET", "_PASSWORD", "_PASSWD", "_API_KEY", "_ACCESS_KEY", "_SECRET_ACCESS_KEY", "_PRIVATE_KEY", "_CREDENTIALS"]
        let found = names(situation).filter { name in ends.contains { name.uppercased().hasSuffix($0) } }
        return found.isEmpty
            ? .held("none of them among \(situation.environment.count) variables") : .information("set: \(found.joined(separator: ", "))")
    }

    private static func findGroups(_ situation: Situation) -> Finding {
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = getgroups(1024, &groups)
        if count < 0 { return .denied(errno, "getgroups(2)") }
        let additional = groups[..<Int(count)].filter { $0 != getegid() }
        return additional.isEmpty
            ? .held("no additional group") : .information("additional groups: \(additional.prefix(16).map { "\($0)" }.joined(separator: ", "))")
    }
}
