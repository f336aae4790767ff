import Glibc
import LinuxKernel
import OCISpec

/// The files of an image archive, whatever holds them. Paths are names in the archive; none is ever a path of the host.
protocol ArchiveContents {
    /// For messages: "archive.tar", "standard input".
    var name: String { get }
    /// Brings a file of the archive into the store. - Returns: its digest and size, or nil when there is no such file.
    func ingest(_ path: String, algorithm: Digest.Algorithm, progress: ProgressHandler?) throws -> (digest: Digest, size: Int64)?
    /// Reads a document, or nil when there is no such file.
    func read(_ path: String) throws -> [UInt8]?
}

/// A directory. Links in it are followed inside of it only (openat2(2), RESOLVE_IN_ROOT): a layout whose blobs are links
/// to a cache works when the cache is inside.
struct DirectoryContents: ArchiveContents {
    let name: String
    private let directory: SharedDescriptor
    private let store: ImageStore

    init(_ path: String, store: ImageStore) throws {
        name = path
        self.store = store
        directory = SharedDescriptor(
            try storing("open \(path)") { try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY) })
    }

    private func open(_ path: String) throws -> FileDescriptor? {
        do {
            let copy = FileDescriptor(owning: try retrying("fcntl") { fcntl(directory.rawValue, F_DUPFD_CLOEXEC, 3) })
            // Without O_NONBLOCK a pipe in place of a file would hang the program (CVE-2024-9676).
            let file = try RootDirectory(copy).open(path, O_RDONLY | O_NONBLOCK)
            guard try file.status().st_mode & S_IFMT == S_IFREG else {
                throw ImageStoreError.badArchive(name, reason: "\(printable(path.utf8)) is not a regular file")
            }
            return file
        } catch let error as KernelError {
            if error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw ImageStoreError.failed(error, "read \(name)")
        }
    }

    func ingest(_ path: String, algorithm: Digest.Algorithm, progress: ProgressHandler?) throws -> (digest: Digest, size: Int64)? {
        guard let file = try open(path) else { return nil }
        let size = Int64(try storing("read \(name)") { try file.status() }.st_size)
        let writer = try BlobWriter(store: store, expected: nil, algorithm: algorithm)
        let source = ByteSource(file.rawValue, hashing: nil)
        try storing("read \(name)") {
            try source.forEachPiece { part in
                try writer.write(part)
                progress?(TransferProgress(digest: Self.unknown, phase: .copying, completed: writer.size, total: size))
            }
        }
        return try writer.finish()
    }

    /// Progress of a file whose digest is not known yet.
    static let unknown = Digest(.sha256, bytes: [UInt8](repeating: 0, count: 32))

    func read(_ path: String) throws -> [UInt8]? {
        guard let file = try open(path) else { return nil }
        do {
            return try file.readAll(limit: 8 << 20)
        } catch {
            if error.errno == EFBIG { throw ImageStoreError.badArchive(name, reason: "\(printable(path.utf8)) is longer than 8 MiB") }
            throw ImageStoreError.failed(error, "read \(name)")
        }
    }
}

/// A tar stream. It is read once, in whatever order it has: every regular file becomes a blob of the store, known by its
/// digest, and what the image does not refer to in the end is garbage. Links are names for files of the archive.
struct TarContents: ArchiveContents {
    let name: String
    private let store: ImageStore
    private var files: [String: (digest: Digest, size: Int64)] = [:]
    private var links: [String: String] = [:]

    /// - Parameters:
    ///   - descriptor: the uncompressed stream; stays the caller's.
    ///   - total: bytes, for progress; 0 when unknown.
    init(_ descriptor: Int32, name: String, total: Int64, store: ImageStore, progress: ProgressHandler?) throws {
        self.name = name
        self.store = store
        var limits = UnpackLimits(compressedBytes: 0)
        limits.entries = 100_000
        limits.streamBytes = .max
        let source = ByteSource(descriptor, hashing: nil)
        let reader = TarReader(source, limits: limits)
        while let entry = try reader.next() {
            let path = Self.normal(entry.path)
            // A second entry of a name replaces the first, as tar does.
            files[path] = nil
            links[path] = nil
            switch entry.kind {
            case .regular:
                let algorithm: Digest.Algorithm = path.hasPrefix("blobs/sha512/") ? .sha512 : .sha256
                let writer = try BlobWriter(store: store, expected: nil, algorithm: algorithm)
                try reader.content { part in
                    try writer.write(part)
                    progress?(TransferProgress(digest: DirectoryContents.unknown, phase: .copying, completed: source.total, total: total))
                }
                files[path] = try writer.finish()
            case .symbolicLink(let target):
                let parent = path.split(separator: "/").dropLast().joined(separator: "/")
                let text = String(decoding: target, as: UTF8.self)
                links[path] = text.hasPrefix("/") ? text : parent + "/" + text
            case .hardLink(let target): links[path] = Self.normal(target)
            case .directory, .fifo, .characterDevice, .blockDevice: break
            }
        }
    }

    private static func normal(_ path: [UInt8]) -> String {
        String(decoding: path, as: UTF8.self).split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }

    /// The file that a path names, links of the archive followed. ".." stops at the archive's root.
    private func resolve(_ path: String) -> (digest: Digest, size: Int64)? {
        var pending = path.split(separator: "/").map(String.init)[...]
        var walked: [String] = []
        var expansions = 0
        while let component = pending.popFirst() {
            if component == "." { continue }
            if component == ".." {
                walked = walked.dropLast()
                continue
            }
            walked.append(component)
            guard let target = links[walked.joined(separator: "/")] else { continue }
            expansions += 1
            if expansions > 40 { return nil }
            walked = []
            pending = target.split(separator: "/").map(String.init) + pending
        }
        return files[walked.joined(separator: "/")]
    }

    func ingest(_ path: String, algorithm: Digest.Algorithm, progress: ProgressHandler?) throws -> (digest: Digest, size: Int64)? {
        guard let file = resolve(path) else { return nil }
        if file.digest.algorithm == algorithm { return file }
        // A link from a blob of one algorithm to a file elsewhere: hashed again under the wanted one.
        let writer = try BlobWriter(store: store, expected: nil, algorithm: algorithm)
        let blob = try store.openBlob(file.digest)
        try ByteSource(blob.rawValue, hashing: nil).forEachPiece { try writer.write($0) }
        return try writer.finish()
    }

    func read(_ path: String) throws -> [UInt8]? { try resolve(path).map { try store.readBlob($0.digest) } }
}
