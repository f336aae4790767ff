import Confinement
import Exposure
import Glibc
import LinuxKernel
import StrictJSON

/// The policy files: the system's, the user's, and one that the caller adds. Each can only add to what the others refuse.
public struct PolicyFiles: Sendable {
    /// Where a policy was found.
    public let files: [String]
    public let policy: ExposurePolicy

    public static let system = "/etc/coffer/policy.json"

    /// - Throws: `EngineError` with code 125 for a file that is there and cannot be read, trusted or understood: nothing runs past a broken policy.
    public init(environment: [String: String]) throws(EngineError) {
        var places = [(Self.system, uid_t(0))]
        let home = environment["HOME"] ?? ""
        let configuration = environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? (home.hasPrefix("/") ? home + "/.config" : "")
        if !configuration.isEmpty { places.append((configuration + "/coffer/policy.json", geteuid())) }
        if let named = environment["COFFER_POLICY"], !named.isEmpty { places.append((named, geteuid())) }
        var files: [String] = []
        var policy = ExposurePolicy()
        for (path, owner) in places {
            guard let found = try Self.read(path, owner: owner, isRequired: path == environment["COFFER_POLICY"]) else { continue }
            files.append(path)
            policy = policy.joined(with: found)
        }
        self.files = files
        self.policy = policy
    }

    private static func read(_ path: String, owner: uid_t, isRequired: Bool) throws(EngineError) -> ExposurePolicy? {
        do {
            let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
            var status = stat()
            let raw = file.rawValue
            try retrying("fstat", path) { fstat(raw, &status) }
            guard status.st_uid == owner || status.st_uid == 0, status.st_mode & 0o022 == 0 else {
                throw EngineError("the policy \(path) can be changed by others", remedy: "chown and chmod go-w it")
            }
            return try ExposurePolicy(try file.readAll(limit: ExposurePolicy.maximumSize), file: path)
        } catch let error as KernelError {
            if !isRequired, error.errno == ENOENT || error.errno == ENOTDIR { return nil }
            throw EngineError("the policy \(path) cannot be read: \(error.reason)")
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(error)")
        }
    }

    /// Lets a subject pass, or says the first thing that the policy has against it.
    ///
    /// - Throws: `EngineError` with code 125.
    func check(_ subject: Subject, user: String) throws(EngineError) {
        if policy.isEmpty { return }
        do {
            var scorer = try ExposureScore()
            var resolved = subject
            // A link to a refused path is that path.
            resolved.confinement.mounts = subject.confinement.mounts.map { mount in
                var mount = mount
                if mount.isBind, let real = realpath(mount.source, nil) {
                    mount.source = String(cString: real)
                    free(real)
                }
                return mount
            }
            if let objection = policy.objections(to: resolved, scorer.report(subject), user: user).first {
                throw EngineError(objection.reason, remedy: objection.remedy)
            }
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("the policy cannot be applied: \(error)")
        }
    }
}
