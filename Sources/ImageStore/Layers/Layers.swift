import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// What is known of an extracted layer.
struct LayerRecord: Codable, Sendable, Equatable {
    static let fileName = "layer.json"
    let diffID: Digest
    /// Bytes of all regular files.
    let bytes: Int64
    let entries: Int
    /// Device nodes of the archive, which are never made.
    let droppedDevices: Int
    /// Extended attributes that are never set (overlayfs's own, labels of the host's).
    let droppedAttributes: Int
}

extension ImageStore {
    /// The directory that holds a layer, whether it exists or not.
    func layerPath(_ diffID: Digest) -> String { "\(root)/layers/\(diffID.algorithm.rawValue)-\(diffID.hex)" }

    /// The lower directories of an image's root file system, top layer first, as overlayfs wants them.
    ///
    /// Layers that are not extracted yet are extracted now. Keep a `hold()` from before this call until the container that
    /// uses them is recorded.
    public func layers(of image: StoredImage, progress: ProgressHandler? = nil) throws -> [String] {
        for (blob, diffID) in image.layers { try extract(blob, diffID: diffID, progress: progress) }
        return image.layers.reversed().map { "\(layerPath($0.diffID))/root" }
    }

    /// Extracts one layer, unless it is there. Concurrent calls, also of other processes, extract once.
    ///
    /// - Parameter blob: the compressed layer; its blob must be in the store.
    /// - Throws: `ImageStoreError.badLayer`, `.diffIDMismatch`, `.noSpace`; nothing of the layer is then kept.
    public func extract(_ blob: Descriptor, diffID: Digest, progress: ProgressHandler? = nil) throws {
        guard case .layer(let compression) = blob.mediaType.kind else {
            throw ImageStoreError.unknownMediaType(blob.mediaType.rawValue, of: "layer \(blob.digest)")
        }
        if try isExtracted(diffID) {
            progress?(TransferProgress(digest: blob.digest, phase: .exists, completed: blob.size, total: blob.size))
            return
        }
        let hold = try hold()
        try withExtendedLifetime(hold) {
            guard let partial = try claimPartial(diffID) else { return }
            try extract(blob, compression, expected: diffID, in: partial, progress: progress)
        }
        progress?(TransferProgress(digest: blob.digest, phase: .done, completed: blob.size, total: blob.size))
    }

    /// Whether a layer's tree is there. A layer that has lost its tree is taken away, to be extracted again.
    private func isExtracted(_ diffID: Digest) throws -> Bool {
        var status = stat()
        if lstat("\(layerPath(diffID))/root", &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            if try !isFromLostBoot(diffID) { return true }
            surroundings.warn("layer \(diffID.short) may not have reached the disk before the machine stopped: extracting it again")
        } else {
            if access(layerPath(diffID), F_OK) != 0 { return false }
            surroundings.warn("layer \(diffID.short) is damaged (its tree is missing): extracting it again")
        }
        try discardLayer(named: "\(diffID.algorithm.rawValue)-\(diffID.hex)")
        return false
    }

    /// Extracts a layer whose diffID is not known yet. - Returns: its diffID.
    func extractUnknown(_ blob: Descriptor, _ compression: MediaType.Compression, progress: ProgressHandler?) throws -> Digest {
        // Claimed under the blob's digest; for a plain layer that is the diffID already.
        guard let partial = try claimPartial(blob.digest) else { return blob.digest }
        return try extract(blob, compression, expected: nil, in: partial, progress: progress)
    }

    @discardableResult
    private func extract(
        _ blob: Descriptor, _ compression: MediaType.Compression, expected: Digest?, in partial: PartialLayer,
        progress: ProgressHandler?
    ) throws -> Digest {
        let rootDirectory = "\(partial.path)/root"
        do {
            return try storing("extract layer \(blob.digest)") {
                try retrying("mkdir", rootDirectory) { mkdir(rootDirectory, 0o755) }
                let directory = try FileDescriptor.open(rootDirectory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
                let extraction = LayerExtraction(
                    program: program, blob: blob, compression: compression, expected: expected, progress: progress)
                try markVolatile(partial.path)
                let record = try extraction.run(try openBlob(blob.digest), into: directory)
                try replaceFile("\(partial.path)/\(LayerRecord.fileName)", with: try StrictJSONEncoder().encode(record))
                let final = layerPath(record.diffID)
                if rename(partial.path, final) != 0 {
                    // The same content was there already, under a name that was not known before.
                    guard errno == EEXIST || errno == ENOTEMPTY else { throw KernelError.last("rename", final) }
                    try TreeOperations(program: program).remove(partial.path)
                }
                return record.diffID
            }
        } catch {
            discardPartial(partial.path)
            throw error
        }
    }

    /// The failure that led here is the one to report; what cannot be removed now is removed before the next attempt.
    private func discardPartial(_ path: String) {
        do { try TreeOperations(program: program).remove(path) } catch { return }
    }

    /// A directory in which this process alone may extract, or nil when another one has finished the layer meanwhile.
    ///
    /// The claim is a lock on the directory itself, so that it moves along with the rename and ends with the process; what
    /// a killed one has left is removed here.
    private func claimPartial(_ diffID: Digest) throws -> PartialLayer? {
        let path = "\(root)/layers/.partial-\(diffID.algorithm.rawValue)-\(diffID.hex)"
        while true {
            if mkdir(path, 0o700) != 0 && errno != EEXIST { throw ImageStoreError.failed(.last("mkdir", path), "extract layer \(diffID)") }
            let lock: StoreHold
            let isOurs: Bool
            do {
                lock = try StoreHold(directory: path, LOCK_EX)
                isOurs = try lock.isStill(path)
            } catch {
                if error.errno == ENOENT { continue }  // Another process has just renamed or removed it.
                throw ImageStoreError.failed(error, "lock \(path)")
            }
            if access(layerPath(diffID), F_OK) == 0 {
                if isOurs { rmdir(path) }  // Empty: made above after the other process's rename.
                return nil
            }
            if !isOurs { continue }
            if try Self.entries(of: path).isEmpty { return PartialLayer(path: path, lock: lock) }
            try TreeOperations(program: program).remove(path)
        }
    }

    /// Removes a layer, or what is left of one, that nothing refers to.
    func discardLayer(named name: String) throws {
        let path = "\(root)/layers/\(name)"
        // Renamed first: nobody finds half a layer under a layer's name, should this process be killed.
        let doomed = name.hasPrefix(".removed-") ? path : "\(root)/layers/.removed-\(Self.uniqueSuffix())"
        if doomed != path {
            try storing("remove layer \(name)") { try retrying("rename", path) { rename(path, doomed) } }
        }
        try TreeOperations(program: program).remove(doomed)
    }

    /// Bytes of a layer: of its files where it has been extracted, else of the blob. A record that cannot be read is no
    /// reason to refuse anything: only this number is in it that anybody asks for.
    func layerSize(_ blob: Descriptor, _ diffID: Digest) -> Int64 {
        let path = "\(layerPath(diffID))/\(LayerRecord.fileName)"
        do {
            return try Self.decode(LayerRecord.self, from: try readFile(path, limit: 1 << 16), called: path).bytes
        } catch {
            return blob.size
        }
    }
}

private struct PartialLayer {
    let path: String
    let lock: StoreHold
}

extension StoreHold {
    /// A lock on a directory.
    convenience init(directory: String, _ operation: Int32) throws(KernelError) {
        try self.init(opening: try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), operation, directory)
    }
}
