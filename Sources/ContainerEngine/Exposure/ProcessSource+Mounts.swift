import Confinement
import Exposure
import Glibc
import LinuxKernel
import OCISpec
import TextSearch

// LinuxKernel has types of the same names for the calls; here the model's are meant.
import struct Confinement.DeviceRule

extension ProcessSource {
    private struct MountLine {
        let device: String
        let root: String
        let path: String
        let options: [String]
        let type: String
    }

    struct MountFindings {
        var list: [Mount] = []
        var masked: [String] = []
        var readOnly: [String] = []
        var rootReadOnly = false
    }

    /// Lines of mountinfo: ID, parent, device, root, mount point, options, further fields, “-”, type, source, options of the file system.
    private static func lines(_ text: String) -> [MountLine] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ").map { unescaped($0) }
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1 else { return nil }
            let shared = fields[6..<dash].contains { $0.hasPrefix("shared:") } ? ["shared"] : []
            // A size is an option of the file system, whatever the mount's own are.
            let sizes = (fields.last ?? "").split(separator: ",").map(String.init).filter { $0.hasPrefix("size=") }
            return MountLine(
                device: fields[2], root: fields[3], path: fields[4], options: fields[5].split(separator: ",").map(String.init) + shared + sizes,
                type: fields[dash + 1])
        }
    }

    /// Blanks and backslashes stand as octal numbers.
    private static func unescaped(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var result: [UInt8] = []
        var bytes = Array(field.utf8)[...]
        while let byte = bytes.popFirst() {
            if byte == UInt8(ascii: "\\"), bytes.count >= 3, let code = UInt8(String(decoding: bytes.prefix(3), as: UTF8.self), radix: 8) {
                result.append(code)
                bytes = bytes.dropFirst(3)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    mutating func readMounts(isHost: Bool) throws(EngineError) -> MountFindings {
        guard let own = text("mountinfo") else {
            unknown[.mounts] = "its mounts may not be read"
            return MountFindings(list: [Mount(destination: "/", type: "bind", source: "/", options: ["rw"])])
        }
        let lines = Self.lines(own)
        var found = MountFindings()
        // Whoever is not root of the host writes where the files' owners let him.
        let isRoot = numbers("Uid").dropFirst().first == 0
        let root = lines.last { $0.path == "/" }
        found.rootReadOnly = root?.options.contains("ro") ?? false
        if isHost {
            found.list = [Mount(destination: "/", type: "bind", source: "/", options: [isRoot && !found.rootReadOnly ? "rw" : "ro"])]
            found.list += lines.filter { $0.path == "/sys" }.map { line in
                Mount(destination: line.path, type: line.type, source: line.type, options: isRoot ? line.options : line.options + ["ro"])
            }
            found.list += Self.controlGroups(lines, isWritable: isRoot)
            return found
        }
        let host = Self.lines((try? readFile("/proc/self/mountinfo", limit: 16 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? "")
        for line in lines where line.path != "/" && line.path != "/sys/fs/cgroup" { add(line, host, to: &found) }
        found.list += Self.controlGroups(lines, isWritable: true)
        // What this kernel does not have is as good as covered.
        found.masked += (KernelPaths.telling + KernelPaths.settings).filter { !found.masked.contains($0) && !Self.hasPath(pid, $0) }
        return found
    }

    /// One mount for all hierarchies. Those of version 1 lie in a directory in memory, which gives nothing away.
    private static func controlGroups(_ lines: [MountLine], isWritable: Bool) -> [Mount] {
        let groups = lines.filter { $0.type.hasPrefix("cgroup") && ($0.path == "/sys/fs/cgroup" || $0.path.hasPrefix("/sys/fs/cgroup/")) }
        if groups.isEmpty { return [] }
        let isOpen = isWritable && groups.contains { !$0.options.contains("ro") }
        return [Mount(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [isOpen ? "rw" : "ro"])]
    }

    private static let virtual: Set<String> = [
        "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "nsfs", "overlay", "fuse.lxcfs", "bpf", "tracefs", "debugfs",
        "securityfs", "ramfs", "hugetlbfs",
    ]

    private func add(_ line: MountLine, _ host: [MountLine], to found: inout MountFindings) {
        let isReadOnly = line.options.contains("ro")
        if line.path.hasPrefix("/proc/") || line.path.hasPrefix("/sys/") && line.path != "/sys/fs/cgroup" {
            // A mask is an empty directory in memory or the null device; a read-only path is its own file system once more.
            if line.type == "proc" || line.type == "sysfs" {
                if isReadOnly { found.readOnly.append(line.path) }
            } else if !line.type.hasPrefix("cgroup") {
                // Of the processors' files one stands for all.
                let isProcessors = line.path.hasPrefix("/sys/devices/system/cpu/cpu") && line.path.hasSuffix("/thermal_throttle")
                found.masked.append(isProcessors ? "/sys/devices/system/cpu/cpu0/thermal_throttle" : line.path)
            }
            return
        }
        let source = Self.hostPath(line, host)
        if let source, !Self.virtual.contains(line.type) || line.type == "tmpfs" && line.root != "/" || line.type == "devtmpfs" {
            found.list.append(Mount(destination: line.path, type: "bind", source: source, options: line.options))
        } else {
            found.list.append(Mount(destination: line.path, type: line.type, source: line.type, options: line.options))
        }
    }

    /// Where the host has the same directory: the mount of the same device whose root holds it.
    private static func hostPath(_ line: MountLine, _ host: [MountLine]) -> String? {
        let same = host.filter { $0.device == line.device && ($0.root == "/" || line.root == $0.root || line.root.hasPrefix($0.root + "/")) }
        guard let best = same.max(by: { $0.root.count < $1.root.count }) else { return nil }
        let rest = best.root == "/" ? line.root : String(line.root.dropFirst(best.root.count))
        let path = (best.path == "/" ? "" : best.path) + (rest == "/" ? "" : rest)
        return path.isEmpty ? "/" : path
    }
}

extension ProcessSource {
    private static let maximumNodes = 1000

    /// Nodes in its own /dev, beside those that everybody has; where every device can be opened, nodes say nothing more.
    mutating func nodes(isHost: Bool, _ rules: [DeviceRule]) -> [DeviceNode] {
        if isHost || rules.last?.allows == true { return DeviceNode.defaults }
        do {
            let root = RootDirectory(try FileDescriptor.open("/proc/\(pid)/root", RootDirectory.pathOnly | O_DIRECTORY))
            var found: [DeviceNode] = []
            try Self.add("/dev", root, depth: 0, to: &found)
            return DeviceNode.defaults + found
        } catch {
            unknown[.devices] = "its /dev cannot be read: \(error.reason)"
            return DeviceNode.defaults
        }
    }

    /// Whatever the container made of its /dev: links are not followed, and nothing leaves its root.
    private static func add(
        _ directory: String, _ root: borrowing RootDirectory, depth: Int, to found: inout [DeviceNode]
    ) throws(KernelError) {
        let known = Set(DeviceNode.defaults.map(\.path) + ["/dev/console", "/dev/ptmx"])
        guard let opened = try root.openIfPresent(directory, O_RDONLY | O_DIRECTORY) else { return }
        let raw = opened.rawValue
        for entry in try DirectoryListing.read(raw, limit: maximumNodes) {
            let path = directory + "/" + entry.text
            var status = stat()
            guard fstatat(raw, entry.name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            let kind = status.st_mode & S_IFMT
            if kind == S_IFDIR, depth < 2, !["/dev/pts", "/dev/shm", "/dev/mqueue"].contains(path) {
                try add(path, root, depth: depth + 1, to: &found)
            }
            guard kind == S_IFCHR || kind == S_IFBLK, !known.contains(path) else { continue }
            if found.count == maximumNodes { throw KernelError(call: "readdir", errno: E2BIG) }
            found.append(
                DeviceNode(
                    path: path, kind: kind == S_IFBLK ? .block : .character, major: DeviceRequest.major(status.st_rdev),
                    minor: DeviceRequest.minor(status.st_rdev), mode: status.st_mode & 0o7777))
        }
    }

    /// Whether the process has something at the path, which a mask may cover.
    static func hasPath(_ pid: Int32, _ path: String) -> Bool {
        do {
            let root = RootDirectory(try FileDescriptor.open("/proc/\(pid)/root", RootDirectory.pathOnly | O_DIRECTORY))
            return try root.openIfPresent(path, RootDirectory.pathOnly | O_NOFOLLOW) != nil
        } catch {
            // It is there, or at least nobody has shown that it is not.
            return true
        }
    }
}
