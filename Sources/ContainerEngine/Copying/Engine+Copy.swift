import Glibc
import ImageStore
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

extension Engine {
    /// `cp CONTAINER:PATH DESTINATION`; nil as destination writes a tar stream to standard output.
    ///
    /// - Parameter keepsOwners: files keep their owners' numbers, which only root can do.
    public func copyOut(
        _ reference: String, path: String, to destination: String?, follow: Bool, keepsOwners: Bool
    ) throws(EngineError) {
        try copying("\(reference):\(path) cannot be copied") {
            let (readEnd, writeEnd) = try makePipe()
            let reading = FileDescriptor(owning: readEnd)
            let writing = FileDescriptor(owning: writeEnd)
            let child = try start(reference, .out(path: path, follow: follow), input: nil, output: destination == nil ? 1 : writing.rawValue)
            try writing.close()
            let first = try child.receive()
            guard first.first == UInt8(ascii: "S") else { throw Self.failure(first) }
            if let destination {
                let source = try StrictJSONDecoder().decode(CopySource.self, from: Array(first.dropFirst()))
                try Self.extract(source, from: reading, to: destination, keepsOwners: keepsOwners)
            }
            try Self.finish(child)
        }
    }

    private static func extract(
        _ source: CopySource, from input: borrowing FileDescriptor, to destination: String, keepsOwners: Bool
    ) throws {
        let absolute = destination.hasPrefix("/") ? destination : currentDirectory() + "/" + destination
        let target = try CopyTarget(absolute, for: source) { path in
            var status = stat()
            return stat(path, &status) == 0 ? status.st_mode & S_IFMT == S_IFDIR : nil
        }
        // The directory becomes the root of what follows: no link of the stream leads out of it.
        let root = RootDirectory(try FileDescriptor.open(target.directory, O_RDONLY | O_DIRECTORY))
        let owners = keepsOwners ? OwnerTranslation(maps: nil, fixed: nil) : nil
        try TreeArchiveExtraction(root, directory: "/", owners: owners, rename: (source.name, target.name)).extract(from: input.rawValue)
    }

    /// `cp SOURCE CONTAINER:PATH`; nil as source reads a tar stream from standard input.
    public func copyIn(
        _ source: String?, to reference: String, path: String, follow: Bool, keepsOwners: Bool
    ) throws(EngineError) {
        try copying("\(source ?? "-") cannot be copied to \(reference):\(path)") {
            guard let source else {
                let child = try start(reference, .into(path: path, source: nil, keepsOwners: true), input: 0, output: nil)
                return try Self.finish(child)
            }
            let origin = try HostSource(source, follow: follow)
            let (readEnd, writeEnd) = try makePipe()
            let reading = FileDescriptor(owning: readEnd)
            let writing = FileDescriptor(owning: writeEnd)
            let direction = CopyRequest.Direction.into(path: path, source: origin.described, keepsOwners: keepsOwners)
            let child = try start(reference, direction, input: reading.rawValue, output: nil)
            try reading.close()
            signal(SIGPIPE, SIG_IGN)
            do {
                let owners = OwnerTranslation(maps: nil, fixed: nil)
                try TreeArchiveWriter(writing.rawValue, owners: owners).write(origin.name, in: origin.parent, as: origin.described.name)
            } catch let error as KernelError where error.errno == EPIPE {
                // The child gave up; it says why.
            }
            try writing.close()
            try Self.finish(child)
        }
    }

    private func copying(_ what: String, _ work: () throws -> Void) throws(EngineError) {
        do {
            try work()
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(what): \(error)", code: .failure)
        }
    }

    private func start(
        _ reference: String, _ direction: CopyRequest.Direction, input: Int32?, output: Int32?
    ) throws -> OwnerNamespaceChild {
        let container = try intactContainer(reference)
        guard let spec = try BundleFiles.load(RuntimeSpec.self, container.directory.config),
            case .overlay(let overlay) = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension)?.root
        else { throw EngineError("container \(container.record.name) has no root file system", code: .failure) }
        var pid: Int32 = 0
        if case .running(let state, _) = container.status { pid = state.pid }
        let request = CopyRequest(
            direction: direction, pid: pid, overlay: overlay, uidMappings: spec.linux?.uidMappings ?? [],
            gidMappings: spec.linux?.gidMappings ?? [])
        let namespace = pid == 0 ? try OwnerNamespace.forTrees() : OwnerNamespace(maps: nil, imageIDOffset: 0)
        let arguments = ["internal", "copy", String(decoding: try StrictJSONEncoder().encode(request), as: UTF8.self)]
        let shift = pid == 0 && overlay.idmapLowers ? try Self.userNamespace(request.maps) : nil
        let child = try namespace.start(
            arguments, descriptors: shift.map { [$0] } ?? [], standardInput: input, standardOutput: output)
        if let shift { close(shift) }
        if let maps = namespace.maps { try child.completeMaps(maps) }
        return child
    }

    /// A user namespace with a container's maps, to shift its layers by: only its maps count, nobody lives in it.
    private static func userNamespace(_ maps: IDMaps?) throws -> Int32 {
        let holder = try OwnerNamespace(maps: maps, imageIDOffset: 0).start(["internal", "hold-namespace"])
        if let maps { try holder.completeMaps(maps) }
        let namespace = try FileDescriptor.open("/proc/\(holder.process.pid)/ns/user", O_RDONLY)
        try holder.process.killAndWait()
        return namespace.release()
    }

    private static func failure(_ message: [UInt8]) -> EngineError {
        EngineError(
            message.first == UInt8(ascii: "E") ? String(decoding: message.dropFirst(), as: UTF8.self) : "the copy was cut short",
            code: .failure)
    }

    private static func finish(_ child: borrowing OwnerNamespaceChild) throws {
        let message = try child.receive()
        try child.process.wait()
        if message != [UInt8(ascii: "K")] { throw failure(message) }
    }
}

/// A file or directory of this machine that is copied: its parent directory, its name there, and what it is.
private struct HostSource: ~Copyable {
    let parent: FileDescriptor
    let name: String
    let described: CopySource

    init(_ source: String, follow: Bool) throws {
        let shown = normalised(source.hasPrefix("/") ? source : currentDirectory() + "/" + source)
        var absolute = shown
        if follow, let resolved = realpath(absolute, nil) {
            absolute = String(cString: resolved)
            free(resolved)
        }
        var status = stat()
        guard lstat(absolute, &status) == 0 else {
            throw EngineError("lstat \(source): \(KernelError.last("lstat").reason)", code: .failure)
        }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        if source.hasSuffix("/"), !isDirectory { throw EngineError("\(source) is not a directory", code: .failure) }
        let slash = absolute.lastIndex(of: "/") ?? absolute.startIndex
        let last = String(absolute[absolute.index(after: slash)...])
        let directory = try FileDescriptor.open(String(absolute[..<slash]) + "/", O_RDONLY | O_DIRECTORY)
        parent = directory
        name = last.isEmpty ? "." : last
        described = CopySource(
            name: shown.split(separator: "/").last.map(String.init) ?? "root", isDirectory: isDirectory,
            contentOnly: source == "." || source.hasSuffix("/."))
    }
}
