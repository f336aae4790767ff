import CISAL
import CZstd

/// Compressed streams for tests, made with the libraries that also decompress.
enum Compressed {
    /// One gzip member.
    static func gzip(_ bytes: [UInt8]) -> [UInt8] {
        let stream = UnsafeMutablePointer<isal_zstream>.allocate(capacity: 1)
        let workspace = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 20)
        defer {
            stream.deallocate()
            workspace.deallocate()
        }
        var source = bytes.isEmpty ? [0] : bytes
        var output = [UInt8](repeating: 0, count: bytes.count + bytes.count / 8 + 4096)
        let length = source.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { result in
                isal_deflate_init(stream)
                stream.pointee.gzip_flag = UInt16(IGZIP_GZIP)
                stream.pointee.end_of_stream = 1
                stream.pointee.flush = 0
                stream.pointee.level = 1
                stream.pointee.level_buf = workspace
                stream.pointee.level_buf_size = 1 << 20
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(bytes.count)
                stream.pointee.next_out = result.baseAddress
                stream.pointee.avail_out = UInt32(result.count)
                precondition(isal_deflate(stream) == 0 && stream.pointee.avail_in == 0)
                return result.count - Int(stream.pointee.avail_out)
            }
        }
        return Array(output.prefix(length))
    }

    /// One zstd frame.
    static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
        let length = ZSTD_compress(&output, output.count, bytes, bytes.count, 1)
        precondition(ZSTD_isError(length) == 0)
        return Array(output.prefix(length))
    }
}
