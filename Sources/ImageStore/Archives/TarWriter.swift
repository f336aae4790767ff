import Glibc
import LinuxKernel

/// Writes a tar archive (ustar), always the same bytes for the same input: owner 0, time 0.
struct TarWriter {
    private let output: Int32

    /// - Parameter output: a descriptor that stays the caller's.
    init(_ output: Int32) { self.output = output }

    func directory(_ name: String) throws { try header(name + "/", size: 0, mode: 0o755, type: "5") }

    func file(_ name: String, _ content: [UInt8]) throws {
        try header(name, size: Int64(content.count), mode: 0o644, type: "0")
        try content.withUnsafeBytes { try write($0) }
        try pad(Int64(content.count))
    }

    /// - Parameter size: of `source`, which must have exactly that many bytes left.
    func file(_ name: String, size: Int64, from source: ByteSource) throws {
        try header(name, size: size, mode: 0o644, type: "0")
        try source.forEach(size) { try write($0) }
        try pad(size)
    }

    /// Two blocks of zeros.
    func finish() throws { try [UInt8](repeating: 0, count: 1024).withUnsafeBytes { try write($0) } }

    private func pad(_ size: Int64) throws {
        let zeros = [UInt8](repeating: 0, count: Int((512 - size % 512) % 512))
        try zeros.withUnsafeBytes { try write($0) }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws {
        try storing("write the archive") { try StreamOutput.writeAll(output, bytes) }
    }

    private func header(_ name: String, size: Int64, mode: Int, type: Character) throws {
        // Names of blobs: "blobs/sha512/" and 128 digits do not fit into 100 bytes, and are split at a slash.
        var (prefix, last) = ("", name)
        if name.utf8.count > 100, let slash = name.dropLast().lastIndex(of: "/") {
            (prefix, last) = (String(name[..<slash]), String(name[name.index(after: slash)...]))
        }
        guard last.utf8.count <= 100, prefix.utf8.count <= 155 else { throw ImageStoreError.badArchive(name, reason: "the name is too long for tar") }
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) { block.replaceSubrange(offset..<(offset + text.utf8.count), with: text.utf8) }
        func octal(_ value: Int64, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        put(last, at: 0)
        put(octal(Int64(mode), 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        if size < 1 << 33 {
            put(octal(size, 11), at: 124)
        } else {
            // GNU base-256, which every current reader knows.
            block[124] = 0x80
            for index in 0..<8 { block[135 - index] = UInt8(truncatingIfNeeded: size >> (index * 8)) }
        }
        put(octal(0, 11), at: 136)
        put(String(type), at: 156)
        put("ustar\u{0}00", at: 257)
        put(prefix, at: 345)
        put("        ", at: 148)
        let sum = block.reduce(Int64(0)) { $0 + Int64($1) }
        put(octal(sum, 6) + "\u{0} ", at: 148)
        try block.withUnsafeBytes { try write($0) }
    }
}
