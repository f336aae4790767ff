import Glibc
import LinuxKernel

/// Writes the files of a tar stream below a directory, for `cp`. Names and links of the stream are hostile: every path is
/// resolved with the root as its root, and no link in the last component is followed.
public struct TreeArchiveExtraction: ~Copyable {
    private let root: RootDirectory
    /// Absolute, inside the root.
    private let directory: String
    private let owners: OwnerTranslation
    /// The stream's first component, and what it is called here; "" puts its content into `directory` itself.
    private let rename: (from: String, to: String)?
    private let changesOwner: Bool

    /// - Parameters:
    ///   - owners: nil leaves every file to whoever runs this.
    ///   - rename: the stream's first component and its name here.
    public init(
        _ root: consuming RootDirectory, directory: String, owners: OwnerTranslation?, rename: (from: String, to: String)?
    ) {
        self.root = root
        self.directory = directory
        self.owners = owners ?? OwnerTranslation(maps: nil, fixed: nil)
        self.rename = rename
        changesOwner = owners != nil
    }

    /// Reads the stream to its end.
    public func extract(from input: Int32) throws {
        var limits = UnpackLimits(compressedBytes: 0)
        limits.streamBytes = .max
        let reader = TarReader(ByteSource(input, hashing: nil), limits: limits)
        while let entry = try reader.next() { try add(entry, reader) }
    }

    private func path(of entry: TarEntry) throws -> String {
        guard let text = String(validating: entry.path, as: UTF8.self) else { throw UnpackFailure("a name in the archive is no UTF-8") }
        var parts = text.split(separator: "/").filter { $0 != "." }
        if parts.contains("..") { throw UnpackFailure("the path \(text) contains \"..\"") }
        if let rename {
            guard parts.first.map(String.init) == rename.from else { throw UnpackFailure("the archive holds \(text), which was not asked for") }
            parts.removeFirst()
            if !rename.to.isEmpty { parts.insert(Substring(rename.to), at: 0) }
        }
        return parts.joined(separator: "/")
    }

    private func add(_ entry: TarEntry, _ reader: TarReader) throws {
        let path = try path(of: entry)
        // The directory itself: it exists, and keeps its mode and owner.
        guard let name = path.split(separator: "/").last.map(String.init) else { return }
        let parentPath = directory + "/" + path.dropLast(name.count)
        let parent = try root.makeDirectories(parentPath)
        switch entry.kind {
        case .directory: try makeDirectory(name, parent, entry)
        case .regular: try makeFile(name, parent, entry, reader)
        case .symbolicLink(let target):
            try clear(name, parent)
            let text = cString(target)
            try making(path) { symlinkat(text, parent.rawValue, name) }
            try setOwner(name, parent, entry)
        case .hardLink(let target): try makeLink(name, parent, to: target, path)
        case .fifo:
            try clear(name, parent)
            try making(path) { mkfifoat(parent.rawValue, name, entry.mode & 0o777) }
            try setOwner(name, parent, entry)
        case .characterDevice, .blockDevice: break
        }
    }

    private func making(_ path: String, _ call: () -> Int32) throws { try retrying("create", path, call) }

    /// Makes room: what is there goes, unless it is a directory.
    private func clear(_ name: String, _ parent: borrowing FileDescriptor) throws {
        if unlinkat(parent.rawValue, name, 0) != 0, errno != ENOENT {
            throw errno == EISDIR ? UnpackFailure("cannot overwrite directory \"\(name)\" with a file") : KernelError.last("unlink", name)
        }
    }

    private func makeDirectory(_ name: String, _ parent: borrowing FileDescriptor, _ entry: TarEntry) throws {
        if mkdirat(parent.rawValue, name, 0o700) != 0 {
            guard errno == EEXIST else { throw KernelError.last("mkdir", name) }
            var status = stat()
            let raw = parent.rawValue
            try retrying("fstatat", name) { fstatat(raw, name, &status, AT_SYMLINK_NOFOLLOW) }
            guard status.st_mode & S_IFMT == S_IFDIR else { throw UnpackFailure("cannot overwrite \"\(name)\" with a directory") }
            return
        }
        let made = try parent.open(at: name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        try finish(made, entry)
    }

    private func makeFile(_ name: String, _ parent: borrowing FileDescriptor, _ entry: TarEntry, _ reader: TarReader) throws {
        try clear(name, parent)
        let file = try parent.open(at: name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
        let raw = file.rawValue
        try reader.content { bytes in
            var offset = 0
            while offset < bytes.count {
                offset += try retrying("write", name) { Glibc.write(raw, bytes.baseAddress.map { $0 + offset }, bytes.count - offset) }
            }
        }
        try finish(file, entry)
        try file.close()
    }

    private func finish(_ file: borrowing FileDescriptor, _ entry: TarEntry) throws {
        let raw = file.rawValue
        if changesOwner {
            let (user, group) = owners.onDisk(user: entry.user, group: entry.group)
            try retrying("fchown") { fchown(raw, user, group) }
        }
        // After the owner: a change of owner clears set-ID bits.
        try retrying("fchmod") { fchmod(raw, entry.mode & (changesOwner ? 0o7777 : 0o777)) }
        let time = timespec(tv_sec: entry.modified.seconds, tv_nsec: entry.modified.nanoseconds)
        try retrying("futimens") { futimens(raw, [time, time]) }
    }

    private func setOwner(_ name: String, _ parent: borrowing FileDescriptor, _ entry: TarEntry) throws {
        guard changesOwner else { return }
        let (user, group) = owners.onDisk(user: entry.user, group: entry.group)
        let raw = parent.rawValue
        try retrying("fchownat", name) { fchownat(raw, name, user, group, AT_SYMLINK_NOFOLLOW) }
    }

    private func makeLink(_ name: String, _ parent: borrowing FileDescriptor, to target: [UInt8], _ path: String) throws {
        var entry = TarEntry(path: target, kind: .directory, mode: 0, user: 0, group: 0, size: 0, modified: (0, 0), attributes: [])
        entry.path = target
        let source = try self.path(of: entry)
        guard let last = source.split(separator: "/").last.map(String.init) else { throw UnpackFailure("\(path) links to a directory") }
        let holder = try root.open(directory + "/" + source.dropLast(last.count), RootDirectory.pathOnly | O_DIRECTORY)
        try clear(name, parent)
        let (from, to) = (holder.rawValue, parent.rawValue)
        try making(path) { linkat(from, last, to, name, 0) }
    }
}
