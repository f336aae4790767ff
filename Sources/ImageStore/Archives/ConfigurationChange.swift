import OCISpec
import StrictJSON

/// The instructions of `coffer import --change`, in a Dockerfile's syntax: `CMD ["sh"]`, `ENV A=b`, `EXPOSE 80/tcp`.
enum ConfigurationChange {
    static func apply(_ text: String, to defaults: inout ExecutionDefaults) throws {
        let bad = { (reason: String) in ImageStoreError.badChange(text, reason: reason) }
        guard let end = text.firstIndex(where: { $0 == " " || $0 == "=" || $0 == "\t" }) else { throw bad("the value is missing") }
        let instruction = text[..<end].uppercased()
        let value = String(text[text.index(after: end)...].drop { $0 == " " }.trimmingSuffix(while: { $0 == " " }))
        guard !value.isEmpty, !text.utf8.contains(0), !text.utf8.contains(0x0a) else { throw bad("the value is missing or not valid") }
        switch instruction {
        case "CMD": defaults.command = try command(value, bad)
        case "ENTRYPOINT": defaults.entrypoint = try command(value, bad)
        case "USER": defaults.user = value
        case "WORKDIR":
            guard value.hasPrefix("/") else { throw bad("the directory must be absolute") }
            defaults.workingDirectory = value
        case "STOPSIGNAL": defaults.stopSignal = value
        case "ENV":
            let (key, content) = try pair(value, bad)
            defaults.environment = (defaults.environment ?? []).filter { !$0.hasPrefix("\(key)=") } + ["\(key)=\(content)"]
        case "LABEL":
            let (key, content) = try pair(value, bad)
            defaults.labels = (defaults.labels ?? [:]).merging([key: content]) { $1 }
        case "EXPOSE":
            for port in value.split(separator: " ") {
                let parts = port.split(separator: "/", omittingEmptySubsequences: false)
                guard parts.count <= 2, let number = UInt16(parts[0]), number > 0,
                    ["tcp", "udp", "sctp"].contains(parts.count == 2 ? String(parts[1]) : "tcp")
                else { throw bad("\"\(port)\" is not a port") }
                defaults.exposedPorts = (defaults.exposedPorts ?? [:])
                    .merging(["\(number)/\(parts.count == 2 ? String(parts[1]) : "tcp")": .init()]) { $1 }
            }
        case "VOLUME":
            for path in value.hasPrefix("[") ? try array(value, bad) : value.split(separator: " ").map(String.init) {
                guard path.hasPrefix("/") else { throw bad("the volume \"\(path)\" must be absolute") }
                defaults.volumes = (defaults.volumes ?? [:]).merging([path: .init()]) { $1 }
            }
        default:
            throw bad("\(instruction) is not supported: use CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")
        }
    }

    /// The exec form is a JSON array; everything else is a line for the shell.
    private static func command(_ value: String, _ bad: (String) -> ImageStoreError) throws -> [String] {
        value.hasPrefix("[") ? try array(value, bad) : ["/bin/sh", "-c", value]
    }

    private static func array(_ value: String, _ bad: (String) -> ImageStoreError) throws -> [String] {
        do {
            return try StrictJSONDecoder().decode([String].self, from: Array(value.utf8))
        } catch {
            throw bad("it is not a JSON array of strings (\(error))")
        }
    }

    /// KEY=VALUE or KEY VALUE; quotes around the whole value are taken off.
    private static func pair(_ value: String, _ bad: (String) -> ImageStoreError) throws -> (String, String) {
        guard let separator = value.firstIndex(where: { $0 == "=" || $0 == " " }), separator != value.startIndex else {
            throw bad("it is not KEY=VALUE")
        }
        var content = value[value.index(after: separator)...]
        if content.count >= 2, let first = content.first, first == "\"" || first == "'", content.last == first {
            content = content.dropFirst().dropLast()
        }
        return (String(value[..<separator]), String(content))
    }
}

extension Substring {
    fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
        var result = self
        while let last = result.last, predicate(last) { result.removeLast() }
        return result
    }
}
