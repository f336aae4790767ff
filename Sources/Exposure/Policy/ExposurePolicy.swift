import Confinement
import StrictJSON

/// What may be run: rules of the system's administrator and of the user, as a file.
///
///     {
///       "maxExposure": 5.0,
///       "refuse": ["root", "privileged", "host-namespaces", "unpinned-images"],
///       "refusePaths": ["/etc", "/run/docker.sock"]
///     }
public struct ExposurePolicy: Sendable, Equatable {
    /// What a policy can refuse by name.
    public enum Refusal: String, Sendable, CaseIterable {
        case root, privileged
        case hostNamespaces = "host-namespaces"
        case unpinnedImages = "unpinned-images"
    }

    /// Tenths of the figure above which nothing runs; nil is no bound.
    public var maximum: Int?
    public var refusals: Set<Refusal>
    /// Absolute host paths that are not mounted, nor what is below or above them.
    public var paths: [String]

    public init(maximum: Int? = nil, refusals: Set<Refusal> = [], paths: [String] = []) {
        self.maximum = maximum
        self.refusals = refusals
        self.paths = paths
    }

    public static let maximumSize = 1 << 20
    public var isEmpty: Bool { self == ExposurePolicy() }

    /// Reads a file. Whatever it says and this version does not know is an error: a rule that is passed over would let something run.
    public init(_ bytes: [UInt8], file: String) throws(ExposureError) {
        self.init()
        let document: JSONValue
        do {
            document = try JSONParser().parse(bytes)
        } catch {
            throw ExposureError("the policy \(file) is \(error)")
        }
        guard let object = document.object else { throw ExposureError("the policy \(file) is no object but \(document.kind)") }
        for entry in object {
            switch entry.key {
            case "maxExposure":
                guard let value = entry.value.double, (0...10).contains(value) else {
                    throw ExposureError("the policy \(file): maxExposure is a number from 0.0 to 10.0")
                }
                maximum = Int((value * 10 + 1e-9).rounded(.down))
            case "refuse":
                for word in try Self.strings(entry, file) {
                    guard let refusal = Refusal(rawValue: word) else {
                        let known = Refusal.allCases.map(\.rawValue).joined(separator: ", ")
                        throw ExposureError("the policy \(file) refuses “\(word)”, which it cannot; it can refuse \(known)")
                    }
                    refusals.insert(refusal)
                }
            case "refusePaths":
                for path in try Self.strings(entry, file) {
                    guard path.hasPrefix("/") else { throw ExposureError("the policy \(file): “\(path)” in refusePaths is no absolute path") }
                    paths.append(HostPath.normal(path))
                }
            default:
                throw ExposureError("the policy \(file) has a key “\(entry.key)” that means nothing; it can have maxExposure, refuse, refusePaths")
            }
        }
    }

    private static func strings(_ entry: JSONObject.Entry, _ file: String) throws(ExposureError) -> [String] {
        guard let array = entry.value.array else { throw ExposureError("the policy \(file): \(entry.key) is a list, not \(entry.value.kind)") }
        var result: [String] = []
        for element in array {
            guard let text = element.string else { throw ExposureError("the policy \(file): \(entry.key) holds \(element.kind), not only strings") }
            result.append(text)
        }
        return result
    }

    /// Both at once: each can only add to what the other refuses, so that a user never undoes what the system says.
    public func joined(with other: ExposurePolicy) -> ExposurePolicy {
        let bounds = [maximum, other.maximum].compactMap { $0 }
        return ExposurePolicy(
            maximum: bounds.min(), refusals: refusals.union(other.refusals), paths: paths + other.paths.filter { !paths.contains($0) })
    }

    public var json: JSONValue {
        var object: JSONObject = [:]
        if let maximum { object["maxExposure"] = ExposureReport.number(Double(maximum) / 10) }
        object["refuse"] = .array(Refusal.allCases.filter(refusals.contains).map { .string($0.rawValue) })
        object["refusePaths"] = .array(paths.map { .string($0) })
        return .object(object)
    }
}

extension ExposurePolicy {
    /// One reason why something may not run, and what would help.
    public struct Objection: Sendable, Equatable {
        public let reason: String
        public let remedy: String
    }

    /// What the policy has against a subject; empty when it may run.
    ///
    /// - Parameter user: As the flag or the image wrote it, "" where nobody did.
    public func objections(to subject: Subject, _ report: ExposureReport, user: String) -> [Objection] {
        var found: [Objection] = []
        let confinement = subject.confinement
        if refusals.contains(.privileged), confinement.capabilities.bounding.isSuperset(of: Self.everyLinux54), confinement.syscalls == .unconfined {
            found.append(Objection(reason: "the policy refuses privileged containers", remedy: "leave --privileged out"))
        }
        if refusals.contains(.root), let objection = objection(toUser: user, confinement.user) { found.append(objection) }
        if refusals.contains(.hostNamespaces) { found += hostNamespaces(confinement) }
        if refusals.contains(.unpinnedImages), ![.pinnedDigest, .verifiedSignature].contains(subject.provenance) {
            found.append(Objection(reason: "the policy refuses images without a digest", remedy: "name it as NAME@sha256:…"))
        }
        for mount in confinement.mounts where mount.isBind && mount.source.hasPrefix("/") {
            let source = HostPath.normal(mount.source)
            guard let path = paths.first(where: { Self.touches(source, $0) }) else { continue }
            found.append(Objection(reason: "the policy refuses mounts of \(path)", remedy: "leave -v \(mount.source) out"))
        }
        if let maximum, report.tenths > maximum {
            let worst = report.worst.map { $0.remedy.isEmpty ? $0.text : $0.remedy } ?? ""
            found.append(
                Objection(
                    reason: "its exposure is \(report.figure), and the policy allows \(maximum / 10).\(maximum % 10)", remedy: "costs most: \(worst)")
            )
        }
        return found
    }

    /// What every kernel that is supported knows: more is not asked for --privileged.
    private static let everyLinux54 = CapabilitySet(Capability.allCases.filter { $0.rawValue <= 37 })

    /// As Kubernetes' runAsNonRoot: a name is only known inside the image, and there it may be anybody.
    private func objection(toUser text: String, _ user: PayloadUser) -> Objection? {
        let name = text.prefix { $0 != ":" }
        if !name.isEmpty, UInt32(name) == nil, name != "root" {
            return Objection(reason: "image runs as \(name), a name that may be root", remedy: "add --user 1000")
        }
        let isRoot = name.isEmpty ? user.uid == 0 : name == "root" || UInt32(name) == 0
        return isRoot ? Objection(reason: "image runs as root", remedy: "add --user 1000") : nil
    }

    private func hostNamespaces(_ confinement: Confinement) -> [Objection] {
        var shared: [(String, Bool)] = [
            ("pid", confinement.namespaces.pid == .host), ("ipc", confinement.namespaces.ipc == .host), ("uts", confinement.namespaces.uts == .host),
            ("cgroupns", confinement.namespaces.cgroup == .host), ("network", confinement.network == .host),
        ]
        shared.append(("userns", confinement.userNamespace == .host))
        return shared.filter(\.1).map { name, _ in
            Objection(reason: "the policy refuses the host's namespaces", remedy: "leave --\(name) host out")
        }
    }

    /// Whether one of two paths holds the other; /var/run is /run.
    private static func touches(_ left: String, _ right: String) -> Bool {
        let (a, b) = (real(left), real(right))
        return a == b || a.hasPrefix(b == "/" ? "/" : b + "/") || b.hasPrefix(a == "/" ? "/" : a + "/")
    }

    private static func real(_ path: String) -> String { path == "/var/run" || path.hasPrefix("/var/run/") ? String(path.dropFirst(4)) : path }
}
