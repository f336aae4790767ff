import Glibc
import LinuxKernel
import Testing

@testable import ImageStore

/// A temporary directory with a layer to extract into and a canary beside it, which no extraction may touch.
final class ExtractionFixture {
    let directory: String
    var layer: String { directory + "/layer" }
    var canary: String { directory + "/canary" }
    private let watch: FileDescriptor
    private static let marker = "the canary sings\n"

    /// IN_ALL_EVENTS (inotify(7)) without closing: who touches something opens it first, and a process that another test has just
    /// forked closes the copies it got of our descriptors.
    private static let allEvents: UInt32 = 0xfff & ~UInt32(IN_CLOSE_WRITE | IN_CLOSE_NOWRITE)

    init() throws {
        var template = Array("/tmp/coffer-test-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        self.directory = directory
        try retrying("mkdir") { mkdir(directory + "/layer", 0o755) }
        try retrying("mkdir") { mkdir(directory + "/canary", 0o700) }
        try replaceFile(directory + "/canary/marker", with: Self.marker.utf8, mode: 0o640)
        watch = FileDescriptor(owning: try retrying("inotify_init1") { inotify_init1(Int32(IN_NONBLOCK)) })
        let raw = watch.rawValue
        for path in [directory + "/canary", directory + "/canary/marker"] {
            try retrying("inotify_add_watch") { inotify_add_watch(raw, path, Self.allEvents) }
        }
    }

    deinit {
        do { try TreeProgram.perform(.remove(path: directory)) } catch { Issue.record(error) }
    }

    /// Extracts an uncompressed archive in this process, without the sandbox: the tree's own rules must hold alone.
    @discardableResult
    func extract(_ archive: [UInt8], ids: ImageIDs = ImageIDs(offset: 0, count: 65536), limits: UnpackLimits? = nil) throws -> UnpackReport {
        let file = FileDescriptor(owning: try retrying("memfd_create") { memoryFile() })
        try file.writeAll(archive)
        let raw = file.rawValue
        try retrying("lseek") { Int32(truncatingIfNeeded: lseek(raw, 0, SEEK_SET)) }
        let limits = limits ?? UnpackLimits(compressedBytes: Int64(archive.count))
        let source = ByteSource(raw, hashing: .sha256, limit: limits.streamBytes)
        let root = try FileDescriptor.open(layer, O_RDONLY | O_DIRECTORY)
        return try LayerTree.extract(source, into: root, ids: ids, limits: limits)
    }

    private func memoryFile() -> Int32 {
        let path = directory + "/archive"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        unlink(path)
        return file
    }

    /// Fails the test when anything outside of the layer has been touched.
    func expectCanaryUntouched(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws {
        var event = [UInt8](repeating: 0, count: 4096)
        let count = event.withUnsafeMutableBytes { read(watch.rawValue, $0.baseAddress, $0.count) }
        #expect(count == -1 && errno == EAGAIN, comment ?? "the canary was touched", sourceLocation: sourceLocation)
        #expect(try readFile(canary + "/marker") == Array(Self.marker.utf8), sourceLocation: sourceLocation)
        // The look at the marker made events of its own.
        while event.withUnsafeMutableBytes({ read(watch.rawValue, $0.baseAddress, $0.count) }) > 0 {}
        #expect(try ImageStore.entries(of: directory).sorted() == ["canary", "layer"], sourceLocation: sourceLocation)
    }

    /// What lies at a path of the layer, not following a link; nil when nothing does.
    func status(_ path: String) -> stat? {
        var result = stat()
        return lstat("\(layer)/\(path)", &result) == 0 ? result : nil
    }

    func isWhiteout(_ path: String) -> Bool {
        guard let status = status(path) else { return false }
        return status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0
    }

    func isDirectory(_ path: String) -> Bool { status(path).map { $0.st_mode & S_IFMT == S_IFDIR } ?? false }

    func content(_ path: String) throws -> String { String(decoding: try readFile("\(layer)/\(path)"), as: UTF8.self) }

    /// Names in a directory of the layer.
    func names(_ path: String = "") throws -> [String] { try ImageStore.entries(of: "\(layer)/\(path)").sorted() }

    /// An extended attribute of a path of the layer, or nil.
    func attribute(_ name: String, of path: String) throws -> [UInt8]? {
        let file = try FileDescriptor.open("\(layer)/\(path)", O_RDONLY | O_NOFOLLOW)
        return try ExtendedAttribute.value(name, of: file.rawValue)
    }
}
