import Glibc
import LinuxKernel
import OCISpec

/// A stream of bytes that is hashed as it is read, in large pieces.
final class ByteSource {
    private let descriptor: Int32
    private let buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0
    private var digester: Digester?
    private let limit: Int64
    /// Bytes read from the descriptor so far.
    private(set) var total: Int64 = 0

    /// - Parameters:
    ///   - descriptor: stays the caller's.
    ///   - algorithm: of the digest of the whole stream; nil for none.
    ///   - limit: bytes; beyond it reading fails.
    init(_ descriptor: Int32, hashing algorithm: Digest.Algorithm?, limit: Int64 = .max) {
        self.descriptor = descriptor
        self.limit = limit
        digester = algorithm.map { Digester($0) }
        buffer = .allocate(byteCount: 1 << 20, alignment: 4096)
    }

    deinit { buffer.deallocate() }

    /// Digest of everything read so far. Call it at the end.
    func digest() -> Digest? { digester?.digest() }

    /// Reads more behind what is there. - Returns: false at the end of the stream.
    private func fill() throws -> Bool {
        if start == end {
            start = 0
            end = 0
        } else if end == buffer.count {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
            end -= start
            start = 0
        }
        let space = UnsafeMutableRawBufferPointer(rebasing: buffer[end...])
        let count = try retrying("read") { Glibc.read(descriptor, space.baseAddress, space.count) }
        if count == 0 { return false }
        digester?.update(UnsafeRawBufferPointer(rebasing: space[..<count]))
        end += count
        total += Int64(count)
        if total > limit {
            throw UnpackFailure(
                "it unpacks to more than \(limit) bytes, far more than its own size: it is refused as a decompression bomb")
        }
        return true
    }

    /// The next `count` bytes (at most 1 MiB), valid until the next call; nil at the end of the stream.
    ///
    /// - Throws: `UnpackFailure` when the stream ends within them.
    func next(_ count: Int) throws -> UnsafeRawBufferPointer? {
        while end - start < count {
            if try !fill() {
                if end == start { return nil }
                throw Self.truncated
            }
        }
        defer { start += count }
        return UnsafeRawBufferPointer(rebasing: buffer[start..<(start + count)])
    }

    /// Hands the next `count` bytes on, piece by piece.
    func forEach(_ count: Int64, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var left = count
        while left > 0 {
            if start == end, try !fill() { throw Self.truncated }
            let length = Int(min(left, Int64(end - start)))
            try body(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + length)]))
            start += length
            left -= Int64(length)
        }
    }

    /// Hands everything up to the end on, piece by piece.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        repeat {
            if start < end { try body(UnsafeRawBufferPointer(rebasing: buffer[start..<end])) }
            start = end
        } while try fill()
    }

    /// Reads to the end. - Returns: whether all the rest was zero bytes.
    func drain() throws -> Bool {
        var allZero = true
        repeat {
            if allZero, buffer[start..<end].contains(where: { $0 != 0 }) { allZero = false }
            start = end
        } while try fill()
        return allZero
    }

    static let truncated = UnpackFailure("the archive is truncated", isEarlyEnd: true)
}
