import CLinux
import Glibc

/// The securebits of the calling thread (capabilities(7)); programs that it starts inherit them.
public enum SecureBits {
    private static let noSetuidFixup: UInt = 1 << 2  // SECBIT_NO_SETUID_FIXUP

    /// Runs `body` with capabilities surviving a change from user 0 to another, also in programs that it starts.
    ///
    /// - Throws: EPERM without CAP_SETPCAP; what `body` throws.
    public static func keepingCapabilitiesAcrossSetuid<Value>(
        _ body: () throws(KernelError) -> Value
    ) throws(KernelError) -> Value {
        let before = UInt(try retrying("prctl", "securebits") { cl_prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) })
        try set(before | noSetuidFixup)
        let result: Result<Value, KernelError>
        do throws(KernelError) { result = .success(try body()) } catch { result = .failure(error) }
        try set(before)
        return try result.get()
    }

    private static func set(_ bits: UInt) throws(KernelError) {
        try retrying("prctl", "securebits") { cl_prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) }
    }
}
