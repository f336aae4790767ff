import Confinement
import Exposure
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import StrictJSON

/// `coffer exposure`: what a target is, by how it is named, and its reports. One value for a command, so that tables and filters are read once.
public struct ExposureTargets {
    private let environment: [String: String]
    /// Opens the engine; asked only when a target is one of its own.
    private let engine: () throws(EngineError) -> Engine
    private var scorer: ExposureScore
    private static let maximumBytes = 64 << 20

    public init(environment: [String: String], engine: @escaping () throws(EngineError) -> Engine) throws(EngineError) {
        self.environment = environment
        self.engine = engine
        scorer = try Self.told("the score") { () throws(ExposureError) in try ExposureScore() }
    }

    private static func told<Value>(_ target: String, _ body: () throws(ExposureError) -> Value) throws(EngineError) -> Value {
        do {
            return try body()
        } catch {
            throw EngineError("\(target) cannot be scored: \(error)", code: .failure)
        }
    }

    /// The reports of what one word of the command line means.
    ///
    /// - Throws: `EngineError` when it means nothing, or cannot be read.
    public mutating func reports(_ target: String) throws(EngineError) -> [ExposureReport] {
        if target.hasSuffix(".service") { return [try unit(target)] }
        let isHere = target.hasPrefix("docker:") || target.hasPrefix("podman:")
        var reports: [ExposureReport] = []
        for subject in try subjects(target) {
            var report = isHere || subject.source == .coffer ? beside(subject) : scorer.report(subject)
            if subject.source == .coffer { report.proof = try Self.proof(subject.name, try engine()) }
            reports.append(report)
        }
        return reports
    }

    /// What the last `coffer probe` of a container showed.
    private static func proof(_ name: String, _ engine: Engine) throws(EngineError) -> Proof? { try engine.proven(try engine.container(name)) }

    /// The report of a container that may run here, with what the kernel says of its first process. Who may not look at that has the report alone.
    private mutating func beside(_ subject: Subject) -> ExposureReport {
        var report = scorer.report(subject)
        guard subject.pid > 0 else { return report }
        do throws(EngineError) {
            let (live, view) = try ProcessSource.view(subject.pid, name: subject.name)
            let comparison = scorer.comparison(asked: subject, live: live, view: view)
            report.applied = .init(
                tenths: scorer.report(comparison.applied).tenths, differences: comparison.differences, unseen: comparison.unseen)
        } catch {
            return report
        }
        return report
    }

    /// The reports of every container of Coffer's own.
    public mutating func ownReports() throws(EngineError) -> [ExposureReport] {
        let engine = try engine()
        var reports: [ExposureReport] = []
        for container in try engine.containers() {
            guard let subject = try OwnContainers.subject(container, engine) else { continue }
            var report = scorer.report(subject)
            report.proof = try engine.proven(container)
            reports.append(report)
        }
        return reports
    }

    /// The score of one of Coffer's containers as `ps` shows it; "" while it has no bundle, "?" where that cannot be read: the list is shown all the same.
    public mutating func figure(of container: Engine.Container, _ engine: Engine) -> String {
        do {
            return try OwnContainers.subject(container, engine).map { scorer.report($0).figure } ?? ""
        } catch {
            return "?"
        }
    }

    /// What a policy has against each container that a word of the command line means.
    public mutating func objections(_ target: String, _ policy: ExposurePolicy) throws(EngineError) -> [(name: String, [ExposurePolicy.Objection])] {
        if target.hasSuffix(".service") { throw EngineError("\(target) is a unit, and policies are about containers", code: .failure) }
        var result: [(name: String, [ExposurePolicy.Objection])] = []
        for subject in try subjects(target) {
            if subject.source == .systemd { throw EngineError("\(subject.name) is a unit, and policies are about containers", code: .failure) }
            let user = subject.unknown[.user] == nil ? "\(subject.confinement.user.uid)" : ""
            result.append((subject.name, policy.objections(to: subject, scorer.report(subject), user: user)))
        }
        return result
    }

    private mutating func unit(_ target: String) throws(EngineError) -> ExposureReport {
        let settings = try UnitSource.load(target)
        return scorer.report(try Self.told(target) { () throws(ExposureError) in try settings.subject(target) })
    }

    /// The containers that a word of the command line means.
    func subjects(_ target: String) throws(EngineError) -> [Subject] {
        if target.hasPrefix("docker:") { return try docker(String(target.dropFirst(7))) }
        if target.hasPrefix("podman:") { return try podman(String(target.dropFirst(7))) }
        if target.hasPrefix("pid:") {
            guard let pid = Int32(target.dropFirst(4)), pid > 0 else { throw EngineError("\(target) names no process", remedy: "write pid:N") }
            return [try ProcessSource.subject(pid, name: target)]
        }
        if target == "-" { return try document(try read(FileDescriptor(owning: dup(0)), "standard input"), "-") }
        var status = stat()
        guard stat(target, &status) == 0 else { return [try own(target)] }
        if status.st_mode & S_IFMT == S_IFDIR { return [try bundle(target)] }
        do {
            return try document(try read(try FileDescriptor.open(target, O_RDONLY | O_NONBLOCK), target), target)
        } catch let error as KernelError {
            throw EngineError("\(target) cannot be read: \(error.reason)", code: .failure)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(target) cannot be read: \(error)", code: .failure)
        }
    }

    private func read(_ file: consuming FileDescriptor, _ name: String) throws(EngineError) -> [UInt8] {
        do {
            return try file.readAll(limit: Self.maximumBytes)
        } catch {
            let reason = error.errno == EFBIG ? "it is longer than 64 MiB" : error.reason
            throw EngineError("\(name) cannot be read: \(reason)", code: .failure)
        }
    }

    /// A file by what is in it.
    private func document(_ bytes: [UInt8], _ name: String) throws(EngineError) -> [Subject] {
        let file = String(name.split(separator: "/").last ?? "")
        if ["Dockerfile", "Containerfile"].contains(where: { file == $0 || file.hasPrefix($0 + ".") || file.hasSuffix("." + $0.lowercased()) }) {
            return [
                try Self.told(name) { () throws(ExposureError) in
                    var reader = try DockerfileReader()
                    return try reader.subject(bytes, name: name)
                }
            ]
        }
        if ShownUnits.accepts(bytes) {
            return try Self.told(name) { () throws(ExposureError) in try ShownUnits.subjects(bytes, name: name) }
        }
        let first = bytes.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }
        if first == UInt8(ascii: "[") || first == UInt8(ascii: "{") {
            let document: JSONValue
            do {
                document = try JSONParser().parse(bytes)
            } catch {
                throw EngineError("\(name): \(error)", code: .failure)
            }
            return try subjects(of: [document], bytes, name)
        }
        do {
            return try subjects(of: try YAMLDocuments.parse(bytes), bytes, name)
        } catch let failure as YAMLDocuments.Failure {
            throw EngineError("\(name) is no YAML that can be read: \(failure.reason)", code: .failure)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(name) cannot be read: \(error)", code: .failure)
        }
    }

    private func subjects(of documents: [JSONValue], _ bytes: [UInt8], _ name: String) throws(EngineError) -> [Subject] {
        if documents.count == 1, documents[0]["ociVersion"] != nil { return [try specification(bytes, name)] }
        let found = try Self.told(name) { () throws(ExposureError) -> [Subject] in
            var subjects: [Subject] = []
            for document in documents {
                if KubernetesReader.accepts(document) {
                    var reader = try KubernetesReader()
                    subjects += try reader.subjects(document)
                } else if ComposeReader.accepts(document) {
                    var reader = try ComposeReader { path throws(ExposureError) in try Self.profile(path, besides: name) }
                    subjects += try reader.subjects(document, file: name)
                } else if document.array != nil || document["HostConfig"] != nil {
                    var reader = try InspectReader()
                    subjects += try reader.subjects(document)
                }
            }
            return subjects
        }
        if found.isEmpty {
            throw EngineError(
                "\(name) holds no container",
                remedy: "it can be inspect output, a compose file, a Pod or workload, config.json, a Dockerfile or what systemctl show prints",
                code: .failure)
        }
        return found
    }

    private static let maximumProfile = 1 << 20

    /// A seccomp profile that a compose file names, from the compose file's own directory on.
    private static func profile(_ path: String, besides file: String) throws(ExposureError) -> [UInt8] {
        let directory = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        let place = path.hasPrefix("/") ? path : directory + path
        do {
            let opened = try FileDescriptor.open(place, O_RDONLY | O_NONBLOCK)
            var status = stat()
            let raw = opened.rawValue
            try retrying("fstat", place) { fstat(raw, &status) }
            guard status.st_mode & S_IFMT == S_IFREG else { throw ExposureError("the seccomp profile \(place) is no file") }
            return try opened.readAll(limit: maximumProfile)
        } catch let error as KernelError {
            throw ExposureError("the seccomp profile \(place) cannot be read: \(error.reason)")
        } catch let error as ExposureError {
            throw error
        } catch {
            throw ExposureError("the seccomp profile \(place) cannot be read: \(error)")
        }
    }

    private func specification(_ bytes: [UInt8], _ name: String) throws(EngineError) -> Subject {
        do {
            let spec = try StrictJSONDecoder().decode(RuntimeSpec.self, from: bytes)
            return try BundleReader().subject(spec, extension: nil, name: name, source: .oci, engineUser: .root)
        } catch {
            throw EngineError("\(name): \(error)", code: .failure)
        }
    }

    /// A directory with config.json, and coffer.json where it is ours.
    private func bundle(_ directory: String) throws(EngineError) -> Subject {
        guard let spec = try BundleFiles.load(RuntimeSpec.self, directory + "/config.json") else {
            throw EngineError("\(directory) is no bundle: it has no config.json", code: .failure)
        }
        let notes = try BundleFiles.load(BundleExtension.self, directory + "/" + BundleExtension.fileName)
        return try Self.told(directory) { () throws(ExposureError) in
            try BundleReader().subject(spec, extension: notes, name: directory, source: .oci, engineUser: .root)
        }
    }

    private func own(_ name: String) throws(EngineError) -> Subject {
        let engine = try engine()
        do throws(EngineError) {
            let container = try engine.container(name)
            if let subject = try OwnContainers.subject(container, engine) { return subject }
            throw EngineError("container \(name) is not complete yet", code: .failure)
        } catch {
            if error != .noSuchContainer(name) { throw error }
        }
        if let subject = try OwnContainers.image(name, engine) { return subject }
        throw EngineError(
            "\(name) is no file, and no container or image of coffer's", remedy: "targets are described by 'coffer exposure --help'", code: .failure)
    }

    private func docker(_ name: String) throws(EngineError) -> [Subject] {
        let socket = try DockerSocket(environment: environment)
        let info = try socket.get("/info")
        var facts = InspectReader.EngineFacts()
        let options = (info?["SecurityOptions"]?.array ?? []).compactMap(\.string)
        facts.isRootless = options.contains { $0.hasPrefix("name=rootless") }
        facts.remapsUsers = options.contains { $0.hasPrefix("name=userns") }
        facts.setsNoNewPrivileges = options.contains { $0.hasPrefix("name=no-new-privileges") }
        let seccomp = options.first { $0.hasPrefix("name=seccomp") }
        let profile = seccomp?.split(separator: ",").first { $0.hasPrefix("profile=") }
        facts.seccompProfile = seccomp == nil ? "" : profile.map { String($0.dropFirst(8)) } ?? "default"
        var names = [name]
        if name == "all" {
            names = (try socket.get("/containers/json?all=1")?.array ?? []).compactMap { $0["Id"]?.string }
        }
        var documents: [JSONValue] = []
        for name in names {
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"/?#%".utf8.contains($0) }) else {
                throw EngineError("“\(name)” is no name of a container")
            }
            guard let document = try socket.get("/containers/\(name)/json") else {
                throw EngineError("Docker has no container \(name)", code: .failure)
            }
            documents.append(document)
        }
        return try Self.told("docker:\(name)") { () throws(ExposureError) in
            var reader = try InspectReader()
            return try reader.subjects(.array(documents), engine: facts)
        }
    }

    private func podman(_ name: String) throws(EngineError) -> [Subject] {
        let program = try PodmanProgram(environment: environment)
        let names = name == "all" ? try program.names() : [name]
        if names.isEmpty { return [] }
        let document = try program.inspect(names)
        return try Self.told("podman:\(name)") { () throws(ExposureError) in
            var reader = try InspectReader()
            var facts = InspectReader.EngineFacts()
            // Whose podman it is decides, wherever its storage lies.
            facts.isRootless = geteuid() != 0
            return try reader.subjects(document, engine: facts)
        }
    }
}
