import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    /// What /proc shows of processes that are not the container's own. Opened, hardly read, never written to.
    static let foreignProcesses: Group = [
        ("proc-foreign-mem", opening("mem", O_RDONLY)),
        ("proc-foreign-environ", reading("environ")),
        ("proc-foreign-root", opening("root", O_PATH | O_DIRECTORY)),
        ("proc-foreign-cwd", opening("cwd", O_PATH | O_DIRECTORY)),
        ("proc-foreign-fd", opening("fd", O_RDONLY | O_DIRECTORY)),
        ("proc-foreign-maps", reading("maps")),
        ("proc-foreign-exe", opening("exe", O_WRONLY)),
        ("proc-foreign-ptrace", trace),
    ]

    private static let O_PATH: Int32 = 0o10000000

    private static func opening(_ name: String, _ flags: Int32) -> Attempt {
        attempting(name) { path in
            let reply = tryOpen(path, flags)
            // ETXTBSY: the permission was there, and only the running program stands in the way, until it ends (CVE-2019-5736).
            return reply.errno == ETXTBSY ? 0 : reply.errno
        }
    }

    /// These open for whoever may see the process, and read as nothing for whoever may not look into it.
    private static func reading(_ name: String) -> Attempt {
        attempting(name) { path in
            switch head(of: path, 1) {
            case .success(let bytes): bytes.isEmpty ? EACCES : 0
            case .failure(let error): error.errno
            }
        }
    }

    /// - Parameter call: 0 or the error number.
    private static func attempting(_ name: String, _ call: @escaping @Sendable (String) -> Int32) -> Attempt {
        { situation in
            var denial: Int32?
            let processes = ForeignProcesses.visible(situation)
            for pid in processes {
                let number = call("/proc/\(pid)/\(name)")
                if number == 0 {
                    let comm = (text(of: "/proc/\(pid)/comm") ?? "").prefix { $0 != "\n" }
                    return .reached("/proc/\(pid)/\(name) was opened, of the process “\(comm)”")
                }
                if number != ENOENT && number != ESRCH { denial = number }
            }
            return ForeignProcesses.finding(processes.count, denial, name)
        }
    }

    /// Only the canary: PTRACE_SEIZE does not stop it, and the end of this process lets it go.
    private static func trace(_ situation: Situation) -> Finding {
        guard let canary = situation.facts.hostProcess else { return .inconclusive("the request names no process of the host") }
        if let name = text(of: "/proc/\(canary.pid)/comm"), !name.hasPrefix(canary.name.prefix(15)) {
            return .held("number \(canary.pid) is another process here")
        }
        return Reply(cl_ptrace(0x4206, canary.pid, 0, 0)).whenItSucceeds("PTRACE_SEIZE of process \(canary.pid)")
    }
}
