import CLinux
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

    /// `podman inspect` of some containers.
    ///
    /// - Throws: with Podman's own words when it has no such container or cannot say.
    func inspect(_ names: [String]) throws(EngineError) -> JSONValue {
        do {
            return try JSONParser().parse(try run(["container", "inspect", "--"] + names))
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("Podman's answer cannot be read: \(error)", code: .failure)
        }
    }

    func names() throws(EngineError) -> [String] {
        String(decoding: try run(["ps", "--all", "--no-trunc", "--format", "{{.ID}}"]), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func run(_ arguments: [String]) throws(EngineError) -> [UInt8] {
        do {
            let (readEnd, writeEnd) = try makePipe()
            let output = FileDescriptor(owning: readEnd)
            let input = FileDescriptor(owning: writeEnd)
            // A file in memory: it never fills, so that reading the output first cannot lock both up.
            let errors = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("podman", 1) })
            let child = try SpawnedProcess.start(
                path, ["podman"] + arguments, environment: environment, descriptors: [nil, input.rawValue, errors.rawValue])
            try input.close()
            let bytes = try output.readAll(limit: 64 << 20)
            if try child.wait() == .exited(0) { return bytes }
            let raw = errors.rawValue
            try retrying("lseek") { lseek(raw, 0, SEEK_SET) }
            let words = String(decoding: try errors.read(upTo: 4096), as: UTF8.self).split(separator: "\n").last.map(String.init) ?? ""
            throw EngineError("Podman: \(words.isEmpty ? "it failed and said nothing" : words)", code: .failure)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("podman cannot be run: \(error)", code: .failure)
        }
    }
}
