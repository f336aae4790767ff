import CZstd
import LinuxKernel

/// Decompresses Zstandard (RFC 8878): frames one after another, skippable ones included.
enum ZstandardStream {
    /// The largest window a frame may ask for: 128 MiB, what `zstd` itself accepts without a flag.
    private static let windowLog: Int32 = 27

    /// - Throws: `UnpackFailure` for damaged, truncated or foreign input; `KernelError`.
    static func decompress(from input: inout StreamInput, to output: Int32) throws {
        guard let context = ZSTD_createDCtx() else { throw KernelError(call: "ZSTD_createDCtx", errno: 12) }
        let inBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        let outBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer {
            ZSTD_freeDCtx(context)
            inBuffer.deallocate()
            outBuffer.deallocate()
        }
        try check(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, windowLog))
        var needed = 1  // 0 exactly at the end of a frame
        var isEmpty = true
        while true {
            let count = try input.read(into: inBuffer)
            if count == 0 { break }
            isEmpty = false
            var source = ZSTD_inBuffer(src: inBuffer.baseAddress, size: count, pos: 0)
            var isFull = false
            while source.pos < source.size || isFull {
                var target = ZSTD_outBuffer(dst: outBuffer.baseAddress, size: outBuffer.count, pos: 0)
                needed = try check(ZSTD_decompressStream(context, &target, &source))
                isFull = target.pos == target.size
                try StreamOutput.writeAll(output, UnsafeRawBufferPointer(rebasing: outBuffer[..<target.pos]))
                if needed == 0 { isFull = false }
            }
        }
        if isEmpty { throw UnpackFailure("the zstd stream is empty", isEarlyEnd: true) }
        if needed != 0 { throw UnpackFailure("the zstd stream is truncated", isEarlyEnd: true) }
    }

    @discardableResult
    private static func check(_ result: Int) throws -> Int {
        guard ZSTD_isError(result) != 0 else { return result }
        throw UnpackFailure("the zstd stream is damaged (\(String(cString: ZSTD_getErrorName(result))))")
    }
}
