/// The frames between a client and a container's monitor: one SOCK_SEQPACKET message each, the first byte says the type.
///
///     client → monitor   0 stdin data · 1 end of stdin · 2 resize (rows u16le, columns u16le)
///     monitor → client   1 stdout data · 2 stderr data · 3 exit (code i32le) · 10 started (JSON {"pid":N}) · 11 failed (JSON LaunchFailure)
enum AttachFrame {
    /// Bytes of data in one frame, at most.
    static let payloadLimit = 32768

    enum FromClient {
        static let data: UInt8 = 0
        static let end: UInt8 = 1
        static let resize: UInt8 = 2
    }

    enum FromMonitor {
        static let output: UInt8 = 1
        static let error: UInt8 = 2
        static let exit: UInt8 = 3
        static let started: UInt8 = 10
        static let failed: UInt8 = 11
    }

    static func resize(rows: UInt16, columns: UInt16) -> [UInt8] {
        [FromClient.resize, UInt8(rows & 0xff), UInt8(rows >> 8), UInt8(columns & 0xff), UInt8(columns >> 8)]
    }

    /// The code of an exit frame, or nil when it is too short.
    static func exitCode(_ payload: ArraySlice<UInt8>) -> Int32? {
        guard payload.count >= 4 else { return nil }
        return payload.prefix(4).reversed().reduce(Int32(0)) { $0 << 8 | Int32($1) }
    }
}
