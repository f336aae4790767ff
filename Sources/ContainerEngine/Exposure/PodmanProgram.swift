import Glibc
import LinuxKernel
import StrictJSON

/// Questions to Podman through its program: it has no daemon that could be asked.
struct PodmanProgram {
    private let path: String
    private let environment: [String]

    init(environment: [String: String]) throws(EngineError) {
        let places = (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":").map { String($0) + "/podman" }
        guard let found = places.first(where: { $0.hasPrefix("/") && access($0, X_OK) == 0 }) else {
            throw EngineError(
                "podman is not installed", remedy: "save its words with 'podman inspect NAME > FILE' and score the file", code: .failure)
        }
        path = found
        let kept = [
            "PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "TMPDIR",
        ]
        self.environment = kept.compactMap { name in environment[name].map { "\(name)=\($0)" } }
    }

    /// `podman inspect` of one container; nil when there is none.
    func inspect(_ names: [String]) throws(EngineError) -> JSONValue? {
        guard let output = try run(["container", "inspect", "--"] + names) else { return nil }
        do {
            return try JSONParser().parse(output)
        } catch {
            throw EngineError("Podman's answer cannot be read: \(error)", code: .failure)
        }
    }

    func names() throws(EngineError) -> [String] {
        guard let output = try run(["ps", "--all", "--no-trunc", "--format", "{{.ID}}"]) else {
            throw EngineError("podman ps failed", code: .failure)
        }
        return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func run(_ arguments: [String]) throws(EngineError) -> [UInt8]? {
        do {
            let (readEnd, writeEnd) = try makePipe()
            let output = FileDescriptor(owning: readEnd)
            let input = FileDescriptor(owning: writeEnd)
            let child = try SpawnedProcess.start(path, ["podman"] + arguments, environment: environment, descriptors: [nil, input.rawValue, nil])
            try input.close()
            let bytes = try output.readAll(limit: 64 << 20)
            return try child.wait() == .exited(0) ? bytes : nil
        } catch {
            throw EngineError("podman cannot be run: \(error)", code: .failure)
        }
    }
}
