import CProbing
import Glibc
import LinuxKernel
import Probe
import TextSearch

extension Attempts {
    /// Tried for as long as a probe may last, less one second, while the engine works on the same directory or enters the container.
    static let races: Group = [
        ("race-link-swap", { swap($0, directory: true) }),
        ("race-copy-swap", { swap($0, directory: false) }),
        ("race-fake-proc", offerFakeProc),
        ("race-exec", watchForEngine),
    ]

    private static func deadline(_ situation: Situation) -> Int { now() + max(1, situation.request.secondsPerProbe - 1) * 1000 }

    /// Milliseconds of a clock that only goes forward.
    private static func now() -> Int {
        var value = timespec()
        clock_gettime(CLOCK_MONOTONIC, &value)
        return value.tv_sec * 1000 + value.tv_nsec / 1_000_000
    }

    /// Exchanges "name" and a link to the host's path (renameat2(2), RENAME_EXCHANGE) as fast as it goes.
    private static func swap(_ situation: Situation, directory: Bool) -> Finding {
        guard let place = situation.facts.raceDirectory else { return .inconclusive("the request names no directory for races") }
        let real = "\(place)/\(directory ? "directory" : "file")"
        let other = "\(place)/.swap-\(directory ? "directory" : "file")"
        if directory {
            if mkdir(real, 0o777) != 0 && errno != EEXIST { return .denied(errno, real) }
        } else {
            let file = open(real, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
            if file < 0 { return .denied(errno, real) }
            close(file)
        }
        guard symlink(situation.facts.raceTarget ?? "/", other) == 0 || errno == EEXIST else { return .denied(errno, other) }
        let end = deadline(situation)
        var count = 0
        while now() < end {
            for _ in 0..<64 where Reply(cl_rename_exchange(real, other)).succeeded { count += 1 }
        }
        // Whichever is the link now; what was put into a real directory meanwhile is the other side's to remove.
        for path in [real, other] where linkStatus(of: path)?.isKind(S_IFDIR) == true ? rmdir(path) != 0 : unlink(path) != 0 { continue }
        return count == 0 ? .inconclusive("nothing could be exchanged in \(place)") : .tried("\(count) exchanges in \(place)")
    }

    /// Files with the names that an engine writes to while it starts a program; here, nothing that is written to them has any effect.
    private static func offerFakeProc(_ situation: Situation) -> Finding {
        guard let place = situation.facts.raceDirectory else { return .inconclusive("the request names no directory for races") }
        let root = "\(place)/proc"
        let directories = ["", "/self", "/self/attr", "/self/fd", "/thread-self", "/thread-self/attr", "/sys", "/sys/net", "/sys/net/ipv4"]
        let files = [
            "/self/attr/exec", "/self/attr/keycreate", "/thread-self/attr/exec", "/self/setgroups", "/self/uid_map", "/self/oom_score_adj",
            "/sys/net/ipv4/ping_group_range", "/sys/net/ipv4/ip_unprivileged_port_start", "/sysrq-trigger",
        ]
        for directory in directories where mkdir(root + directory, 0o777) != 0 && errno != EEXIST { return .denied(errno, root + directory) }
        for file in files {
            let made = open(root + file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
            if made < 0 { return .denied(errno, root + file) }
            close(made)
        }
        defer {
            for file in files { unlink(root + file) }
            for directory in directories.reversed() { rmdir(root + directory) }
        }
        let end = deadline(situation)
        while now() < end {
            for file in files where (status(of: root + file)?.st_size ?? 0) > 0 { return .reached("the engine wrote to \(file) of a false /proc") }
            usleep(1000)
        }
        return .tried("a false /proc was in \(place), and nothing was written to it")
    }

    /// CVE-2016-9962: what the engine's process shows of itself before it becomes the container's program.
    private static func watchForEngine(_ situation: Situation) -> Finding {
        guard let engine = situation.facts.engineName else { return .inconclusive("the request does not name the engine's process") }
        let end = deadline(situation)
        var met: Set<Int32> = []
        while now() < end {
            for name in names(in: "/proc") {
                guard let pid = Int32(name), pid != getpid(), pid != getppid(), isEngine(pid, engine) else { continue }
                met.insert(pid)
                if let door = openDoor(pid), isEngine(pid, engine) { return .reached("\(door) of the engine's process \(pid)") }
            }
        }
        return met.isEmpty ? .inconclusive("no process “\(engine)” came by") : .held("\(met.count) processes “\(engine)” came by, and showed nothing")
    }

    /// By its name, and by its program where that is to be seen: execve(2) opens a process to others before it renames it.
    private static func isEngine(_ pid: Int32, _ engine: String) -> Bool {
        guard text(of: "/proc/\(pid)/comm")?.hasPrefix(engine.prefix(15)) == true else { return false }
        guard let program = link(at: "/proc/\(pid)/exe") else { return true }
        return program.contains(engine) || program.contains("memfd:")
    }

    private static func openDoor(_ pid: Int32) -> String? {
        let doors: [(String, Int32)] = [
            ("fd", O_RDONLY | O_DIRECTORY), ("root", O_RDONLY | O_DIRECTORY), ("cwd", O_RDONLY | O_DIRECTORY), ("exe", O_WRONLY), ("mem", O_RDWR),
        ]
        for (name, flags) in doors {
            let reply = tryOpen("/proc/\(pid)/\(name)", flags)
            if reply.succeeded || reply.errno == ETXTBSY { return name }
        }
        return cl_ptrace(0x4206, pid, 0, 0) == 0 ? "ptrace" : nil
    }
}
