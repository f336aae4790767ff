import LaunchPlan
import LinuxKernel
import OCISpec

/// What a mount of a configuration means depends on these.
struct MountSurroundings {
    let linux: RuntimeSpec.Linux
    /// Absolute path; relative sources are below it.
    let bundle: String
    /// The root as the host names it, absolute; nil for an image's layers, which have no such name.
    let root: String?
    /// Coffer's own bundles: a bind keeps what its source forbids unless the option says otherwise, and closes submounts too.
    let keepsFlags: Bool
    /// In a user namespace a flag of the source stays, as the kernel has it for mounts that come from a more privileged one (mount_namespaces(7)).
    let flagsAreLocked: Bool
    /// A user namespace that owns no network namespace: a sysfs shows the network of one, and the kernel refuses to mount it for anybody but its owner.
    let ownsNoNetwork: Bool
    /// The kernel itself keeps what is locked: the runtime has no rights on the host either.
    let kernelKeepsLocked: Bool

    /// The path below the root, where the host's path leads there by its name; nil where it does not. The root itself is not below it.
    func insideRoot(_ path: String) -> String? {
        guard let root, !path.utf8.contains(0) else { return nil }
        let components = path.split(separator: "/").filter { $0 != "." }
        let above = root.split(separator: "/").filter { $0 != "." }
        guard components.count > above.count, components.starts(with: above), !components.contains("..") else { return nil }
        return "/" + components.dropFirst(above.count).joined(separator: "/")
    }
}

extension LaunchPlanner {
    static func mountStep(_ mount: RuntimeSpec.Mount, _ around: MountSurroundings) throws -> MountStep {
        guard !mount.destination.utf8.contains(0), !mount.destination.isEmpty else {
            throw PlanError("a mount has an empty or invalid destination")
        }
        // Relative destinations were allowed by runtime-spec 1.0 and are below the root; one that begins with the root is in it (as runc has it).
        let absolute = mount.destination.hasPrefix("/") ? mount.destination : "/" + mount.destination
        let destination = around.insideRoot(absolute) ?? absolute
        let options = MountOptions(mount.options ?? [])
        let type = mount.type ?? ""
        let isBind = options.bind || type == "bind" || type == "rbind"
        let clear = isBind ? cleared(options, around) : options.clear
        return MountStep(
            destination: destination, source: try source(mount, destination, options, around), setAttributes: options.set.rawValue,
            clearAttributes: clear.rawValue, unallowable: isBind ? unallowable(options, around).rawValue : 0,
            recursiveSet: (around.keepsFlags ? options.recursiveSet.union(options.set) : options.recursiveSet).rawValue,
            recursiveClear: options.recursiveClear.rawValue, propagation: options.propagation?.rawValue,
            recursivePropagation: options.propagation == nil || options.recursivePropagation, optional: false,
            // Only a volume of ours is filled, never a directory of the host.
            copyUp: options.copyUp && !isBind, idMapping: try idMapping(of: mount, options, around.linux), links: options.links)
    }

    private static func source(
        _ mount: RuntimeSpec.Mount, _ destination: String, _ options: MountOptions, _ around: MountSurroundings
    ) throws -> MountSource {
        let type = mount.type ?? ""
        if options.bind || type == "bind" || type == "rbind" {
            guard let given = mount.source, !given.isEmpty else { throw PlanError("the bind mount on \(destination) has no source") }
            let path = given.hasPrefix("/") ? given : around.bundle + "/" + given
            let recursive = options.recursiveBind || type == "rbind"
            if options.links.isEmpty, let own = around.insideRoot(path) { return .inside(path: own, recursive: recursive) }
            return .bind(path: path, recursive: recursive)
        }
        guard options.links.isEmpty else { throw PlanError("the mount on \(destination) is no bind mount: it has no link to follow or to copy") }
        if type == "cgroup" || type == "cgroup2" { return .controlGroups }
        guard !type.isEmpty, type != "none" else { throw PlanError("the mount on \(destination) has no type") }
        // The host's then, alone and without what is mounted below it: the same files, for the same users (crun does so too).
        if type == "sysfs", around.ownsNoNetwork, !around.kernelKeepsLocked { return .bind(path: "/sys", recursive: false) }
        // What mountinfo shows as the source; nothing else depends on it.
        let shown = MountOption(key: "source", value: mount.source.flatMap { $0.isEmpty ? nil : $0 } ?? type)
        return .fileSystem(type: type, options: [shown] + options.parameters)
    }

    /// What a bind mount does not keep of its source's flags: with any flag given it has those that are given and no others, but for the times of
    /// access, which stay until one of their own flags says otherwise (mount(8), "remount,bind", as runc has it).
    private static func cleared(_ options: MountOptions, _ around: MountSurroundings) -> MountAttributes {
        if around.keepsFlags { return options.clear }
        let times: MountAttributes = [.noAccessTime, .strictAccessTime, .noDirectoryAccessTime]
        let lockable: MountAttributes = [.readOnly, .noSetuid, .noDevices, .noExecute]
        var clear: MountAttributes = []
        if options.givesFlags { clear = lockable.union(.noSymlinkFollow) }
        // A flag that is asked for by name may be tried where the kernel itself says no; of the host's own mounts this runtime could take any.
        if around.flagsAreLocked {
            clear.subtract(lockable)
            if around.kernelKeepsLocked { clear.formUnion(options.clear.intersection(lockable)) }
        }
        if options.givesAccessTime { clear.formUnion(times) }
        return clear.subtracting(options.set)
    }

    /// "suid", "dev" and "exec" by name, which nobody writes without meaning it: not silently other flags than these. Engines write "rw" unasked
    /// (podman does), so that this one is no demand.
    private static func unallowable(_ options: MountOptions, _ around: MountSurroundings) -> MountAttributes {
        if around.keepsFlags || !around.flagsAreLocked || around.kernelKeepsLocked { return [] }
        return options.clear.intersection([.noSetuid, .noDevices, .noExecute])
    }
}
