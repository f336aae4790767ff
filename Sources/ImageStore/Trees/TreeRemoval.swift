import CLinux
import Glibc
import LinuxKernel

/// Removes trees that hostile programs have filled, without following a link and without a limit of depth.
enum TreeRemoval {
    /// Removes what `name` is in the directory `parent`, whatever it is. What does not exist is no error.
    ///
    /// Subdirectories are moved up into the doomed directory one by one instead of being descended into: a tree of any depth
    /// needs three descriptors and no stack.
    static func remove(_ name: [CChar], in parent: Int32) throws(KernelError) {
        if unlinkat(parent, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw .last("unlinkat") }
        let top = try openDirectory(name, in: parent)
        var counter: UInt64 = 0
        while true {
            let directories = try removeFiles(of: top)
            if directories.isEmpty { break }
            for directory in directories { try flatten(directory, into: top, &counter) }
        }
        if unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT { throw .last("unlinkat") }
    }

    /// Removes the files of a subdirectory of `top`, moves its own subdirectories to `top`, and removes it.
    private static func flatten(_ name: [CChar], into top: borrowing FileDescriptor, _ counter: inout UInt64) throws(KernelError) {
        let raw = top.rawValue
        do {
            let directory = try openDirectory(name, in: raw)
            for child in try removeFiles(of: directory) {
                // An empty directory needs no move.
                if unlinkat(directory.rawValue, child, AT_REMOVEDIR) == 0 { continue }
                while true {
                    counter += 1
                    let place = cString(".removing-\(counter)".utf8)
                    if cl_rename_new(directory.rawValue, child, raw, place) == 0 { break }
                    if errno != EEXIST { throw .last("renameat2") }
                }
            }
        }
        if unlinkat(raw, name, AT_REMOVEDIR) != 0 && errno != ENOENT { throw .last("unlinkat") }
    }

    private static func openDirectory(_ name: [CChar], in parent: Int32) throws(KernelError) -> FileDescriptor {
        FileDescriptor(
            owning: try retrying("openat") { openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
    }

    /// Unlinks everything that is no directory, and returns the names of the directories.
    private static func removeFiles(of directory: borrowing FileDescriptor) throws(KernelError) -> [[CChar]] {
        var directories: [[CChar]] = []
        let raw = directory.rawValue
        for entry in try DirectoryListing.read(raw) {
            if entry.isDirectory != true {
                if unlinkat(raw, entry.name, 0) == 0 || errno == ENOENT { continue }
                if errno != EISDIR && errno != EPERM { throw .last("unlinkat") }
                if errno == EPERM && entry.isDirectory == false { throw .last("unlinkat") }
            }
            directories.append(entry.name)
        }
        return directories
    }
}
