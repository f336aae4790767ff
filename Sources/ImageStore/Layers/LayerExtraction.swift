import Glibc
import LinuxKernel
import OCISpec
import StrictJSON

/// One layer on its way from a blob to a directory, in processes of their own (rule R11).
///
///     blob ──▶ `internal inflate` ──pipe──▶ `internal unpack` ──▶ the layer's directory
///              may read, write and           user, mount and network namespace, root pivoted to the directory,
///              nothing else                  Landlock, system call filter; hashes what it reads (diffID)
struct LayerExtraction {
    let program: String
    let blob: Descriptor
    let compression: MediaType.Compression
    /// The diffID, or nil where nothing is known of the content (`import` of a tarball).
    let expected: Digest?
    let progress: ProgressHandler?

    /// - Returns: what was extracted. - Throws: `ImageStoreError`; the directory may then hold a part.
    func run(_ source: borrowing FileDescriptor, into directory: borrowing FileDescriptor) throws -> LayerRecord {
        let namespace = try OwnerNamespace.forLayers()
        var inflater: Inflater?
        if compression != .none { inflater = try Inflater.start(program, compression.rawValue, source) }
        let stream = inflater?.output.rawValue ?? source.rawValue
        let limits = UnpackLimits(compressedBytes: blob.size)
        let ids = ImageIDs(offset: namespace.imageIDOffset, count: namespace.imageIDCount)
        let arguments = try UnpackSandbox.arguments(ids: ids, limits: limits, algorithm: expected?.algorithm ?? .sha256)
        let child = try namespace.start(
            program: program, arguments, descriptors: [directory.rawValue, stream])
        let result: Result<UnpackReport, UnpackFailure>
        do {
            // The sandbox alone may hold the pipe's end, or the inflater would never learn that its reader is gone.
            inflater?.output.close()
            if let maps = namespace.maps { try child.completeMaps(maps) }
            result = try outcome(of: child, source)
        } catch {
            try inflater?.kill()
            throw error
        }
        // The inflater's own error names the cause; the sandbox only saw its input end. Unless it gave up first: then the
        // inflater ended for want of a reader.
        let inflaterFailure = try inflater?.finish()
        switch result {
        case .failure(let failure):
            if let inflaterFailure, failure.isEarlyEnd { throw ImageStoreError.badLayer(blob.digest, reason: inflaterFailure) }
            if failure.errno == ENOSPC || failure.errno == EDQUOT { throw ImageStoreError.noSpace("the image store") }
            throw ImageStoreError.badLayer(blob.digest, reason: failure.reason)
        case .success(let report):
            if let inflaterFailure { throw ImageStoreError.badLayer(blob.digest, reason: inflaterFailure) }
            if let expected, report.diffID != expected {
                throw ImageStoreError.diffIDMismatch(layer: blob.digest, expected: expected, actual: report.diffID)
            }
            return LayerRecord(
                diffID: report.diffID, bytes: report.bytes, entries: report.entries, droppedDevices: report.droppedDevices,
                droppedAttributes: report.droppedAttributes)
        }
    }

    /// Waits for the sandbox's one message, telling how far the blob has been read meanwhile.
    private func outcome(
        of child: borrowing OwnerNamespaceChild, _ source: borrowing FileDescriptor
    ) throws -> Result<UnpackReport, UnpackFailure> {
        while true {
            var poll = pollfd(fd: child.socket.rawValue, events: Int16(POLLIN), revents: 0)
            let ready = try retrying("poll") { Glibc.poll(&poll, 1, 100) }
            if ready > 0 { break }
            // The description is shared with the reading process: its offset is how far that is.
            let position = lseek(source.rawValue, 0, SEEK_CUR)
            progress?(TransferProgress(digest: blob.digest, phase: .extracting, completed: max(0, Int64(position)), total: blob.size))
        }
        let message = try child.receive()
        let end = try child.process.wait()
        guard !message.isEmpty else {
            throw ImageStoreError.badLayer(blob.digest, reason: "the extracting process ended without a word (status \(end.exitCode))")
        }
        return try UnpackSandbox.decode(message)
    }
}
