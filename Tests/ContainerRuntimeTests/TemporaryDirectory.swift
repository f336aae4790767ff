import Glibc
import LinuxKernel

/// A directory that is gone when its owner is.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/coffer-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw KernelError.last("mkdtemp") }
        path = String(cString: made)
    }

    func names() throws -> [String] {
        guard let stream = opendir(path) else { throw KernelError.last("opendir", path) }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result.sorted()
    }

    func read(_ name: String) throws -> String { String(decoding: try readFile("\(path)/\(name)"), as: UTF8.self) }

    func write(_ name: String, _ text: String) throws {
        let file = try FileDescriptor.open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.writeAll(Array(text.utf8))
    }

    deinit {
        for name in (try? names()) ?? [] {
            unlink("\(path)/\(name)")
            rmdir("\(path)/\(name)")
        }
        rmdir(path)
    }
}
