import Confinement
import ContainerRuntime
import Exposure
import Glibc
import ImageStore
import LinuxKernel
import OCISpec
import Probing

/// What `coffer probe` is to try, as it was named.
public enum ProbeSubject {
    /// `coffer run` with these flags; without an image on an empty root.
    case run(RunRequest, ResolvedImage?)
    case container(Engine.Container)
    /// What another engine or a file says; `root` is a bundle's root directory, or "".
    case foreign(Subject, root: String)

    public var name: String {
        switch self {
        case .run(let request, let image): image == nil ? "coffer run --level \(request.security.level)" : request.image
        case .container(let container): container.record.name
        case .foreign(let subject, _): subject.name
        }
    }
}

/// A target made ready: what its twins are.
struct ProbeTarget {
    var language: Language
    /// As the target has it; engine's own files and volumes are marked by their types.
    var confinement: Confinement
    var source: TwinSource
    /// Why limits mean nothing here, or nil.
    var shortfalls: [String] = []
}

extension ProbeTarget {
    /// - Parameter session: gives the range of IDs.
    init(_ subject: ProbeSubject, _ session: ProbeSession) throws(EngineError) {
        switch subject {
        case .run(let request, let image): self = try Self.ofRun(request, image, session)
        case .container(let container): self = try Self.ofContainer(container, session)
        case .foreign(let subject, let root): self = try Self.ofForeign(subject, root: root, session)
        }
    }

    private static func ofRun(_ request: RunRequest, _ found: ResolvedImage?, _ session: ProbeSession) throws(EngineError) -> ProbeTarget {
        let engine = session.engine
        let image =
            found
            ?? ResolvedImage(
                id: "", digest: "", reference: "", defaults: ExecutionDefaults(), layers: [], isPinned: true, isLocal: true)
        var request = request
        // The twin's program is another; an image may have none.
        request.command = [TwinBuilder.program]
        var details = try engine.details(request, image, id: session.record.id)
        for index in details.mounts.indices {
            if case .volume(nil) = details.mounts[index].source { details.mounts[index].source = .volume("canary") }
        }
        let assembly = ContainerAssembly(engine: engine, record: session.record, image: image, details: details)
        let (_, resolution) = try assembly.resolve(try NetworkFiles(details))
        var confinement = marked(resolution.confinement, engine.root)
        if !details.user.isEmpty { confinement.user.lookup = details.user }
        let source = TwinSource(
            lowerDirectories: image.layers, hasImageIDs: true, environment: details.environment, workingDirectory: details.workingDirectory,
            groupNames: request.security.addGroups.filter { UInt32($0) == nil })
        return ProbeTarget(language: .coffer, confinement: confinement, source: source)
    }

    private static func ofContainer(_ container: Engine.Container, _ session: ProbeSession) throws(EngineError) -> ProbeTarget {
        let engine = session.engine
        guard let spec = try BundleFiles.load(RuntimeSpec.self, container.directory.config),
            let notes = try BundleFiles.load(BundleExtension.self, container.directory.bundleExtension)
        else { throw EngineError("container \(container.record.name) is not complete yet", code: .failure) }
        var confinement: Confinement
        do {
            confinement = marked(try Confinement(spec: spec, extension: notes), engine.root)
        } catch {
            throw EngineError("container \(container.record.name): \(error)", code: .failure)
        }
        moveRange(&confinement, from: container.record.rangeStart, to: session.record.rangeStart)
        var source = TwinSource(
            hasImageIDs: true, environment: spec.process?.env ?? [], workingDirectory: spec.process?.cwd ?? "/", groupNames: notes.groupNames ?? [])
        if case .overlay(let overlay) = notes.root { source.lowerDirectories = overlay.lowerDirectories }
        return ProbeTarget(language: .coffer, confinement: confinement, source: source)
    }

    /// A container's own range becomes the session's: no twin has IDs of a live container.
    private static func moveRange(_ confinement: inout Confinement, from old: UInt32?, to new: UInt32?) {
        guard let old, let new, case .own(let uids, let gids, let shared) = confinement.userNamespace else { return }
        func moved(_ maps: [RuntimeSpec.IDMapping]) -> [RuntimeSpec.IDMapping] {
            maps.map { map in
                guard map.hostID >= old, map.hostID - old < IDRangePool.size else { return map }
                return .init(containerID: map.containerID, hostID: new + (map.hostID - old), size: map.size)
            }
        }
        let (newUsers, newGroups) = (moved(uids), moved(gids))
        for index in confinement.mounts.indices where confinement.mounts[index].uidMappings == uids {
            (confinement.mounts[index].uidMappings, confinement.mounts[index].gidMappings) = (newUsers, newGroups)
        }
        confinement.userNamespace = .own(uids: newUsers, gids: newGroups, sharesRange: shared)
    }

    private static func marked(_ confinement: Confinement, _ root: StateRoot) -> Confinement {
        var marked = confinement
        for index in marked.mounts.indices where marked.mounts[index].isBind && marked.mounts[index].source.hasPrefix(root.path + "/") {
            marked.mounts[index].type = marked.mounts[index].source.hasPrefix(root.volumes + "/") ? "volume" : "generated"
        }
        return marked
    }

    private static func ofForeign(_ subject: Subject, root: String, _ session: ProbeSession) throws(EngineError) -> ProbeTarget {
        var source = TwinSource()
        if !root.isEmpty { source.lowerDirectories = [root] }
        let made = ForeignConfinement(subject, isRootful: session.engine.root.isRootful, range: try session.range())
        var target = ProbeTarget(language: Language(subject.source), confinement: made.confinement, source: source, shortfalls: made.shortfalls)
        if root.isEmpty { target.shortfalls.append("its image is not Coffer's: the twin's root is empty") }
        try target.findDevices()
        return target
    }

    /// Other engines name devices by their paths alone.
    private mutating func findDevices() throws(EngineError) {
        let usual = Set(DeviceNode.defaults.map(\.path))
        var found: [DeviceNode] = []
        for node in confinement.devices {
            if usual.contains(node.path) || node.major != 0 || node.kind == .fifo {
                found.append(node)
            } else if let known = HostDevices.node(node.path) {
                found.append(known)
                // The reader had no numbers for a rule, without which the node cannot even be made.
                confinement.deviceRules.append(
                    .init(allows: true, kind: known.kind == .block ? .block : .character, major: known.major, minor: known.minor))
            } else {
                shortfalls.append("the device \(node.path) is not on this machine")
            }
        }
        // Whoever opens every device is given what there is.
        if confinement.deviceRules.last == DeviceRule(allows: true, kind: .all), case .foreign = confinement.origin {
            found += HostDevices.all().filter { node in !found.contains { $0.path == node.path } }
        }
        confinement.devices = found
    }
}

/// Device nodes of the host that a container may have been given.
enum HostDevices {
    private static let names = [
        "kmsg", "mem", "port", "kvm", "fuse", "net/tun", "sda", "sdb", "vda", "vdb", "nvme0n1", "xvda", "loop-control", "loop0", "vhost-net",
        "vhost-vsock",
        "vsock", "input/event0", "uinput", "tty0", "tty1", "ttyS0", "userfaultfd", "hpet", "rtc0", "snapshot", "hwrng", "cpu_dma_latency",
        "btrfs-control",
        "mapper/control", "uhid", "rfkill", "nvram", "watchdog", "dri/card0", "udmabuf",
    ]

    static func all() -> [DeviceNode] { names.compactMap { node("/dev/" + $0) } }

    static func node(_ path: String) -> DeviceNode? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        let kind: DeviceNode.Kind
        switch status.st_mode & S_IFMT {
        case S_IFCHR: kind = .character
        case S_IFBLK: kind = .block
        default: return nil
        }
        let device = status.st_rdev
        return DeviceNode(
            path: path, kind: kind, major: Int64((device >> 8) & 0xfff | (device >> 32) & 0xffff_f000),
            minor: Int64(device & 0xff | (device >> 12) & 0xffff_ff00), mode: UInt32(status.st_mode & 0o777))
    }
}
