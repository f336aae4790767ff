import LinuxKernel

/// Environment variables of `-e` and `--env-file`.
public enum Environment {
    /// Resolves `-e` values: `NAME=VALUE` as it is, `NAME` from the caller's environment (dropped when it has none).
    ///
    /// - Throws: `EngineError` for a value without a name.
    public static func resolve(_ values: [String], from environment: [String: String]) throws(EngineError) -> [String] {
        var result: [String] = []
        for value in values {
            if value.isEmpty || value.hasPrefix("=") { throw EngineError("invalid environment variable: \(value)") }
            if value.utf8.contains(0) { throw EngineError("invalid environment variable: it holds a NUL byte") }
            if value.contains("=") {
                result.append(value)
            } else if let inherited = environment[value] {
                result.append(value + "=" + inherited)
            }
        }
        return result
    }

    /// Reads an `--env-file`: one variable per line, `#` begins a comment line, no quoting (as Docker).
    ///
    /// - Throws: `EngineError` that names file and line.
    public static func file(_ path: String, from environment: [String: String]) throws(EngineError) -> [String] {
        let bytes: [UInt8]
        do { bytes = try readFile(path, limit: 1 << 20) } catch { throw EngineError("open \(path): \(error.reason)") }
        var result: [String] = []
        for (number, raw) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            var line = raw
            if number == 0, line.starts(with: [0xEF, 0xBB, 0xBF]) { line = line.dropFirst(3) }
            guard let text = String(validating: line, as: UTF8.self) else {
                throw EngineError("env file \(path) contains invalid utf8 bytes at line \(number + 1)")
            }
            let trimmed = text.drop { $0 == " " || $0 == "\t" }.trimmingCarriageReturn
            if trimmed.isEmpty || trimmed.hasPrefix("#") { continue }
            let name = trimmed.prefix { $0 != "=" }
            if name.isEmpty { throw EngineError("no variable name on line '\(trimmed)' of \(path)") }
            if name.contains(where: { $0 == " " || $0 == "\t" }) {
                throw EngineError("variable '\(name)' contains whitespaces in \(path)")
            }
            result += try resolve([String(trimmed)], from: environment)
        }
        return result
    }

    /// Later values replace earlier ones of the same name and keep their place.
    public static func merged(_ lists: [String]...) -> [String] {
        var order: [Substring] = []
        var values: [Substring: String] = [:]
        for variable in lists.joined() {
            let name = variable.prefix { $0 != "=" }
            if values.updateValue(variable, forKey: name) == nil { order.append(name) }
        }
        return order.compactMap { values[$0] }
    }
}

extension Substring {
    fileprivate var trimmingCarriageReturn: Substring { hasSuffix("\r") ? dropLast() : self }
}
