import Glibc
import LinuxKernel

/// Where `coffer-runtime` is: beside this program, in ../libexec/coffer beside it, or what COFFER_RUNTIME names.
enum RuntimeProgram {
    /// - Throws: `EngineError` when there is none.
    static func locate(_ environment: [String: String]) throws(EngineError) -> String {
        if let named = environment["COFFER_RUNTIME"], !named.isEmpty {
            if access(named, X_OK) == 0 { return named }
            throw EngineError("COFFER_RUNTIME names \(named), which is no program that can be run")
        }
        let own = try ownPath()
        let directory = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        let candidates = ["\(directory)/coffer-runtime", "\(directory)/../libexec/coffer/coffer-runtime"]
        for candidate in candidates where access(candidate, X_OK) == 0 { return candidate }
        throw EngineError(
            "coffer-runtime is not installed beside \(own)", remedy: "install both programs, or name it with COFFER_RUNTIME")
    }

    /// The absolute path of this program (proc_pid_exe(5)).
    static func ownPath() throws(EngineError) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        if count <= 0 { throw EngineError("/proc/self/exe cannot be read: \(KernelError.last("readlink").reason)") }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}
