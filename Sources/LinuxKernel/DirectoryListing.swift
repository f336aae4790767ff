import CLinux
import Glibc

/// The entries of a directory (readdir(3)).
public enum DirectoryListing {
    public struct Entry: Sendable {
        /// The bytes of the name as they are, with a zero at the end: a name need not be text.
        public let name: [CChar]
        /// nil where the file system does not say.
        public let isDirectory: Bool?
        /// The name for messages and comparisons; what is no UTF-8 is replaced.
        public var text: String { String(decoding: name.dropLast().lazy.map { UInt8(bitPattern: $0) }, as: UTF8.self) }
    }

    /// All entries but "." and "..", in the order of the file system. The descriptor stays the caller's.
    ///
    /// - Parameter limit: how many there may be, where a stranger has filled the directory.
    /// - Throws: E2BIG beyond the limit; also when the listing breaks off: a part of a directory is never taken for the whole.
    public static func read(_ descriptor: Int32, limit: Int = .max) throws(KernelError) -> [Entry] {
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
            if entries.count == limit { throw KernelError(call: "readdir", errno: E2BIG) }
            let type = entry.pointee.d_type
            entries.append(Entry(name: name, isDirectory: type == UInt8(DT_UNKNOWN) ? nil : type == UInt8(DT_DIR)))
        }
    }

    /// The names in a directory of the host, as text.
    public static func names(of path: String) throws(KernelError) -> [String] {
        do {
            let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
            let entries = try read(directory.rawValue)
            try directory.close()
            return entries.map(\.text)
        } catch {
            throw KernelError(call: error.call, errno: error.errno, subject: path)
        }
    }
}
