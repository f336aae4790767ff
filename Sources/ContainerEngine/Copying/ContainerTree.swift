import CLinux
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import StrictJSON

/// The child's half of `cp`: reaches the container's root and reads or writes a tar stream there.
public enum ContainerTree {
    /// On this descriptor a root parent hands down the user namespace by which layers are shifted.
    private static let namespaceDescriptor: Int32 = 4

    /// `internal copy REQUEST`.
    ///
    /// - Returns: the exit code. What went wrong, or the source that is about to be sent, is told on the parent's socket.
    public static func serve(_ text: String) -> Int32 {
        do {
            let request = try StrictJSONDecoder().decode(CopyRequest.self, from: Array(text.utf8))
            // A running container is entered as the invoking user, who owns its namespaces: from an owner namespace of one's
            // own, a sibling of the container's, its root could not be opened.
            if request.pid == 0 {
                if geteuid() != 0 { try OwnerNamespace.enter(with: [.mount]) } else { try Namespaces.unshare([.mount]) }
            }
            if request.pid == 0 {
                try perform(request, RootDirectory(try mount(request.overlay)), maps: request.maps)
            } else {
                let root = try open(rootOf: request.pid)
                try becomeContainerRoot(of: request)
                try perform(request, RootDirectory(root), maps: nil)
            }
            tell("K")
            return 0
        } catch {
            tell("E\(error)")
            return 1
        }
    }

    private static func tell(_ text: String) {
        let bytes = Array(text.utf8.prefix(4096))
        send(OwnerNamespace.socketDescriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// The root as the container's first process has it, mounts included.
    private static func open(rootOf pid: Int32) throws -> FileDescriptor {
        try FileDescriptor.open("/proc/\(pid)/root", RootDirectory.pathOnly | O_DIRECTORY)
    }

    /// A running container's file systems belong to its user namespace and take no owner from outside (EOVERFLOW): what is
    /// read and written there is read and written as its root, with its numbers.
    private static func becomeContainerRoot(of request: CopyRequest) throws {
        if request.uidMappings.isEmpty { return }
        let program = try Processes.open(request.pid)
        try Namespaces.join(program, [.user])
        try Credentials.assume(user: 0, group: 0, additionalGroups: [])
    }

    /// The overlay of a container that does not run, in a mount namespace of this process alone. What is mounted over it at
    /// run time (volumes, /proc) is not there.
    private static func mount(_ overlay: OverlayRoot) throws -> FileDescriptor {
        try Mounts.setPropagation(.private)
        let context = try FileSystemContext("tmpfs")
        try context.set("size", "1m")
        let stage = try context.mount([.noSetuid, .noDevices])
        try Mounts.attach(stage, on: try FileDescriptor.open(overlay.stageDirectory, RootDirectory.pathOnly | O_DIRECTORY))
        try retrying("chdir") { chdir(overlay.stageDirectory) }
        for (index, path) in overlay.lowerDirectories.enumerated() {
            try retrying("mkdir") { mkdir("l\(index)", 0o755) }
            let layer = try Mounts.cloneTree(path: path, recursive: false)
            if overlay.idmapLowers {
                let number = try retrying("fcntl") { cl_fcntl(namespaceDescriptor, F_DUPFD_CLOEXEC, 5) }
                try Mounts.mapIDs(of: layer, by: FileDescriptor(owning: number), recursive: false)
            }
            try Mounts.attach(layer, on: try FileDescriptor.open("l\(index)", RootDirectory.pathOnly | O_DIRECTORY))
        }
        let root = try FileSystemContext("overlay")
        try root.set("lowerdir", overlay.lowerDirectories.indices.map { "l\($0)" }.joined(separator: ":"))
        try root.set("upperdir", overlay.upperDirectory)
        try root.set("workdir", overlay.workDirectory)
        try root.set(flag: "userxattr")
        return try root.mount([.noSetuid, .noDevices])
    }

    private static func perform(_ request: CopyRequest, _ root: consuming RootDirectory, maps: IDMaps?) throws {
        switch request.direction {
        case .out(let path, let follow): try archive(path, follow: follow, root, OwnerTranslation(maps: maps, fixed: nil))
        case .into(let path, let source, let keepsOwners):
            let owners = OwnerTranslation(maps: maps, fixed: keepsOwners ? nil : (0, 0))
            guard let source else {
                guard try root.isDirectory(normalised(path)) == true else {
                    throw EngineError("\(path) is no directory of the container", code: .failure)
                }
                return try TreeArchiveExtraction(root, directory: normalised(path), owners: owners, rename: nil).extract(from: 0)
            }
            let target = try CopyTarget(path, for: source) { try root.isDirectory($0) }
            try TreeArchiveExtraction(root, directory: target.directory, owners: owners, rename: (source.name, target.name))
                .extract(from: 0)
        }
    }

    private static func archive(_ path: String, follow: Bool, _ root: borrowing RootDirectory, _ owners: OwnerTranslation) throws {
        let contentOnly = path.hasSuffix("/.") || path == "."
        let clean = normalised(path)
        let slash = clean.lastIndex(of: "/") ?? clean.startIndex
        let name = String(clean[clean.index(after: slash)...])
        do {
            if follow || clean == "/" || contentOnly {
                // The object itself, wherever links lead inside the root; then it is archived from within.
                let object = try root.open(clean, RootDirectory.pathOnly)
                let status = try object.status()
                if status.st_mode & S_IFMT == S_IFDIR {
                    let inner = try root.open(clean, O_RDONLY | O_DIRECTORY)
                    return try stream(".", inner, as: name.isEmpty ? "root" : name, isDirectory: true, contentOnly, owners)
                }
            }
            let parent = try root.open(String(clean[..<slash]) + "/", RootDirectory.pathOnly | O_DIRECTORY)
            var status = stat()
            let raw = parent.rawValue
            try retrying("fstatat", clean) { fstatat(raw, name, &status, AT_SYMLINK_NOFOLLOW) }
            if follow, status.st_mode & S_IFMT == S_IFLNK { return try followed(clean, root, owners) }
            let isDirectory = status.st_mode & S_IFMT == S_IFDIR
            try stream(name, parent, as: name, isDirectory: isDirectory, contentOnly, owners)
        } catch let error as KernelError where error.errno == ENOENT || error.errno == ENOTDIR {
            throw EngineError("could not find the file \(path) in the container", code: .failure)
        }
    }

    /// A link to a file, followed inside the root: the file under the link's name.
    private static func followed(_ path: String, _ root: borrowing RootDirectory, _ owners: OwnerTranslation) throws {
        var target = path
        for _ in 0..<40 {
            let parts = target.split(separator: "/")
            let directory = "/" + parts.dropLast().joined(separator: "/")
            let parent = try root.open(directory, RootDirectory.pathOnly | O_DIRECTORY)
            let name = parts.last.map(String.init) ?? "."
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = readlinkat(parent.rawValue, name, &buffer, buffer.count)
            if count < 0 {
                let shown = path.split(separator: "/").last.map(String.init) ?? "root"
                return try stream(name, parent, as: shown, isDirectory: false, false, owners)
            }
            let link = String(decoding: buffer[..<count], as: UTF8.self)
            target = normalised(link.hasPrefix("/") ? link : directory + "/" + link)
        }
        throw KernelError(call: "readlink", errno: ELOOP, subject: path)
    }

    private static func stream(
        _ name: String, _ parent: borrowing FileDescriptor, as archived: String, isDirectory: Bool, _ contentOnly: Bool,
        _ owners: OwnerTranslation
    ) throws {
        let source = CopySource(name: archived, isDirectory: isDirectory, contentOnly: contentOnly)
        tell("S" + String(decoding: try StrictJSONEncoder().encode(source), as: UTF8.self))
        try TreeArchiveWriter(1, owners: owners).write(name, in: parent, as: archived)
    }
}
