import Glibc
import ImageStore
import LinuxKernel
import OCISpec

/// Where the engine keeps everything: one directory, readable by its owner only.
public struct StateRoot: Sendable, Equatable {
    /// Absolute host path.
    public let path: String
    /// The engine runs as root of the initial user namespace, so that containers get ID ranges of their own.
    public let isRootful: Bool

    public init(path: String, isRootful: Bool = geteuid() == 0) {
        self.path = path
        self.isRootful = isRootful
    }

    public var database: String { path + "/state.db" }
    /// The OCI image layout and the extracted layers.
    public var images: String { path + "/images" }
    public var containers: String { path + "/containers" }
    public var volumes: String { path + "/volumes" }
    /// What can be made again, above all compiled system call filters.
    public var cache: String { path + "/cache" }

    public func volumeData(_ name: String) -> String { "\(volumes)/\(name)/_data" }
    public func container(_ id: String) -> ContainerDirectory { ContainerDirectory(path: containers + "/" + id) }

    /// The root that options and environment name: `--root`, `COFFER_ROOT`, /var/lib/coffer for root, else
    /// `$XDG_DATA_HOME/coffer` or ~/.local/share/coffer.
    ///
    /// - Throws: `EngineError` when none of them says an absolute path.
    public static func locate(option: String?, environment: [String: String]) throws(EngineError) -> StateRoot {
        if let named = option ?? environment["COFFER_ROOT"], !named.isEmpty {
            return StateRoot(path: normalised(named.hasPrefix("/") ? named : currentDirectory() + "/" + named))
        }
        if geteuid() == 0 { return StateRoot(path: "/var/lib/coffer") }
        if let data = environment["XDG_DATA_HOME"], data.hasPrefix("/") { return StateRoot(path: normalised(data) + "/coffer") }
        if let home = environment["HOME"], home.hasPrefix("/") { return StateRoot(path: normalised(home) + "/.local/share/coffer") }
        throw EngineError("no place for the state: HOME is not set", remedy: "set HOME, or name a directory with --root")
    }

    /// Makes the directories that are missing, mode 0700.
    ///
    /// - Throws: `EngineError` when one cannot be made, or when the root belongs to somebody else.
    public func prepare() throws(EngineError) {
        var status = stat()
        if lstat(containers, &status) != 0 { try makeDirectories() }
        guard lstat(path, &status) == 0 else { throw unusable(KernelError.last("lstat")) }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() else {
            throw EngineError("\(path) does not belong to you", remedy: "name another directory with --root")
        }
        // Others could read secrets of containers and put layers of their own in place.
        if status.st_mode & 0o077 != 0, chmod(path, 0o700) != 0 { throw unusable(KernelError.last("chmod")) }
    }

    private func makeDirectories() throws(EngineError) {
        var partial = ""
        let parents = path.split(separator: "/").dropLast()
        for part in parents {
            partial += "/" + part
            if mkdir(partial, 0o755) != 0, errno != EEXIST, errno != EROFS { throw unusable(KernelError.last("mkdir")) }
        }
        for directory in [path, cache, volumes, images, containers] where mkdir(directory, 0o700) != 0 && errno != EEXIST {
            throw unusable(KernelError.last("mkdir", directory))
        }
    }

    /// The store of images, with what it must know of the containers.
    ///
    /// - Throws: `ImageStoreError` when it cannot be opened or made.
    public func imageStore(warn: @escaping @Sendable (String) -> Void) throws -> ImageStore {
        try ImageStore(root: images, surroundings: StoreSurroundings(warn: warn, layersInUse: { try layersInUse() }))
    }

    /// The lower directories of all containers, by their bundles.
    private func layersInUse() throws(EngineError) -> Set<String> {
        var result = Set<String>()
        guard let stream = opendir(containers) else {
            throw EngineError("\(containers) cannot be read: \(KernelError.last("opendir").reason)")
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard name.utf8.count == 64 else { continue }
            // A container that is being made has no bundle yet; whoever makes it holds the store (`StoreHold`).
            guard let bundle = try BundleFiles.load(BundleExtension.self, container(name).bundleExtension) else { continue }
            if case .overlay(let overlay) = bundle.root { result.formUnion(overlay.lowerDirectories) }
        }
        return result
    }

    private func unusable(_ cause: KernelError) -> EngineError {
        EngineError("cannot use the state directory \(path): \(cause.reason)", remedy: "name another directory with --root")
    }
}

/// The working directory, absolute.
public func currentDirectory() -> String {
    guard let buffer = getcwd(nil, 0) else { return "/" }
    defer { free(buffer) }
    return String(cString: buffer)
}

/// One container's directory below the state root.
public struct ContainerDirectory: Sendable, Equatable {
    public let path: String

    public init(path: String) { self.path = path }

    public var config: String { path + "/config.json" }
    public var bundleExtension: String { path + "/coffer.json" }
    /// Write-locked (F_OFD_SETLK) by the engine while it creates, then by the monitor for its life.
    public var lock: String { path + "/lock" }
    public var state: String { path + "/state.json" }
    /// Holds `upper` and `work`, and belongs to the container's root as they do: the rest of the directory is closed to it.
    public var writable: String { path + "/rw" }
    public var upper: String { writable + "/upper" }
    public var work: String { writable + "/work" }
    public var stage: String { path + "/stage" }
    public var log: String { path + "/container.log" }
    public var attachSocket: String { path + "/attach.sock" }
    public var hostname: String { path + "/hostname" }
    public var hosts: String { path + "/hosts" }
    public var resolver: String { path + "/resolv.conf" }
}
