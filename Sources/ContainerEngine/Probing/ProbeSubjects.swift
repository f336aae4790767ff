import Exposure
import Glibc
import LinuxKernel
import OCISpec
import Probing
import StrictJSON

extension Engine {
    /// What a word of the command line means, with the flags of `run` where it is an image.
    public func probeSubjects(_ target: String, _ request: RunRequest) throws(EngineError) -> [ProbeSubject] {
        let isForeign = target.hasPrefix("docker:") || target.hasPrefix("podman:") || target.hasSuffix(".service") || target.hasPrefix("pid:")
        var status = stat()
        if !isForeign, stat(target, &status) != 0 || !target.contains("/") {
            do throws(EngineError) {
                return [.container(try intactContainer(target))]
            } catch {
                if error != .noSuchContainer(target) { throw error }
            }
            var named = request
            named.image = target
            if let found = try resolveImage(named) { return [.run(named, found.image)] }
            if stat(target, &status) != 0 {
                throw EngineError(
                    "\(target) is no container and no image of coffer's, and no file", remedy: "targets are described by 'coffer probe --help'",
                    code: .failure)
            }
        }
        if target.hasSuffix(".service") || target.hasPrefix("pid:") {
            throw EngineError("\(target) cannot be probed: no twin of it can be made", remedy: "coffer exposure \(target) scores it", code: .failure)
        }
        let here = self
        let subjects = try ExposureTargets(environment: environment, engine: { () throws(EngineError) in here }).subjects(target)
        let isDirectory = stat(target, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        let root = isDirectory ? try Self.bundleRoot(target) : ""
        return subjects.map { .foreign($0, root: root) }
    }

    /// The root directory of a bundle, absolute.
    private static func bundleRoot(_ bundle: String) throws(EngineError) -> String {
        guard let spec = try BundleFiles.load(RuntimeSpec.self, bundle + "/config.json"), let path = spec.root?.path, !path.isEmpty else { return "" }
        let whole = path.hasPrefix("/") ? path : bundle + "/" + path
        guard let resolved = realpath(whole, nil) else { throw EngineError("\(whole): \(KernelError.last("realpath").reason)", code: .failure) }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}

/// What `--level compare` sets side by side.
public enum ProbeColumns {
    /// Coffer's levels, Docker's default, rootless Podman's default and privileged.
    public static func subjects() throws(EngineError) -> [ProbeSubject] {
        var subjects: [ProbeSubject] = ["standard", "strict", "compat"].map { level in
            var request = RunRequest(image: "")
            request.security.level = level
            return .run(request, nil)
        }
        let host: JSONObject = ["NetworkMode": "bridge", "CgroupnsMode": "private"]
        var privileged = host
        privileged["Privileged"] = true
        let documents: [JSONValue] = [
            ["Name": "docker run", "HostConfig": .object(host), "Config": [:]],
            // By these two the reader knows whose it is, and that an ordinary user runs it.
            [
                "Name": "podman run", "ConmonPidFile": "", "StaticDir": "/home/user/.local/share/containers",
                "HostConfig": ["NetworkMode": "slirp4netns", "PidsLimit": 2048], "Config": [:],
            ],
            ["Name": "docker run --privileged", "HostConfig": .object(privileged), "Config": [:]],
        ]
        do {
            var reader = try InspectReader()
            for var subject in try reader.subjects(.array(documents)) {
                subject.name = String(subject.name.split(separator: ":").last ?? "")
                subjects.append(.foreign(subject, root: ""))
            }
        } catch {
            throw EngineError("the defaults of other engines cannot be read: \(error)")
        }
        return subjects
    }
}
