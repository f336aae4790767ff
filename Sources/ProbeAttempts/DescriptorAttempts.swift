import CLinux
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let descriptors: Group = [
        ("fd-extra", findExtra),
        ("fd-directory", findDirectory),
        ("fd-standard", examineStandard),
        ("cwd-outside", examineWorkingDirectory),
        ("init-exe", openInit),
    ]

    private static func findExtra(_ situation: Situation) -> Finding {
        let extra = situation.descriptors.filter { $0.number > 2 }
        guard let first = extra.first else {
            return .held("open at the start: \(situation.descriptors.map { "\($0.number)" }.joined(separator: ", "))")
        }
        let what = link(at: "/proc/\(getppid())/fd/\(first.number)") ?? "something"
        return .reached("descriptor \(first.number) is open: \(what), \(extra.count) in all")
    }

    /// Walks up from each directory: one that does not come by the root is outside.
    private static func findDirectory(_ situation: Situation) -> Finding {
        let directories = situation.descriptors.filter { $0.found.isKind(S_IFDIR) }
        for directory in directories where !leadsToRoot(directory.number) {
            return .reached("descriptor \(directory.number) is a directory outside its root")
        }
        return .held(directories.isEmpty ? "no descriptor is a directory" : "each directory is inside its root")
    }

    private static func leadsToRoot(_ start: Int32) -> Bool {
        guard let root = fileIdentity(of: "/") else { return false }
        var current = openat(start, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        var below: FileIdentity?
        defer { if current >= 0 { close(current) } }
        for _ in 0..<256 {
            var found = stat()
            guard current >= 0, fstat(current, &found) == 0 else { return false }
            let here = FileIdentity(found)
            if here == root { return true }
            // The top of some other tree is its own parent.
            if here == below { return false }
            below = here
            let parent = openat(current, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            close(current)
            current = parent
        }
        return false
    }

    private static func examineStandard(_ situation: Situation) -> Finding {
        for descriptor in situation.descriptors where descriptor.number <= 2 {
            if descriptor.found.isKind(S_IFREG) {
                return .information("descriptor \(descriptor.number) is a file (device \(descriptor.found.st_dev))")
            }
            guard descriptor.found.isKind(S_IFCHR), isatty(descriptor.number) == 1 else { continue }
            if let own = status(of: "/dev/pts"), own.st_dev != descriptor.found.st_dev {
                return .information("descriptor \(descriptor.number) is a terminal that is not in /dev/pts")
            }
        }
        return .held("pipes, sockets, the null device, or a terminal of its own")
    }

    /// getcwd(2) itself: "(unreachable)" is how a directory outside shows (CVE-2024-21626).
    private static func examineWorkingDirectory(_ situation: Situation) -> Finding {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = cl_getcwd(&buffer, buffer.count)
        if length < 0 { return errno == ENOENT ? .reached("its working directory has no path") : .denied(errno, "getcwd(2)") }
        let path = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard path.hasPrefix("/") else { return .reached("its working directory is \(path)") }
        let here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if here < 0 { return .denied(errno, "opening its working directory") }
        defer { close(here) }
        return leadsToRoot(here) ? .held("its working directory is \(path)") : .reached("\(path) does not lead to its root")
    }

    /// The program of process 1, where it is not a file of the image: the engine's, or one that the engine put in.
    private static func openInit(_ situation: Situation) -> Finding {
        let path = "/proc/1/exe"
        guard let program = fileIdentity(of: path) else { return .denied(errno, path) }
        if program == fileIdentity(of: "/proc/self/exe") { return .held("process 1 is this program") }
        let place = link(at: path) ?? ""
        if fileIdentity(of: place) == program && !(situation.mounts ?? []).contains(where: { $0.target == place }) {
            return .held("process 1 is \(place), a file of its own root")
        }
        let reply = tryOpen(path, O_WRONLY)
        if reply.errno == ETXTBSY { return .reached("\(path), which is \(place), may be written to as soon as it has ended") }
        return reply.whenItSucceeds("opening \(path), which is \(place), for writing")
    }
}
