import Confinement
import ContainerRuntime
import Glibc
import ImageStore
import LaunchPlan
import LinuxKernel

/// The place of one `coffer probe`: a row that is written before anything else exists, and a directory below which every twin has its own.
///
/// The prober holds the lock of that directory for its life. Who finds the lock free removes what is left (`Engine.settleProbe`).
final class ProbeSession {
    let engine: Engine
    let record: ContainerRecord
    let path: String
    private let lock: ContainerLock
    private var twins = 0

    /// - Parameter layers: what no removal of an image may take away meanwhile; they are recorded by the first twin's bundle.
    init(_ engine: Engine, image: String, imageID: String, ranges: IDRangePool?) throws(EngineError) {
        self.engine = engine
        let id = Engine.newID()
        var details = ContainerDetails(request: RunRequest(image: image))
        details.hostname = "twin"
        record = try engine.database.insert(
            ContainerRecord(
                id: id, name: "probe-\(id.prefix(12))", image: image, imageID: imageID, created: nanosecondsNow(), phase: .probing, autoRemove: true,
                rangeStart: nil, details: try details.encoded()), ranges: ranges)
        path = engine.root.container(id).path
        do {
            try retrying("mkdir", path) { [path] in mkdir(path, 0o700) }
            guard let lock = try ContainerLock.take(engine.root.container(id).lock, create: true) else {
                throw EngineError("\(path) is locked by another command")
            }
            self.lock = lock
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("the probe's directory cannot be made: \(error)")
        }
    }

    /// A directory for one more twin.
    func newTwin() throws(EngineError) -> ContainerDirectory {
        twins += 1
        let directory = ContainerDirectory(path: "\(path)/\(twins)")
        do {
            try retrying("mkdir", directory.path) { mkdir(directory.path, 0o700) }
            try retrying("mkdir", directory.stage) { mkdir(directory.stage, 0o700) }
        } catch {
            throw EngineError("a twin's directory cannot be made: \(error)", remedy: Engine.remedy(error))
        }
        return directory
    }

    /// The group of a twin, below the hierarchies' roots.
    static func groupPath(of directory: ContainerDirectory, _ session: String) -> String {
        "/coffer/probe-\(session.prefix(24))-\(directory.path.split(separator: "/").last ?? "0")"
    }

    /// Removes everything of the session, what still runs first.
    func close() throws(EngineError) {
        try engine.endTwins(of: record)
        try engine.erase(record)
    }
}

extension Engine {
    /// Takes away what a prober that was killed has left; nothing while it is at work.
    func settleProbe(_ record: ContainerRecord) throws(EngineError) {
        do {
            guard let lock = try ContainerLock.take(root.container(record.id).lock) else { return }
            try endTwins(of: record)
            try erase(record)
            _ = consume lock
        } catch let error as KernelError {
            guard error.errno == ENOENT else { throw EngineError("\(root.container(record.id).lock) cannot be locked: \(error)") }
            // A row so new that its directory is still to come.
            let age = nanosecondsNow() - record.created
            if age < 0 || age > 1_000_000_000 { try erase(record) }
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(root.container(record.id).path): \(error)")
        }
    }

    /// Ends every twin of a session: its monitor, its processes, its groups.
    func endTwins(of record: ContainerRecord) throws(EngineError) {
        let session = root.container(record.id).path
        for name in try Self.names(of: session) where name.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
            let directory = ContainerDirectory(path: "\(session)/\(name)")
            let state: RuntimeState?
            do {
                // A twin that ended by itself has put everything away.
                if try !ContainerLock.isHeld(directory.lock), try RuntimeState.load(directory.state)?.status == .exited { continue }
                state = try RuntimeState.load(directory.state)
            } catch {
                throw EngineError("the twin \(directory.path) cannot be looked at: \(error)")
            }
            try killMonitors(ofBundle: directory.path)
            try killLeftovers(state, groups: try existingGroups(ProbeSession.groupPath(of: directory, record.id)))
        }
    }

    private static func names(of directory: String) throws(EngineError) -> [String] {
        do {
            return try DirectoryListing.names(of: directory)
        } catch {
            if error.errno == ENOENT { return [] }
            throw EngineError("\(directory) cannot be read: \(error.reason)")
        }
    }
}

extension ProbeSession {
    /// The IDs that are set aside for the twins, as the runtime sees them.
    func range() throws(EngineError) -> IDRange { try engine.idRange(of: record) }
}
