import Glibc
import LinuxKernel
import OCISpec
import StrictJSON
import Testing

@testable import ImageStore

/// An image store in a temporary directory, served by the built program.
final class StoreFixture {
    let directory: String
    let store: ImageStore

    /// The program `coffer` that was built beside the tests.
    static let program: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let path = String(decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/coffer"
    }()

    init() throws {
        try #require(access(Self.program, X_OK) == 0, "\(Self.program) is not built")
        var template = Array("/tmp/coffer-store-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        store = try ImageStore(root: directory + "/images", program: Self.program, surroundings: StoreSurroundings(layersInUse: { [] }))
    }

    deinit {
        do { try TreeProgram.perform(.remove(path: directory)) } catch { Issue.record(error) }
    }

    /// A file in the fixture's directory.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = directory + "/" + name
        try replaceFile(path, with: bytes)
        return path
    }

    /// Everything in the store but its own files.
    func leftovers() throws -> [String] {
        try ImageStore.entries(of: store.root + "/blobs/sha256") + ImageStore.entries(of: store.root + "/blobs/sha512")
            + ImageStore.entries(of: store.root + "/layers")
    }

    func expectEmpty(sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try leftovers().isEmpty, sourceLocation: sourceLocation)
        #expect(try store.images().isEmpty, sourceLocation: sourceLocation)
    }
}

/// An image as files of an OCI image layout, right unless a test changes it.
struct LayoutBuilder {
    var files: [(path: String, bytes: [UInt8])] = []
    var manifests: [Descriptor] = []

    @discardableResult
    mutating func blob(_ bytes: [UInt8], _ mediaType: MediaType) -> Descriptor {
        let digest = Digest(of: bytes)
        files.append(("blobs/sha256/\(digest.hex)", bytes))
        return Descriptor(mediaType: mediaType, digest: digest, size: Int64(bytes.count))
    }

    /// Adds an image of layers, given as stored bytes, media type and uncompressed bytes.
    mutating func image(
        _ layers: [(stored: [UInt8], type: MediaType, plain: [UInt8])], name: String?, platform: Platform? = nil,
        diffIDs: [Digest]? = nil, edit: (inout Manifest) -> Void = { _ in }
    ) throws {
        let descriptors = layers.map { blob($0.stored, $0.type) }
        let own = platform ?? .current
        let configuration = ImageConfiguration(
            architecture: own.architecture, os: own.os, config: nil,
            rootfs: .init(diffIDs: diffIDs ?? layers.map { Digest(of: $0.plain) }))
        let config = blob(try StrictJSONEncoder().encode(configuration), .ociConfiguration)
        var manifest = Manifest(config: config, layers: descriptors)
        edit(&manifest)
        var descriptor = blob(try StrictJSONEncoder().encode(manifest), .ociManifest)
        if let name { descriptor.annotations = [ImageAnnotation.referenceName: name] }
        descriptor.platform = platform
        manifests.append(descriptor)
    }

    func tar() throws -> [UInt8] {
        var tar = TarBuilder()
        for (path, bytes) in try allFiles() {
            // Names of blobs are longer than the test builder's name field allows only with sha512.
            tar.add(.init(name: Array(path.utf8)), content: bytes)
        }
        return tar.finished()
    }

    func allFiles() throws -> [(path: String, bytes: [UInt8])] {
        files + [
            ("index.json", try StrictJSONEncoder().encode(Index(manifests: manifests))),
            ("oci-layout", try StrictJSONEncoder().encode(ImageLayoutMarker())),
        ]
    }
}
