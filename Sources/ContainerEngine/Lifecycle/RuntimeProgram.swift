import Glibc
import LinuxKernel

/// The programs that are installed together with this one.
enum InstalledProgram {
    /// Where a program of Coffer is: beside this one, or in ../libexec/coffer. Neither PATH nor the environment has a say.
    ///
    /// - Returns: nil when there is none.
    static func locate(_ name: String) throws(EngineError) -> String? {
        let own = try ownPath()
        let directory = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        return ["\(directory)/\(name)", "\(directory)/../libexec/coffer/\(name)"].first { access($0, X_OK) == 0 }
    }

    /// The absolute path of this program (proc_pid_exe(5)).
    static func ownPath() throws(EngineError) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        if count <= 0 { throw EngineError("/proc/self/exe cannot be read: \(KernelError.last("readlink").reason)") }
        return String(decoding: buffer[..<count], as: UTF8.self)
    }
}

/// Where `coffer-runtime` is: installed with this program, or what COFFER_RUNTIME names.
enum RuntimeProgram {
    /// - Throws: `EngineError` when there is none.
    static func locate(_ environment: [String: String]) throws(EngineError) -> String {
        if let named = environment["COFFER_RUNTIME"], !named.isEmpty {
            if access(named, X_OK) == 0 { return named }
            throw EngineError("COFFER_RUNTIME names \(named), which is no program that can be run")
        }
        if let program = try InstalledProgram.locate("coffer-runtime") { return program }
        throw EngineError(
            "coffer-runtime is not installed beside \(try InstalledProgram.ownPath())",
            remedy: "install both programs, or name it with COFFER_RUNTIME")
    }
}
