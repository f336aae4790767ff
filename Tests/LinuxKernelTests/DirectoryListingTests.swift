import Glibc
import Testing

@testable import LinuxKernel

@Suite("Entries of a directory")
struct DirectoryListingTests {
    @Test("Every entry but the two dots, by its bytes, and no more than allowed")
    func entries() throws {
        var template = Array("/tmp/coffer-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw KernelError.last("mkdtemp") }
        let path = String(cString: made)
        let raw = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY).release()
        defer { close(raw) }
        let latin1: [CChar] = [0x61, CChar(bitPattern: 0xfc), 0]  // "aü", and no UTF-8
        defer {
            unlinkat(raw, "file", 0)
            unlinkat(raw, latin1, 0)
            unlinkat(raw, "sub", AT_REMOVEDIR)
            rmdir(path)
        }
        for name in [Array("file".utf8CString), latin1] {
            close(try retrying("openat") { openat(raw, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600) })
        }
        try retrying("mkdirat") { mkdirat(raw, "sub", 0o700) }

        let entries = try DirectoryListing.read(raw, limit: 3)
        #expect(Set(entries.map(\.name)) == [Array("file".utf8CString), latin1, Array("sub".utf8CString)])
        #expect(entries.filter { $0.isDirectory == true }.map(\.text) == ["sub"])
        #expect(try DirectoryListing.names(of: path).sorted() == ["a\u{fffd}", "file", "sub"])
        #expect(throws: KernelError.self) { try DirectoryListing.read(raw, limit: 2) }
        #expect(throws: KernelError.self) { try DirectoryListing.names(of: path + "/none") }
    }
}
