import Glibc
import LinuxKernel
import StrictJSON

/// The files of a container's directory that the engine wrote itself.
enum BundleFiles {
    /// Reads one; nil when it does not exist.
    ///
    /// - Throws: `EngineError` when it is unreadable.
    static func load<Value: Decodable>(_ type: Value.Type, _ path: String) throws(EngineError) -> Value? {
        do {
            return try StrictJSONDecoder().decode(type, from: try readFile(path, limit: 16 << 20))
        } catch let error as KernelError where error.errno == ENOENT {
            return nil
        } catch {
            throw EngineError("\(path) cannot be read: \(error)", remedy: "remove the container")
        }
    }
}
