import CISAL
import LinuxKernel

/// Decompresses gzip (RFC 1952) with ISA-L: one member or several, each with its checksum and length verified.
enum GzipStream {
    /// - Throws: `UnpackFailure` for damaged, truncated or foreign input; `KernelError`.
    static func decompress(from input: inout StreamInput, to output: Int32) throws {
        let inBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        let outBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        let state = UnsafeMutablePointer<inflate_state>.allocate(capacity: 1)
        defer {
            inBuffer.deallocate()
            outBuffer.deallocate()
            state.deallocate()
        }
        let inBytes = inBuffer.bindMemory(to: UInt8.self)
        let outBytes = outBuffer.bindMemory(to: UInt8.self)
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
        state.pointee.avail_in = 0
        state.pointee.next_out = outBytes.baseAddress
        state.pointee.avail_out = UInt32(outBytes.count)
        var isFirst = true
        while true {
            // One member.
            if state.pointee.avail_in == 0 {
                let count = try input.read(into: inBuffer)
                if count == 0 {
                    if isFirst { throw UnpackFailure("the gzip stream is empty", isEarlyEnd: true) }
                    break
                }
                state.pointee.next_in = inBytes.baseAddress
                state.pointee.avail_in = UInt32(count)
            }
            // What follows a member must be another one.
            if state.pointee.next_in.pointee != 0x1f {
                throw UnpackFailure(isFirst ? "it is not gzip, as its media type says" : "there is garbage behind the gzip stream")
            }
            try member(state, inBuffer, outBytes, &input, output)
            isFirst = false
            isal_inflate_reset(state)
            state.pointee.crc_flag = UInt32(ISAL_GZIP)
        }
        try flush(state, outBytes, output)
    }

    private static func member(
        _ state: UnsafeMutablePointer<inflate_state>, _ inBuffer: UnsafeMutableRawBufferPointer,
        _ outBytes: UnsafeMutableBufferPointer<UInt8>, _ input: inout StreamInput, _ output: Int32
    ) throws {
        while true {
            let result = isal_inflate(state)
            guard result == ISAL_DECOMP_OK || result == ISAL_END_INPUT else {
                throw UnpackFailure("the gzip stream is damaged (\(reason(result)))")
            }
            if state.pointee.avail_out == 0 { try flush(state, outBytes, output) }
            if state.pointee.block_state == ISAL_BLOCK_FINISH { return }
            if state.pointee.avail_in == 0 && state.pointee.avail_out > 0 {
                let count = try input.read(into: inBuffer)
                if count == 0 { throw UnpackFailure("the gzip stream is truncated", isEarlyEnd: true) }
                state.pointee.next_in = inBuffer.bindMemory(to: UInt8.self).baseAddress
                state.pointee.avail_in = UInt32(count)
            }
        }
    }

    private static func flush(
        _ state: UnsafeMutablePointer<inflate_state>, _ outBytes: UnsafeMutableBufferPointer<UInt8>, _ output: Int32
    ) throws {
        let count = outBytes.count - Int(state.pointee.avail_out)
        try StreamOutput.writeAll(output, UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: outBytes[..<count])))
        state.pointee.next_out = outBytes.baseAddress
        state.pointee.avail_out = UInt32(outBytes.count)
    }

    private static func reason(_ result: Int32) -> String {
        switch result {
        case ISAL_INVALID_BLOCK: "invalid block"
        case ISAL_INVALID_SYMBOL: "invalid symbol"
        case ISAL_INVALID_LOOKBACK: "invalid distance"
        case ISAL_INVALID_WRAPPER: "invalid header"
        case ISAL_UNSUPPORTED_METHOD: "unknown method"
        case ISAL_INCORRECT_CHECKSUM: "wrong checksum"
        default: "code \(result)"
        }
    }
}
