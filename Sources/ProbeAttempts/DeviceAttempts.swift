import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

extension Attempts {
    static let devices: Group = [
        ("dev-memory", openDevices(["/dev/mem", "/dev/kmem", "/dev/port"])),
        ("dev-kmsg", openDevices(["/dev/kmsg"])),
        ("dev-kvm", openDevices(["/dev/kvm"])),
        ("dev-fuse", openDevices(["/dev/fuse"])),
        ("dev-tun", openDevices(["/dev/net/tun"])),
        ("dev-disk", openDisk),
        ("dev-loop", openDevices(["/dev/loop-control"])),
        ("dev-vhost", openDevices(["/dev/vhost-net", "/dev/vhost-vsock", "/dev/vhost-vdpa*", "/dev/vsock"])),
        ("dev-input", openDevices(["/dev/uinput", "/dev/input/event*"])),
        ("dev-terminal", openDevices(["/dev/tty0", "/dev/tty1", "/dev/vcs", "/dev/vcsa"])),
        ("dev-userfaultfd", openDevices(["/dev/userfaultfd"])),
        ("dev-other", findOtherDevice),
        ("dev-mknod-null", { makeNode($0, S_IFCHR, 1, 3) }),
        ("dev-mknod-memory", { makeNode($0, S_IFCHR, 1, 1) }),
        ("dev-mknod-disk", makeDiskNode),
        ("dev-whiteout", makeWhiteout),
    ]

    /// Opens for reading without waiting, and closes again: none of these does anything for that.
    private static func openDevices(_ patterns: [String]) -> Attempt {
        { _ in
            let found = patterns.flatMap(paths(matching:))
            var denial: Int32?
            var missing = false
            for path in found {
                let reply = tryOpen(path, O_RDONLY | O_NONBLOCK)
                if reply.succeeded { return .reached("\(path) was opened") }
                if reply.errno == ENXIO || reply.errno == ENODEV { missing = true } else if reply.errno != ENOENT { denial = reply.errno }
            }
            let list = patterns.joined(separator: ", ")
            if let denial { return .denied(denial, list) }
            return missing ? Finding(.absent, errno: ENXIO, "\(list): there is a node, and no such device") : .denied(ENOENT, list)
        }
    }

    private static func openDisk(_ situation: Situation) -> Finding {
        let disks = names(in: "/dev").map { "/dev/\($0)" }.filter { linkStatus(of: $0)?.isKind(S_IFBLK) == true }
        var last: Int32 = ENOENT
        var missing = 0
        for disk in disks {
            let reply = tryOpen(disk, O_RDONLY | O_NONBLOCK)
            if reply.succeeded { return .reached("\(disk) was opened") }
            if reply.errno == ENXIO || reply.errno == ENODEV { missing += 1 } else { last = reply.errno }
        }
        if !disks.isEmpty && missing == disks.count {
            return Finding(.absent, errno: ENXIO, "/dev has nodes of \(missing) disks, and there are none")
        }
        return .denied(last, "\(disks.count) disks in /dev")
    }

    /// What every container may have, and what other probes open.
    private static let knownDevices: Set<String> = [
        "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "mem", "kmem", "port", "kmsg", "kvm", "fuse", "loop-control",
        "vhost-net",
        "vhost-vsock", "vsock", "uinput", "userfaultfd",
    ]

    /// Asks for permission and opens nothing: a watchdog starts with open(2).
    private static func findOtherDevice(_ situation: Situation) -> Finding {
        var found: [String] = []
        for name in names(in: "/dev") where !knownDevices.contains(name) && !name.hasPrefix("vcs") {
            if name.hasPrefix("tty") && name.dropFirst(3).allSatisfy(\.isNumber) { continue }
            let path = "/dev/\(name)"
            guard let status = linkStatus(of: path) else { continue }
            if status.isKind(S_IFCHR) && access(path, R_OK) == 0 { found.append(path) }
            guard status.isKind(S_IFDIR) && !["pts", "shm", "mqueue", "fd", "net", "input"].contains(name) else { continue }
            found += names(in: path).map { "\(path)/\($0)" }.filter { linkStatus(of: $0)?.isKind(S_IFCHR) == true && access($0, R_OK) == 0 }
        }
        guard !found.isEmpty else { return .held("/dev has what a container needs, and no more") }
        return .reached("it may open \(found.prefix(8).joined(separator: ", "))\(found.count > 8 ? " and \(found.count - 8) more" : "")")
    }

    // MARK: Nodes

    private static func makeNode(_ situation: Situation, _ kind: mode_t, _ major: UInt32, _ minor: UInt32) -> Finding {
        let what = "\(kind == S_IFBLK ? "b" : "c") \(major):\(minor)"
        var denial: Int32 = EROFS
        let finding: Finding? = inScratchDirectories { directory in
            let path = "\(directory)/node"
            guard cl_mknodat(-100, path, kind | 0o600, cl_device(major, minor)) == 0 else {
                denial = errno
                return nil
            }
            defer { unlink(path) }
            let reply = tryOpen(path, O_RDONLY | O_NONBLOCK)
            if reply.succeeded { return .reached("the node \(what) was made and opened") }
            if reply.errno == ENXIO || reply.errno == ENODEV {
                return Finding(.absent, errno: reply.errno, "\(what) was made, and there is no such device")
            }
            denial = reply.errno
            return nil
        }
        return finding ?? .denied(denial, "a node \(what)")
    }

    private static func makeDiskNode(_ situation: Situation) -> Finding {
        let lines = (text(of: "/proc/partitions") ?? "").split(separator: "\n").dropFirst()
        let disks = lines.map { $0.split(separator: " ").prefix(2).compactMap { UInt32($0) } }.filter { $0.count == 2 }
        var last = Finding.denied(EPERM, "a node of a disk")
        // The first loop device is no disk, and opens where disks would.
        for numbers in disks.prefix(16) + [[8, 0], [7, 0]] {
            last = makeNode(situation, S_IFBLK, numbers[0], numbers[1])
            if last.outcome == .reached { return last }
        }
        return last
    }

    /// On overlayfs itself the kernel refuses it: other file systems are asked too.
    private static func makeWhiteout(_ situation: Situation) -> Finding {
        var denial: Int32 = EROFS
        let finding: Finding? = inScratchDirectories { directory in
            let path = "\(directory)/node"
            guard cl_mknodat(-100, path, S_IFCHR | 0o600, 0) == 0 else {
                denial = errno
                return nil
            }
            unlink(path)
            return .reached("a node c 0:0 was made in \(directory)")
        }
        return finding ?? .denied(denial, "a node c 0:0")
    }
}
