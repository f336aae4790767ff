import CLinux
import Glibc
import LinuxKernel

/// How an image's own IDs become IDs of the namespace that the layer is written in.
struct ImageIDs: Codable, Sendable, Equatable {
    /// What image ID 0 is.
    var offset: UInt32
    /// How many IDs, from 0 on, can be written.
    var count: UInt32

    func onDisk(_ id: UInt32, _ what: String, of path: [UInt8]) throws -> UInt32 {
        guard id < count else {
            throw UnpackFailure(
                "\(printable(path)) belongs to \(what) \(id), beyond the \(count) IDs that a container has")
        }
        return id + offset
    }
}

/// Writes the entries of a layer below one directory.
///
/// Every parent directory is resolved by openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS, and only descriptors
/// are used from there: parent descriptor and last component, never following a link, never opening what exists (rule R4;
/// CVE-2014-9357, CVE-2019-18466, CVE-2021-32760, CVE-2021-29136, CVE-2025-47290). Deletions of lower layers are written
/// as overlayfs reads them with `userxattr`: a character device 0:0, and `user.overlay.opaque` on a directory.
final class LayerTree {
    private static let pathOnly: Int32 = RootDirectory.pathOnly
    private static let whiteoutPrefix = Array(".wh.".utf8)
    private static let opaqueMarker = Array(".wh..wh..opq".utf8)

    private let root: FileDescriptor
    private let ids: ImageIDs
    private let limits: UnpackLimits
    private var parents = ParentCache()
    /// Times of directories, set at the end: every entry below changes them.
    private var directoryTimes: [(path: [UInt8], time: (seconds: Int, nanoseconds: Int))] = []
    private(set) var bytes: Int64 = 0
    private(set) var droppedDevices = 0
    private(set) var droppedAttributes = 0

    /// - Parameter root: the layer's directory, empty.
    init(_ root: consuming FileDescriptor, ids: ImageIDs, limits: UnpackLimits) throws {
        self.root = root
        self.ids = ids
        self.limits = limits
        umask(0)
        try check("fchown", []) { [self] in fchown(self.root.rawValue, ids.offset, ids.offset) }
    }

    /// Writes one entry. - Parameter reader: gives a regular file's content.
    func add(_ entry: TarEntry, from reader: TarReader) throws {
        let components = try components(of: entry.path)
        guard let name = components.last else {
            guard entry.kind == .directory else {
                throw UnpackFailure("the root of the layer is not a directory but a link or a file")
            }
            return try finishDirectory(try reopenRoot(), entry)
        }
        for component in components.dropLast() where component.starts(with: Self.whiteoutPrefix) {
            throw UnpackFailure("the path \(printable(entry.path)) leads through a whiteout")
        }
        let parent = try parent(of: components)
        if name.starts(with: Self.whiteoutPrefix) { return try addWhiteout(Array(name), in: parent, entry) }
        try create(entry, name: cString(name), in: parent, reader)
    }

    /// Sets the times of directories. Call it once, after the last entry.
    func finish() throws {
        for (path, time) in directoryTimes.reversed() {
            // It may have been replaced by another entry since: then it is skipped.
            let opened = cl_openat2(root.rawValue, cString(path), UInt64(O_DIRECTORY | O_CLOEXEC), 0, Self.resolution)
            if opened < 0 {
                if errno == ENOENT || errno == ENOTDIR { continue }
                throw failure(.last("openat2"), path)
            }
            let directory = FileDescriptor(owning: opened)
            try setTime(of: directory.rawValue, time, path)
        }
        parents.removeAll()
    }

    // MARK: Paths

    /// RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    private static let resolution: UInt64 = 0x10 | 0x02

    /// The components of a path, relative to the layer however it is written; "." and empty ones left out.
    private func components(of path: [UInt8]) throws -> [ArraySlice<UInt8>] {
        let components = path.split(separator: UInt8(ascii: "/")).filter { !$0.elementsEqual([UInt8(ascii: ".")]) }
        guard components.count <= limits.depth else {
            throw UnpackFailure("the path \(printable(path)) is nested deeper than \(limits.depth) directories")
        }
        for component in components {
            if component.elementsEqual("..".utf8) { throw UnpackFailure("the path \(printable(path)) contains \"..\"") }
            if component.count > limits.nameBytes {
                throw UnpackFailure("the path \(printable(path)) has a component longer than \(limits.nameBytes) bytes")
            }
        }
        return components
    }

    /// The directory that holds the last component, made (0755, container root) where it is missing.
    private func parent(of components: [ArraySlice<UInt8>]) throws -> Int32 {
        let path = Array(components.dropLast().joined(separator: [UInt8(ascii: "/")]))
        if path.isEmpty { return root.rawValue }
        if let known = parents[path] { return known }
        let flags = UInt64(Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
        let opened = cl_openat2(root.rawValue, cString(path), flags, 0, Self.resolution)
        if opened >= 0 { return parents.insert(path, FileDescriptor(owning: opened)) }
        guard errno == ENOENT else { throw failure(.last("openat2"), path) }
        return parents.insert(path, try makeDirectories(components.dropLast(), path))
    }

    private func makeDirectories(_ components: ArraySlice<ArraySlice<UInt8>>, _ path: [UInt8]) throws -> FileDescriptor {
        var current = try reopenRoot()
        var walked: [UInt8] = []
        for component in components {
            walked += (walked.isEmpty ? [] : [UInt8(ascii: "/")]) + component
            let flags = UInt64(Self.pathOnly | O_DIRECTORY | O_CLOEXEC)
            var opened = cl_openat2(root.rawValue, cString(walked), flags, 0, Self.resolution)
            if opened < 0 {
                guard errno == ENOENT else { throw failure(.last("openat2"), path) }
                let name = cString(component)
                if mkdirat(current.rawValue, name, 0o755) != 0 {
                    // What exists and yet leads nowhere is a dangling link: nothing is made through it (CVE-2024-45310).
                    if errno == EEXIST { throw UnpackFailure("the path \(printable(path)) leads through a dangling link") }
                    throw failure(.last("mkdirat"), path)
                }
                try check("fchownat", path) { fchownat(current.rawValue, name, ids.offset, ids.offset, AT_SYMLINK_NOFOLLOW) }
                opened = openat(current.rawValue, name, Self.pathOnly | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                if opened < 0 { throw failure(.last("openat"), path) }
            }
            current = FileDescriptor(owning: opened)
        }
        return current
    }

    private func reopenRoot() throws -> FileDescriptor {
        FileDescriptor(owning: try retrying("openat") { openat(root.rawValue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) })
    }

    // MARK: Entries

    private func create(_ entry: TarEntry, name: [CChar], in parent: Int32, _ reader: TarReader) throws {
        switch entry.kind {
        case .regular: try createFile(entry, name, parent, reader)
        case .directory: try createDirectory(entry, name, parent)
        case .hardLink(let target): try createHardLink(entry, target, name, parent)
        case .symbolicLink(let target):
            let target = cString(target)
            try making(entry, name, parent) { symlinkat(target, parent, name) }
            try finishNode(entry, name, parent)
        case .fifo:
            try making(entry, name, parent) { cl_mknodat(parent, name, UInt32(S_IFIFO) | entry.mode & 0o777, 0) }
            try finishNode(entry, name, parent)
            if entry.mode & 0o7000 != 0 {
                try check("fchmodat", entry.path) { fchmodat(parent, name, mode_t(entry.mode), 0) }
            }
        case .characterDevice, .blockDevice:
            // Never made: a device of an image is no device of the container, and c 0:0 would be a forged whiteout.
            droppedDevices += 1
        }
    }

    private func createFile(_ entry: TarEntry, _ name: [CChar], _ parent: Int32, _ reader: TarReader) throws {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let file = FileDescriptor(
            owning: try making(entry, name, parent) { openat(parent, name, flags, mode_t(entry.mode & 0o777)) })
        let raw = file.rawValue
        try reader.content { part in
            var offset = 0
            while offset < part.count {
                let count = write(raw, part.baseAddress.map { $0 + offset }, part.count - offset)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw failure(.last("write"), entry.path)
                }
                offset += count
            }
        }
        bytes += entry.size
        try setOwner(of: raw, entry)
        // After the owner: chown(2) takes set-ID bits away.
        if entry.mode & 0o7000 != 0 { try check("fchmod", entry.path) { fchmod(raw, mode_t(entry.mode)) } }
        try setAttributes(of: raw, entry)
        try setTime(of: raw, entry.modified, entry.path)
        do { try file.close() } catch { throw failure(error, entry.path) }
    }

    private func createDirectory(_ entry: TarEntry, _ name: [CChar], _ parent: Int32) throws {
        var wasWhiteout = false
        if mkdirat(parent, name, 0o700) != 0 {
            guard errno == EEXIST else { throw failure(.last("mkdirat"), entry.path) }
            let existing = try status(name, parent, entry.path)
            if (existing?.st_mode ?? 0) & S_IFMT != S_IFDIR {
                wasWhiteout = existing.map(Self.isWhiteout) ?? false
                try remove(name, parent, entry.path)
                try check("mkdirat", entry.path) { mkdirat(parent, name, 0o700) }
            }
        }
        let opened = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if opened < 0 { throw failure(.last("openat"), entry.path) }
        let directory = FileDescriptor(owning: opened)
        // The same layer deletes the lower directory and makes a new one: it must not merge with the old.
        if wasWhiteout { try makeOpaque(directory.rawValue, entry.path) }
        try finishDirectory(directory, entry)
    }

    private func finishDirectory(_ directory: consuming FileDescriptor, _ entry: TarEntry) throws {
        let raw = directory.rawValue
        try setOwner(of: raw, entry)
        try check("fchmod", entry.path) { fchmod(raw, mode_t(entry.mode)) }
        try setAttributes(of: raw, entry)
        let path = Array(try components(of: entry.path).joined(separator: [UInt8(ascii: "/")]))
        directoryTimes.append((path.isEmpty ? [UInt8(ascii: ".")] : path, entry.modified))
    }

    /// A hard link to a regular file of the same layer, which must be there already.
    private func createHardLink(_ entry: TarEntry, _ target: [UInt8], _ name: [CChar], _ parent: Int32) throws {
        let components = try components(of: target)
        guard let last = components.last else { throw UnpackFailure("\(printable(entry.path)) is a hard link to the root") }
        let path = Array(components.dropLast().joined(separator: [UInt8(ascii: "/")]))
        let targetName = cString(last)
        let opened = cl_openat2(
            root.rawValue, cString(path.isEmpty ? [UInt8(ascii: ".")] : path), UInt64(Self.pathOnly | O_DIRECTORY | O_CLOEXEC), 0,
            Self.resolution)
        let missing = UnpackFailure("\(printable(entry.path)) is a hard link to \(printable(target)), which is not a regular file of this layer")
        if opened < 0 {
            if errno == ENOENT || errno == ENOTDIR || errno == ELOOP { throw missing }
            throw failure(.last("openat2"), target)
        }
        let directory = FileDescriptor(owning: opened)
        guard let found = try status(targetName, directory.rawValue, target), found.st_mode & S_IFMT == S_IFREG else { throw missing }
        var own = stat()
        if fstatat(parent, name, &own, AT_SYMLINK_NOFOLLOW) == 0, own.st_ino == found.st_ino, own.st_dev == found.st_dev {
            return  // A link to itself; removing it first would lose the file.
        }
        try making(entry, name, parent) { linkat(directory.rawValue, targetName, parent, name, 0) }
    }

    // MARK: Whiteouts

    /// `.wh.NAME` deletes NAME of the layers below, `.wh..wh..opq` everything in the directory (OCI layer specification).
    /// Neither deletes what this same layer brings, in whichever order the entries come.
    private func addWhiteout(_ name: [UInt8], in parent: Int32, _ entry: TarEntry) throws {
        guard entry.kind == .regular || isHardLink(entry.kind), entry.size == 0 else {
            throw UnpackFailure("the whiteout \(printable(entry.path)) is not an empty file")
        }
        if name == Self.opaqueMarker {
            let directory = FileDescriptor(
                owning: try retrying("openat") { openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) })
            return try makeOpaque(directory.rawValue, entry.path)
        }
        // AUFS's own bookkeeping (.wh..wh.plnk and others) means nothing to overlayfs.
        if name.starts(with: ".wh..wh.".utf8) { return }
        let hidden = name.dropFirst(Self.whiteoutPrefix.count)
        guard !hidden.isEmpty, !hidden.elementsEqual(".".utf8), !hidden.elementsEqual("..".utf8) else {
            throw UnpackFailure("the whiteout \(printable(entry.path)) names no file")
        }
        let target = cString(hidden)
        guard let existing = try status(target, parent, entry.path) else {
            try check("mknodat", entry.path) { cl_mknodat(parent, target, UInt32(S_IFCHR), 0) }
            return
        }
        guard existing.st_mode & S_IFMT == S_IFDIR else { return }
        let opened = openat(parent, target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if opened < 0 { throw failure(.last("openat"), entry.path) }
        let directory = FileDescriptor(owning: opened)
        try makeOpaque(directory.rawValue, entry.path)
    }

    private func isHardLink(_ kind: TarEntry.Kind) -> Bool {
        if case .hardLink = kind { return true }
        return false
    }

    private func makeOpaque(_ directory: Int32, _ path: [UInt8]) throws {
        try check("fsetxattr", path) { cl_fsetxattr(directory, "user.overlay.opaque", "y", 1) }
    }

    private static func isWhiteout(_ status: stat) -> Bool { status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0 }

    // MARK: Existing entries

    /// Makes something that must not exist; what is there from an earlier entry is removed first.
    @discardableResult
    private func making(_ entry: TarEntry, _ name: [CChar], _ parent: Int32, _ call: () -> Int32) throws -> Int32 {
        var result = call()
        if result < 0 && errno == EEXIST {
            try remove(name, parent, entry.path)
            result = call()
        }
        if result < 0 { throw failure(.last("create"), entry.path) }
        return result
    }

    private func remove(_ name: [CChar], _ parent: Int32, _ path: [UInt8]) throws {
        if unlinkat(parent, name, 0) == 0 { return }
        guard errno == EISDIR || errno == EPERM else { throw failure(.last("unlinkat"), path) }
        do {
            try TreeRemoval.remove(name, in: parent)
        } catch {
            throw failure(error, path)
        }
        // Descriptors of what was below are of no tree now.
        parents.removeAll()
    }

    private func status(_ name: [CChar], _ parent: Int32, _ path: [UInt8]) throws -> stat? {
        var result = stat()
        if fstatat(parent, name, &result, AT_SYMLINK_NOFOLLOW) == 0 { return result }
        if errno == ENOENT { return nil }
        throw failure(.last("fstatat"), path)
    }

    // MARK: Attributes

    private func owner(_ entry: TarEntry) throws -> (uid_t, gid_t) {
        (try ids.onDisk(entry.user, "user", of: entry.path), try ids.onDisk(entry.group, "group", of: entry.path))
    }

    private func setOwner(of file: Int32, _ entry: TarEntry) throws {
        let (user, group) = try owner(entry)
        try check("fchown", entry.path) { fchown(file, user, group) }
    }

    /// Owner and time of what cannot be opened: links and pipes.
    private func finishNode(_ entry: TarEntry, _ name: [CChar], _ parent: Int32) throws {
        let (user, group) = try owner(entry)
        try check("fchownat", entry.path) { fchownat(parent, name, user, group, AT_SYMLINK_NOFOLLOW) }
        let times = Self.times(entry.modified)
        try check("utimensat", entry.path) { utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) }
        droppedAttributes += entry.attributes.count
    }

    private func setTime(of file: Int32, _ time: (seconds: Int, nanoseconds: Int), _ path: [UInt8]) throws {
        let times = Self.times(time)
        try check("futimens", path) { futimens(file, times) }
    }

    private static func times(_ time: (seconds: Int, nanoseconds: Int)) -> [timespec] {
        [timespec](repeating: timespec(tv_sec: time.seconds, tv_nsec: time.nanoseconds), count: 2)
    }

    private func setAttributes(of file: Int32, _ entry: TarEntry) throws {
        for (name, value) in entry.attributes {
            guard let value = try LayerAttribute.value(name, value, rootID: ids.offset, path: entry.path) else {
                droppedAttributes += 1
                continue
            }
            let name = cString(name)
            try check("fsetxattr", entry.path) { cl_fsetxattr(file, name, value, value.count) }
        }
    }

    // MARK: Errors

    @discardableResult
    private func check(_ call: StaticString, _ path: [UInt8], _ body: () -> Int32) throws -> Int32 {
        let result = body()
        if result < 0 { throw failure(.last(call.description), path) }
        return result
    }

    private func failure(_ error: KernelError, _ path: [UInt8]) -> UnpackFailure {
        UnpackFailure("\(printable(path)): \(error.call): \(error.reason)", errno: error.errno)
    }
}

/// A C string of an archive's bytes, which hold no NUL.
func cString(_ bytes: some Sequence<UInt8>) -> [CChar] {
    var text = bytes.map { CChar(bitPattern: $0) }
    text.append(0)
    return text
}

/// Descriptors of directories that entries were lately written to. Archives list a directory's entries together, so that a
/// few descriptors save most resolutions. Sound because nobody else changes the tree, and emptied on every replacement.
private struct ParentCache {
    private var paths: [[UInt8]: Int] = [:]
    private var descriptors: [Int32] = []
    private static let capacity = 64

    subscript(path: [UInt8]) -> Int32? { paths[path].map { descriptors[$0] } }

    mutating func insert(_ path: [UInt8], _ descriptor: consuming FileDescriptor) -> Int32 {
        if descriptors.count == Self.capacity { removeAll() }
        let raw = descriptor.release()
        paths[path] = descriptors.count
        descriptors.append(raw)
        return raw
    }

    mutating func removeAll() {
        for descriptor in descriptors { Glibc.close(descriptor) }
        descriptors.removeAll(keepingCapacity: true)
        paths.removeAll(keepingCapacity: true)
    }
}
