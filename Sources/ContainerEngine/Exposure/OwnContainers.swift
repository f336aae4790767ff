import Confinement
import Exposure
import ImageStore
import LaunchPlan
import OCISpec
import StrictJSON
import TextSearch

/// Coffer's own containers and images as subjects of the score.
enum OwnContainers {
    /// A container by the bundle that it was made with; nil while it has none.
    static func subject(_ container: Engine.Container, _ engine: Engine) throws(EngineError) -> Subject? {
        guard let spec = try BundleFiles.load(RuntimeSpec.self, container.directory.config) else { return nil }
        let notes = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension)
        do {
            var subject = try BundleReader().subject(
                spec, extension: notes, name: container.record.name, source: .coffer, engineUser: engine.root.isRootful ? .root : .ordinary,
                provenance: provenance(container.record.image), ownDirectory: engine.root.path)
            if case .running(let state, _) = container.status { subject.pid = state.pid }
            return subject
        } catch {
            throw EngineError("container \(container.record.name) cannot be scored: \(error)", code: .failure)
        }
    }

    /// What the policy lets start; the same question as when it was made, as the policy may be newer.
    static func checkPolicy(_ container: Engine.Container, _ engine: Engine) throws(EngineError) {
        let files = try PolicyFiles(environment: engine.environment)
        if files.policy.isEmpty { return }
        guard let subject = try subject(container, engine) else { return }
        let details = try ContainerDetails(decoding: container.record.details, of: container.record.name)
        try files.check(subject, user: details.user)
    }

    /// One line for the user when flags raise the figure above the level's own.
    static func note(_ subject: Subject, level: LevelName, host: HostFacts, image: ImageDefaults) throws(EngineError) -> String? {
        do {
            var request = ConfinementRequest()
            request.level = level
            request.user = subject.confinement.user
            var scorer = try ExposureScore()
            var plain = subject
            plain.confinement = try ConfinementResolver.resolve(request, image: image, host: host).confinement
            let (own, levels) = (scorer.report(subject), scorer.report(plain))
            if own.tenths <= levels.tenths { return nil }
            return "exposure \(own.figure), where level \(level.rawValue) has \(levels.figure); 'coffer exposure \(subject.name)' says why"
        } catch {
            throw EngineError("the exposure cannot be worked out: \(error)")
        }
    }

    /// As the container was asked for: by digest, as an image made here, or by a tag.
    static func provenance(_ image: String) -> Subject.Provenance {
        image.contains("@sha256:") ? .pinnedDigest : image.hasPrefix("localhost/") ? .local : .tag
    }

    /// What `coffer run IMAGE` would be; nil when there is no such image.
    static func image(_ name: String, _ engine: Engine) throws(EngineError) -> Subject? {
        do {
            let stored: StoredImage
            do {
                stored = try ImageStore(root: engine.root.images).resolve(name)
            } catch ImageStoreError.noSuchImage {
                return nil
            }
            let text = stored.configuration.config?.user ?? ""
            let first = text.prefix { $0 != ":" }
            let user = PayloadUser(uid: first.isEmpty || first == "root" ? 0 : UInt32(first) ?? 65534, gid: 0)
            let range = IDRange(start: 524_288, size: 65536, isShared: !engine.root.isRootful)
            let resolution = try ConfinementResolver.resolve(
                ConfinementRequest(), image: ImageDefaults(user: user, provenance: name.contains("@sha256:") ? .pinnedDigest : .tag),
                host: try HostFacts.current(isRootful: engine.root.isRootful, range: range))
            return Subject(
                name: name, source: .image, confinement: resolution.confinement, engineUser: engine.root.isRootful ? .root : .ordinary,
                provenance: provenance(name))
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("image \(name) cannot be scored: \(error)", code: .failure)
        }
    }
}
