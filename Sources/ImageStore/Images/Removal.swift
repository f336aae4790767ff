import Glibc
import LinuxKernel
import OCISpec

extension ImageStore {
    /// Removes a name, and the image with its last name.
    ///
    /// - Parameters:
    ///   - text: a name, or an ID, which stands for all of the image's names.
    ///   - force: remove all names of an ID, and the name of an image in use. The image itself stays while it is in use.
    ///   - user: the container that uses an image, or nil.
    /// - Returns: what was done, for the user.
    /// - Throws: `ImageStoreError.imageInUse`, `.severalNames`, `.noSuchImage`.
    public func remove(_ text: String, force: Bool = false, usedBy user: (Digest) throws -> String?) throws -> [RemovalStep] {
        var steps: [RemovalStep] = []
        try locked {
            do {
                steps = try removeIntact(text, force: force, usedBy: user)
            } catch {
                guard let doomed = try damagedEntry(named: text, because: error) else { throw error }
                guard force else { throw error }
                steps = try removeDamaged(doomed)
            }
        }
        try collectGarbage()
        return steps
    }

    private func removeIntact(_ text: String, force: Bool, usedBy user: (Digest) throws -> String?) throws -> [RemovalStep] {
        let image = try resolve(text)
        let named = image.references.first { isName(text, of: $0) }
        let doomed = named.map { [$0] } ?? image.references
        if named == nil, !force, Set(doomed.map(\.name)).count > 1 {
            throw ImageStoreError.severalNames(image.id, doomed.map(\.description))
        }
        let isLast = doomed.count == image.references.count
        let container = isLast ? try user(image.id) : nil
        if let container, !force { throw ImageStoreError.imageInUse(text, container: container) }
        var index = try readIndex()
        index.manifests.removeAll { entry in
            guard entry.digest == image.descriptor.digest else { return false }
            return isLast || Self.reference(of: entry).map { doomed.contains($0) } ?? false
        }
        if isLast, container != nil { index.manifests.append(image.descriptor) }
        try writeIndex(index)
        return doomed.map { .untagged($0) } + (isLast && container == nil ? [.deleted(image.id)] : [])
    }

    // MARK: Damaged images

    /// The entry that a name, or a digest of manifest or configuration, points to, when the image behind it cannot be read.
    ///
    /// - Parameter failure: why `text` led to no image.
    private func damagedEntry(named text: String, because failure: any Error) throws -> Descriptor? {
        let entries = try readIndex().manifests
        if case ImageStoreError.damagedImage = failure, let entry = try entry(named: text, entries) { return entry }
        let prefix = text.hasPrefix("sha256:") ? String(text.dropFirst(7)) : text
        guard prefix.count >= 12 else { return nil }
        return entries.first { entry in identitiesOfDamaged(entry).contains { $0.hex.hasPrefix(prefix) } }
    }

    private func check(_ manifest: Manifest) throws { let _: ImageConfiguration = try configuration(of: manifest) }

    /// What a damaged image may be called by; nothing for one that is whole.
    private func identitiesOfDamaged(_ entry: Descriptor) -> [Digest] {
        var identities = [entry.digest]
        do {
            let manifest = try loadManifest(entry)
            identities.append(manifest.config.digest)
            try check(manifest)
            return []
        } catch {
            return identities
        }
    }

    /// Removes an image that cannot be read, with all its names. Containers made of it keep their layers (`layersInUse`).
    private func removeDamaged(_ doomed: Descriptor) throws -> [RemovalStep] {
        var index = try readIndex()
        let names = index.manifests.filter { $0.digest == doomed.digest }.compactMap(Self.reference)
        index.manifests.removeAll { $0.digest == doomed.digest }
        try writeIndex(index)
        return names.map { .untagged($0) } + [.deleted(doomed.digest)]
    }

    private func isName(_ text: String, of reference: ImageReference) -> Bool {
        do {
            let parsed = try ImageReference(parsing: text)
            return parsed.digest == nil && parsed.taggedName == reference.taggedName
        } catch {
            return false
        }
    }

    /// Removes images that no container uses (`coffer image prune`).
    ///
    /// - Parameter all: named ones too, not only those without a name.
    /// - Returns: what was done, and the bytes of the removed images, of which others may share some.
    public func prune(all: Bool, usedBy user: (Digest) throws -> String?) throws -> (steps: [RemovalStep], bytes: Int64) {
        var steps: [RemovalStep] = []
        var bytes: Int64 = 0
        try locked {
            var index = try readIndex()
            for image in try images() where all || (image.references.isEmpty && image.repositoryDigests.isEmpty) {
                if try user(image.id) != nil { continue }
                index.manifests.removeAll { $0.digest == image.descriptor.digest }
                steps += image.references.map { .untagged($0) } + [.deleted(image.id)]
                bytes += image.size
            }
            if !steps.isEmpty { try writeIndex(index) }
        }
        try collectGarbage()
        return (steps, bytes)
    }

    /// The store for ourselves alone; nil when another process works with it. That is not decided at once: a process that one
    /// of our threads has just forked has a copy of every descriptor until its execve, and a lock of flock(2) is as long held
    /// as any copy is open.
    private func claimAlone() throws(ImageStoreError) -> StoreHold? {
        for _ in 0..<50 {
            do {
                return try StoreHold("\(root)/hold.lock", LOCK_EX | LOCK_NB)
            } catch {
                if error.errno != EWOULDBLOCK { throw ImageStoreError.failed(error, "lock \(root)/hold.lock") }
                usleep(2_000)
            }
        }
        return nil
    }

    /// Removes blobs and layers that no image refers to, and what killed processes have left.
    ///
    /// - Returns: false when another process holds the store (`StoreHold`): the next call collects then.
    @discardableResult
    public func collectGarbage() throws -> Bool {
        guard let claim = try claimAlone() else { return false }
        try withExtendedLifetime(claim) {
            let kept = try contentInUse()
            for algorithm in Digest.Algorithm.allCases {
                for name in try Self.entries(of: blobDirectory(algorithm)) where kept.isGarbage(name, in: blobDirectory(algorithm)) {
                    let path = "\(blobDirectory(algorithm))/\(name)"
                    if unlink(path) != 0, errno != ENOENT { surroundings.warn("\(path) cannot be removed: \(KernelError.last("unlink").reason)") }
                }
            }
            for name in try Self.entries(of: "\(root)/layers") where kept.isGarbage(name, in: "\(root)/layers") {
                do {
                    try discardLayer(named: name)
                } catch {
                    surroundings.warn("\(error)")
                }
            }
        }
        return true
    }

    /// After a failure, which is the one to report: what cannot be collected now is collected the next time, and said then.
    public func collectGarbageAfterFailure() {
        do { try silent.collectGarbage() } catch { return }
    }

    /// Everything that an image or a container refers to. Where a document cannot be read, what it may refer to is kept.
    private func contentInUse() throws -> ContentInUse {
        var kept = ContentInUse()
        let entries = try readIndex().manifests
        for entry in entries {
            do {
                let manifest = try loadManifest(entry)
                let configuration = try configuration(of: manifest)
                kept.blobs?.formUnion(([entry, manifest.config] + manifest.layers).map { blobPath($0.digest) })
                kept.layers?.formUnion(configuration.rootfs.diffIDs.map { layerPath($0) })
            } catch {
                kept = ContentInUse(blobs: nil, layers: nil)
                let damage = ImageStoreError.damagedImage(Self.name(of: entry.digest, entries), reason: "\(error)")
                surroundings.warn("\(damage); until then no image's content is removed from the disk")
            }
        }
        do {
            kept.layers?.formUnion(try surroundings.layersInUse().map { $0.hasSuffix("/root") ? String($0.dropLast(5)) : $0 })
        } catch {
            kept.layers = nil
            surroundings.warn("no layer is removed from the disk now: \(error)")
        }
        return kept
    }

    /// The names in a directory of the store, without "." and "..".
    static func entries(of path: String) throws -> [String] {
        do {
            return try DirectoryListing.names(of: path)
        } catch {
            if error.errno == ENOENT { return [] }
            throw ImageStoreError.failed(error, "list \(path)")
        }
    }
}

/// What a collection of garbage leaves.
private struct ContentInUse {
    /// Paths; nil when it is not known what is in use, so that everything is.
    var blobs: Set<String>? = []
    var layers: Set<String>? = []

    /// Whether a file of one of the two directories may go. What killed processes left (".partial-…") always may.
    func isGarbage(_ name: String, in directory: String) -> Bool {
        if name.hasPrefix(".") { return true }
        guard let known = directory.hasSuffix("/layers") ? layers : blobs else { return false }
        return !known.contains("\(directory)/\(name)")
    }
}
