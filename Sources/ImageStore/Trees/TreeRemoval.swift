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

/// The entries of a directory.
enum DirectoryListing {
    struct Entry {
        let name: [CChar]
        /// nil where the file system does not say.
        let isDirectory: Bool?
    }

    /// All entries but "." and "..", in the order of the file system. The descriptor stays the caller's.
    static func read(_ descriptor: Int32) throws(KernelError) -> [Entry] {
        let copy = try retrying("openat") { openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard let stream = fdopendir(copy) else {
            Glibc.close(copy)
            throw .last("fdopendir")
        }
        defer { closedir(stream) }
        var entries: [Entry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw .last("readdir") }
                return entries
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { text in
                    Array(UnsafeBufferPointer(start: text, count: strlen(text) + 1))
                }
            }
            if name.elementsEqual([0x2e, 0]) || name.elementsEqual([0x2e, 0x2e, 0]) { continue }
            let type = entry.pointee.d_type
            entries.append(Entry(name: name, isDirectory: type == UInt8(DT_UNKNOWN) ? nil : type == UInt8(DT_DIR)))
        }
    }
}
