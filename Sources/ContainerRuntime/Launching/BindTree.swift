import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// The detached tree of a bind mount, made of an open source by the runtime's own process.
struct BindTree {
    let mount: MountStep

    /// With its options, and shifted where it brings maps of its own. Those of the container are written later.
    func clone(_ source: borrowing FileDescriptor) throws -> FileDescriptor {
        guard case .bind(_, let recursive) = mount.source else { throw LaunchFailure(.mount, "\(mount.destination) is no bind mount") }
        let tree = try performing(.mount, "the bind source for \(mount.destination)") { try Self.copy(source, recursive: recursive) }
        try refuse(tree)
        try performing(.mount, "mount options of \(mount.destination)") { try BindOptions.set(on: tree, mount) }
        if case .ranges(let users, let groups)? = mount.idMapping?.map {
            let isRecursive = mount.idMapping?.recursive ?? false
            try performing(.mount, "ID-mapping the mount on \(mount.destination)") {
                try Mounts.mapIDs(of: tree, by: try Self.namespace(users, groups), recursive: isRecursive)
            }
        }
        return tree
    }

    /// The runtime itself could take a flag away that the source has; a container with a user namespace has no right to that.
    private func refuse(_ tree: borrowing FileDescriptor) throws {
        let wanted = MountAttributes(rawValue: mount.unallowable)
        if wanted.isEmpty { return }
        let found = try performing(.mount, "flags of the source for \(mount.destination)") { try Mounts.attributes(of: tree) }.intersection(wanted)
        let names = [(MountAttributes.noSetuid, "suid"), (.noDevices, "dev"), (.noExecute, "exec")].filter { found.contains($0.0) }.map(\.1)
        if names.isEmpty { return }
        throw LaunchFailure(
            .mount,
            "unable to start container process: error during container init: error mounting on \(mount.destination) with \(names.joined(separator: ",")): "
                + "the source forbids that, which a container with a user namespace cannot change: operation not permitted",
            errno: EPERM, subject: mount.destination)
    }

    /// A user namespace of these maps that nobody lives in.
    static func namespace(_ users: [RuntimeSpec.IDMapping], _ groups: [RuntimeSpec.IDMapping]) throws -> FileDescriptor {
        func lines(_ ranges: [RuntimeSpec.IDMapping]) -> [IDMapping] {
            ranges.map { IDMapping(inside: $0.containerID, outside: $0.hostID, count: $0.size) }
        }
        return try IDMaps(users: lines(users), groups: lines(groups)).makeNamespace()
    }

    private static func copy(_ source: borrowing FileDescriptor, recursive: Bool) throws(KernelError) -> FileDescriptor {
        // Where the source has locked mounts below it, a private copy can only be made whole (mount_namespaces(7)).
        if recursive { return try Mounts.cloneTree(source, recursive: true) }
        do {
            return try Mounts.cloneTree(source, recursive: false)
        } catch {
            if error.errno != EINVAL { throw error }
        }
        return try Mounts.cloneTree(source, recursive: true)
    }
}
