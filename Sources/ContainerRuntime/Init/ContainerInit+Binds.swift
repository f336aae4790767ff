import CLinux
import Glibc
import LaunchPlan
import LinuxKernel

extension ContainerInit {
    mutating func attachBind(_ mount: MountStep, _ index: Int) throws {
        if let link = prepared.copiedLinks[index] { return try makeLink(link, mount.destination) }
        if prepared.bindSources[index] != nil { try fetchTrees(from: index) }
        guard let raw = prepared.trees.removeValue(forKey: index) else { throw LaunchFailure(.mount, "no source for \(mount.destination)") }
        let tree = FileDescriptor(owning: raw)
        try attach(tree, mount, directory: prepared.treeIsDirectory[index] ?? true)
    }

    /// The parent clones them now, of what it opened before this process existed.
    private mutating func fetchTrees(from first: Int) throws {
        try channel.sendMessage(try InitMessage.binds(from: first).encoded())
        for index in plan.binds(from: first) {
            guard let source = prepared.bindSources.removeValue(forKey: index) else { continue }  // missing, or a link
            close(source)
            guard let (bytes, descriptor) = try channel.receiveMessage(limit: 16) else {
                throw LaunchFailure(.mount, "the runtime ended before the container was started")
            }
            guard bytes == [LaunchCommand.proceed.rawValue], descriptor >= 0 else { throw InitMessageError.unexpected }
            prepared.trees[index] = descriptor
        }
    }

    private func attach(_ tree: borrowing FileDescriptor, _ mount: MountStep, directory: Bool) throws {
        let raw = tree.rawValue
        if mount.destination == "/proc", try retrying("fstatfs", "/proc", { cl_filesystem_magic(raw) }) != Self.procMagic {
            throw LaunchFailure(.mount, "only a procfs may be mounted on /proc of the container", subject: "/proc")
        }
        try performing(.mount, "mounting on \(mount.destination)") {
            let target = try mountPoint(mount.destination, directory: directory, followsLink: !mount.links.contains(.destination))
            if mount.copyUp { try fill(tree, from: target, mount.destination) }
            try Mounts.attach(tree, on: target)
            if mount.copyUp, mount.setAttributes & MountAttributes.readOnly.rawValue != 0 {
                try Mounts.setAttributes(tree, set: .readOnly, recursive: true)
            }
        }
    }

    /// A part of the root as the mounts before have made it, by the root's own resolver: a link of the image leads nowhere else.
    mutating func attachInside(_ mount: MountStep, _ path: String, recursive: Bool, _ index: Int) throws {
        let tree = try performing(.mount, "the bind source for \(mount.destination)") {
            let source = try root.open(path, RootDirectory.pathOnly)
            try refuseSystem(source, path)
            let tree = try Mounts.cloneTree(source, recursive: recursive)
            try BindOptions.set(on: tree, mount)
            return tree
        }
        let isDirectory = try tree.status().st_mode & S_IFMT == S_IFDIR
        if mount.idMapping != nil {
            try channel.sendMessage(try InitMessage.shift(step: index).encoded(), with: try tree.duplicate())
            try wait(for: .proceed)
        }
        try attach(tree, mount, directory: isDirectory)
    }

    /// Masks and read-only paths lie on /proc and /sys themselves: a second view of these would have none, and an image's link can lead there.
    private func refuseSystem(_ source: borrowing FileDescriptor, _ path: String) throws {
        let raw = source.rawValue
        let magic = try retrying("fstatfs", path) { cl_filesystem_magic(raw) }
        let (own, top) = (try source.status(), try root.descriptor.status())
        if magic == Self.procMagic || magic == Self.sysfsMagic || own.st_ino == top.st_ino && own.st_dev == top.st_dev {
            throw LaunchFailure(
                .mount, "the bind source \(path) is the root, or in /proc or /sys of the container: these have one place only", subject: path)
        }
    }

    private static let sysfsMagic = 0x6265_6572  // SYSFS_MAGIC

    /// What lies at a path itself, be it a link; the way there is looked up in the root.
    func ownMountPoint(_ path: String) throws -> FileDescriptor {
        let (directory, name) = try place(of: path, for: "openat")
        let parent = try root.open(directory, RootDirectory.pathOnly | O_DIRECTORY)
        let raw = parent.rawValue
        return FileDescriptor(owning: try retrying("openat", path) { openat(raw, name, RootDirectory.pathOnly | O_NOFOLLOW | O_CLOEXEC) })
    }

    /// The directory that a path's last name is in, and that name.
    private func place(of path: String, for call: String) throws(KernelError) -> (directory: String, name: String) {
        let components = path.split(separator: "/").filter { $0 != "." }
        guard let name = components.last.map(String.init), name != ".." else { throw KernelError(call: call, errno: EINVAL, subject: path) }
        return ("/" + components.dropLast().joined(separator: "/"), name)
    }

    /// "copy-symlink": the host's link is made anew in the root. What lies there already must be the same link.
    private func makeLink(_ target: String, _ path: String) throws {
        try performing(.mount, "making the link \(path)") {
            let (directory, name) = try place(of: path, for: "symlinkat")
            let parent = try mountPoint(directory, directory: true)
            let raw = parent.rawValue
            if symlinkat(target, raw, name) == 0 { return }
            if errno != EEXIST { throw KernelError.last("symlinkat", path) }
            var buffer = [CChar](repeating: 0, count: 4097)
            let length = readlinkat(raw, name, &buffer, 4096)
            guard length >= 0, buffer[0..<length].map({ UInt8(bitPattern: $0) }).elementsEqual(target.utf8) else {
                throw KernelError(call: "symlinkat", errno: EEXIST, subject: path)
            }
        }
    }
}
