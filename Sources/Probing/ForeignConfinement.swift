import Confinement
import Exposure
import OCISpec

/// What another engine's container is when we run it: the same walls, with IDs that are ours to give.
public struct ForeignConfinement: Sendable {
    public private(set) var confinement: Confinement
    /// What is not as that engine would have it: one sentence each.
    public private(set) var shortfalls: [String] = []

    /// - Parameter range: IDs that are set aside, as the runtime sees them.
    public init(_ subject: Subject, isRootful: Bool, range: IDRange) {
        confinement = subject.confinement
        takeUsers(subject, isRootful, range)
        takeMounts()
        for (aspect, why) in subject.unknown.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            shortfalls.append("\(aspect.rawValue) is unknown (\(why))")
        }
        if confinement.isolation != .sharedKernel {
            shortfalls.append("its runtime puts a kernel of its own before the host's; the twin has the host's")
        }
        if confinement.user.lookup.isEmpty, confinement.user.uid == 65534 { confinement.user.gid = 65534 }
        // No profile of another engine is loaded by us.
        if case .profile(let name) = confinement.appArmor, name != "unconfined" {
            confinement.appArmor = .inherited
            shortfalls.append("the AppArmor profile \(name) was not applied to the twin")
        }
        if confinement.seLinux != .inherited {
            confinement.seLinux = .inherited
            shortfalls.append("the SELinux label was not applied to the twin")
        }
    }

    private mutating func takeUsers(_ subject: Subject, _ isRootful: Bool, _ range: IDRange) {
        let whole = RuntimeSpec.IDMapping(containerID: 0, hostID: range.start, size: range.size)
        // Root of the container is whoever runs the engine, as rootless engines have it.
        let keeping = [
            RuntimeSpec.IDMapping(containerID: 0, hostID: 0, size: 1),
            RuntimeSpec.IDMapping(containerID: 1, hostID: 1, size: range.size > 1 ? range.size - 1 : 1),
        ]
        switch confinement.userNamespace {
        case .host where isRootful && subject.engineUser == .root: break
        case .host, .at:
            if isRootful, subject.engineUser == .root {
                confinement.userNamespace = .own(uids: [whole], gids: [whole], sharesRange: false)
                shortfalls.append("the user namespace is another container's, which a twin does not enter: it has one of its own")
            } else if isRootful {
                confinement.userNamespace = .own(uids: [whole], gids: [whole], sharesRange: false)
                shortfalls.append("its root is an ordinary user; in the twin a range of IDs stands in for that user")
            } else {
                confinement.userNamespace = .own(uids: keeping, gids: keeping, sharesRange: true)
                shortfalls.append("its root is the host's, which an ordinary user cannot try: in the twin it is you, in a user namespace")
            }
        case .own(let uids, _, let shares):
            if isRootful {
                // A bundle's maps are the host's own IDs, and are kept unless they give root away to the twin by a guess.
                if subject.source == .oci { return }
                confinement.userNamespace = .own(uids: [whole], gids: [whole], sharesRange: shares)
                if subject.engineUser == .ordinary {
                    shortfalls.append("its root is an ordinary user; in the twin a range of IDs stands in for that user")
                }
            } else {
                let keepsUser = subject.source == .oci || uids.contains { $0.hostID == 0 }
                let maps = keepsUser ? keeping : [whole]
                confinement.userNamespace = .own(uids: maps, gids: maps, sharesRange: true)
            }
        }
    }

    /// What every engine mounts and no inspection lists.
    private mutating func takeMounts() {
        func has(_ destination: String) -> Bool { confinement.mounts.contains { $0.destination == destination } }
        for index in confinement.mounts.indices where confinement.mounts[index].destination == "/dev" && confinement.mounts[index].type == "tmpfs" {
            if !confinement.mounts[index].options.contains(where: { $0.hasPrefix("mode=") }) { confinement.mounts[index].options.append("mode=755") }
        }
        guard has("/dev") else { return }
        if !has("/dev/pts") {
            confinement.mounts.append(
                Mount(
                    destination: "/dev/pts", type: "devpts", source: "devpts",
                    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]))
        }
        if !has("/dev/mqueue"), confinement.namespaces.ipc == .own {
            confinement.mounts.append(Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]))
        }
        // As `run` does: procfs and sysfs of a shared namespace can only be bound.
        for index in confinement.mounts.indices {
            let mount = confinement.mounts[index]
            let shares = mount.type == "proc" && confinement.namespaces.pid == .host || mount.type == "sysfs" && confinement.network == .host
            if shares {
                let flags = mount.options.filter { ["nosuid", "noexec", "nodev", "ro"].contains($0) }
                confinement.mounts[index] = Mount(
                    destination: mount.destination, type: "bind", source: mount.destination, options: ["rbind", "rslave"] + flags)
            }
        }
    }
}
