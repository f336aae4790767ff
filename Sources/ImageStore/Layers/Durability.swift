import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// Layers and a power cut. Forcing every layer to the disk on its own would cost a flush each; so a layer carries the mark of
/// the boot that extracted it until one syncfs(2), before the index names the image, has made all of them durable.
///
/// A marked layer of this boot is whole: what is not on the disk yet is in the page cache. One of another boot may have lost
/// anything but its name, and is extracted again.
extension ImageStore {
    /// In the layer's directory, beside the tree; holds the ID of the boot (random(4)).
    private static let volatileMark = "volatile"

    private static func bootID() throws -> [UInt8] {
        let path = "/proc/sys/kernel/random/boot_id"
        return try storing("read \(path)") { try readFile(path, limit: 64) }
    }

    /// Marks the directory of a layer that is about to be extracted.
    func markVolatile(_ directory: String) throws {
        let file = try FileDescriptor.open("\(directory)/\(Self.volatileMark)", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        try file.writeAll(try Self.bootID())
        try file.close()
    }

    /// Whether a layer was extracted in an earlier boot that ended before it was on the disk.
    func isFromLostBoot(_ diffID: Digest) throws -> Bool {
        let path = "\(layerPath(diffID))/\(Self.volatileMark)"
        do {
            return try readFile(path, limit: 64) != Self.bootID()
        } catch let error as KernelError where error.errno == ENOENT {
            return false
        }
    }

    /// Forces to the disk what an image is made of, and takes the marks of its layers away. Where every layer was there
    /// already only the documents can be new.
    func makeDurable(_ documents: [Digest], _ diffIDs: [Digest]) throws {
        let all: [String] = diffIDs.map { "\(layerPath($0))/\(Self.volatileMark)" }
        let marks = all.filter { (path: String) in access(path, F_OK) == 0 }
        try storing("write \(root) to the disk") {
            if marks.isEmpty {
                for digest in documents {
                    let file = try openBlob(digest)
                    let raw = file.rawValue
                    try retrying("fdatasync") { fdatasync(raw) }
                }
                return
            }
            let directory = try FileDescriptor.open(root, O_RDONLY | O_DIRECTORY)
            let raw = directory.rawValue
            try retrying("syncfs", root) { cl_syncfs(raw) }
            for mark in marks where unlink(mark) != 0 && errno != ENOENT { throw KernelError.last("unlink", mark) }
        }
    }
}
