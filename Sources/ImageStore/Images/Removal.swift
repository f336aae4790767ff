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
            steps += doomed.map { .untagged($0) }
            if isLast, container == nil { steps.append(.deleted(image.id)) }
        }
        try collectGarbage()
        return steps
    }

    private func isName(_ text: String, of reference: ImageReference) -> Bool {
        do {
            let parsed = try ImageReference(parsing: text)
            return parsed.digest == nil && parsed.taggedName == reference.taggedName
        } catch {
            return false
        }
    }

    /// Removes every image without a name that no container uses (`coffer image prune`).
    public func removeDangling(usedBy user: (Digest) throws -> String?) throws -> [RemovalStep] {
        var steps: [RemovalStep] = []
        try locked {
            var index = try readIndex()
            for image in try images() where image.references.isEmpty && image.repositoryDigests.isEmpty {
                if try user(image.id) != nil { continue }
                index.manifests.removeAll { $0.digest == image.descriptor.digest }
                steps.append(.deleted(image.id))
            }
            try writeIndex(index)
        }
        try collectGarbage()
        return steps
    }

    /// Removes blobs and layers that no image refers to, and what killed processes have left.
    ///
    /// - Returns: false when another process holds the store (`StoreHold`): the next call collects then.
    @discardableResult
    public func collectGarbage() throws -> Bool {
        let claim: StoreHold
        do {
            claim = try StoreHold("\(root)/hold.lock", LOCK_EX | LOCK_NB)
        } catch {
            if error.errno == EWOULDBLOCK { return false }
            throw ImageStoreError.failed(error, "lock \(root)/hold.lock")
        }
        return try withExtendedLifetime(claim) {
            var blobs = Set<String>()
            var layers = Set<String>()
            for entry in try readIndex().manifests {
                let manifest = try loadManifest(entry)
                let configuration = try configuration(of: manifest)
                blobs.formUnion(([entry, manifest.config] + manifest.layers).map { blobPath($0.digest) })
                layers.formUnion(configuration.rootfs.diffIDs.map { layerPath($0) })
            }
            for algorithm in Digest.Algorithm.allCases {
                for name in try Self.entries(of: blobDirectory(algorithm)) {
                    let path = "\(blobDirectory(algorithm))/\(name)"
                    if !blobs.contains(path), unlink(path) != 0, errno != ENOENT {
                        throw ImageStoreError.failed(.last("unlink", path), "remove a blob")
                    }
                }
            }
            for name in try Self.entries(of: "\(root)/layers") where !layers.contains("\(root)/layers/\(name)") {
                try discardLayer(named: name)
            }
            return true
        }
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
