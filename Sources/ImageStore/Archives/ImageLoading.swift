import Glibc
import LinuxKernel
import OCISpec

/// Where `coffer load` and `coffer import` read from.
public enum ArchiveLocation: Sendable, Equatable {
    /// A file, or a directory with an archive's contents. An absolute or relative path of the host.
    case path(String)
    case standardInput

    var name: String {
        switch self {
        case .path(let path): path
        case .standardInput: "standard input"
        }
    }
}

extension ImageStore {
    /// Loads every image of a docker-archive or OCI image layout, as a tar file or a directory, and extracts its layers.
    ///
    /// A tar file may be compressed as a whole (gzip, zstd); decompression happens in a process of its own. An image appears
    /// only when all of it is verified and extracted.
    /// - Parameter platform: which image of a multi-platform index to take.
    /// - Returns: the images, in the order of the archive.
    /// - Throws: `ImageStoreError`; nothing of a failed image remains.
    public func load(
        from location: ArchiveLocation, platform: Platform = .current, progress: ProgressHandler? = nil
    ) throws -> [StoredImage] {
        try leavingNothing {
            try withContents(of: location, progress: progress) { try load($0, platform: platform, progress: progress) }
        }
    }

    /// Runs `body` with a claim on the store, and then collects what it brought and no image refers to.
    func leavingNothing<Value>(_ body: () throws -> Value) throws -> Value {
        let value: Value
        do {
            let hold = try hold()
            value = try withExtendedLifetime(hold) { try body() }
        } catch {
            collectGarbageAfterFailure()
            throw error
        }
        try collectGarbage()
        return value
    }

    private func load(_ contents: any ArchiveContents, platform: Platform, progress: ProgressHandler?) throws -> [StoredImage] {
        if try contents.read(ImageLayoutMarker.fileName) != nil {
            return try ImageLayoutLoading(store: self, contents: contents, platform: platform, progress: progress).load()
        }
        if let manifest = try contents.read("manifest.json") {
            return try DockerArchiveLoading(store: self, contents: contents, progress: progress).load(manifest)
        }
        throw ImageStoreError.badArchive(
            contents.name, reason: "it has neither the file oci-layout nor manifest.json (for the file system of a container, use import)")
    }

    /// Opens an archive in whichever form it is.
    private func withContents<Value>(
        of location: ArchiveLocation, progress: ProgressHandler?, _ body: (any ArchiveContents) throws -> Value
    ) throws -> Value {
        if case .path(let path) = location {
            var status = stat()
            if stat(path, &status) != 0 { throw ImageStoreError.failed(.last("stat", path), "read \(path)") }
            if status.st_mode & S_IFMT == S_IFDIR { return try body(try DirectoryContents(path, store: self)) }
        }
        return try body(
            try withTarStream(of: location) { descriptor, total in
                try TarContents(descriptor, name: location.name, total: total, store: self, progress: progress)
            })
    }

    /// Opens a tar file or standard input, decompressed where it is compressed.
    func withTarStream<Value>(of location: ArchiveLocation, _ body: (Int32, Int64) throws -> Value) throws -> Value {
        let (file, size) = try openArchive(location)
        let source = FileDescriptor(owning: file)
        do {
            // What can be looked at and is plain needs no second process.
            let magic = try Self.magic(of: source)
            if let magic, try StreamFormat.compression(of: magic) == .none { return try body(source.rawValue, size) }
            let inflater = try Inflater.start(program, InflateProgram.detect, source)
            return try inflating(inflater) { try body(inflater.output.rawValue, 0) }
        } catch let failure as UnpackFailure {
            if failure.errno == ENOSPC { throw ImageStoreError.noSpace(root) }
            throw ImageStoreError.badArchive(location.name, reason: failure.reason)
        } catch let error as KernelError {
            throw ImageStoreError.failed(error, "read \(location.name)")
        }
    }

    private func inflating<Value>(_ inflater: Inflater, _ body: () throws -> Value) throws -> Value {
        do {
            let value = try body()
            if let complaint = try inflater.finish() { throw UnpackFailure(complaint) }
            return value
        } catch let failure as UnpackFailure where failure.isEarlyEnd {
            throw UnpackFailure(try inflater.finish() ?? failure.reason)
        } catch {
            inflater.output.close()
            try inflater.kill()
            throw error
        }
    }

    /// - Returns: a descriptor that the caller owns, and the size in bytes, 0 when unknown.
    func openArchive(_ location: ArchiveLocation) throws -> (Int32, Int64) {
        try storing("read \(location.name)") {
            guard case .path(let path) = location else { return (try retrying("fcntl") { fcntl(0, F_DUPFD_CLOEXEC, 3) }, 0) }
            let file = try FileDescriptor.open(path, O_RDONLY)
            let size = Int64(try file.status().st_size)
            return (file.release(), size)
        }
    }

    /// The first bytes of a file that can be read at an offset, or nil.
    static func magic(of file: borrowing FileDescriptor) throws -> [UInt8]? {
        guard try file.status().st_mode & S_IFMT == S_IFREG else { return nil }
        let raw = file.rawValue
        let offset = lseek(raw, 0, SEEK_CUR)
        guard offset >= 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: StreamFormat.magicBytes)
        let count = try retrying("pread") { bytes.withUnsafeMutableBytes { pread(raw, $0.baseAddress, $0.count, offset) } }
        return Array(bytes.prefix(count))
    }
}
