import LaunchPlan
import LinuxKernel
import OCISpec

extension LaunchPlanner {
    /// Root, mounts, devices, masks, pivot: in this order.
    static func fileSystemSteps(
        _ spec: RuntimeSpec, _ linux: RuntimeSpec.Linux, _ ext: BundleExtension?, _ facts: LaunchFacts, _ namespaces: NamespacePlan
    ) throws -> [LaunchStep] {
        let sharesMounts = !namespaces.new.contains("mnt") && !namespaces.joins("mnt")
        if sharesMounts { try checkSharing(ext, facts, namespaces) }
        var steps: [LaunchStep] = [.root(try root(spec, ext, facts))]
        let surroundings = MountSurroundings(
            linux: linux, bundle: facts.bundle, root: ext == nil ? try ownRoot(spec, facts) : nil,
            keepsFlags: ext != nil, flagsAreLocked: !facts.isPrivileged || namespaces.makesUserNamespace || namespaces.joins("user"),
            ownsNoNetwork: namespaces.makesUserNamespace && !namespaces.new.contains("net") && !namespaces.joins("net"),
            kernelKeepsLocked: !facts.isPrivileged)
        for mount in spec.mounts ?? [] {
            var step = try mountStep(mount, surroundings)
            if case .bind = step.source, ext?.filledVolumes?.contains(step.destination) ?? false { step.copyUp = true }
            steps.append(.mount(step))
        }
        // A /dev that is the host's, or the image's own, is nobody's to fill.
        let fillsDev = steps.contains {
            guard case .mount(let mount) = $0, mount.destination == "/dev", case .fileSystem = mount.source else { return false }
            return true
        }
        if fillsDev { steps += try devices(linux) }
        if spec.process?.terminal ?? false { steps.append(.console) }
        steps += (linux.readonlyPaths ?? []).map { .readOnlyPath($0) }
        steps += (linux.maskedPaths ?? []).map { .mask(path: $0) }
        for path in (linux.maskedPaths ?? []) + (linux.readonlyPaths ?? []) where !path.hasPrefix("/") {
            throw PlanError("masked or read-only path \(path) is not absolute")
        }
        let hooks = spec.hooks
        if !(hooks?.prestart ?? []).isEmpty || !(hooks?.createRuntime ?? []).isEmpty { steps.append(.runtimeHooks) }
        if let hooks = hooks?.createContainer, !hooks.isEmpty { steps.append(.containerHooks(hooks)) }
        var pivot = PivotStep(readOnly: spec.root?.readonly ?? false, moves: facts.movesRoot, sharesMounts: sharesMounts)
        if let name = linux.rootfsPropagation, !name.isEmpty {
            let options = MountOptions([name])
            guard let propagation = options.propagation else {
                throw PlanError("linux.rootfsPropagation is \"\(name)\": expected shared, slave, private or unbindable")
            }
            pivot.propagation = propagation.rawValue
            pivot.recursivePropagation = options.recursivePropagation
        }
        steps.append(.pivot(pivot))
        return steps
    }

    /// The specification lets a container do without a mount namespace. It is then root of the host behind a chroot, and only who is that already
    /// may ask for it; Coffer's own bundles never do.
    private static func checkSharing(_ ext: BundleExtension?, _ facts: LaunchFacts, _ namespaces: NamespacePlan) throws {
        if ext == nil, facts.isPrivileged, !namespaces.makesUserNamespace, !namespaces.joins("user") { return }
        throw PlanError(
            "a mount namespace is required: add {\"type\": \"mount\"} to linux.namespaces (only the host's root can do without one, and only without "
                + "a user namespace)")
    }

    private static func root(_ spec: RuntimeSpec, _ ext: BundleExtension?, _ facts: LaunchFacts) throws -> RootStep {
        if case .overlay(let overlay)? = ext?.root {
            if overlay.lowerDirectories.isEmpty { throw PlanError("the image has no layers") }
            return .overlay(overlay)
        }
        return .directory(try ownRoot(spec, facts))
    }

    /// The directory of the host that is the root, absolute.
    private static func ownRoot(_ spec: RuntimeSpec, _ facts: LaunchFacts) throws -> String {
        guard let path = spec.root?.path, !path.isEmpty else { throw PlanError("config.json has no root.path") }
        return path.hasPrefix("/") ? path : facts.bundle + "/" + path
    }

    /// Maps that a mount brings, or the container's own.
    static func idMapping(of mount: RuntimeSpec.Mount, _ options: MountOptions, _ linux: RuntimeSpec.Linux) throws -> MountIDMapping? {
        let (users, groups) = (mount.uidMappings ?? [], mount.gidMappings ?? [])
        if users.isEmpty && groups.isEmpty {
            guard let kind = options.idMap else { return nil }
            // A user namespace that is joined has maps already, which are then the container's.
            let joins = (linux.namespaces ?? []).contains { $0.type == .user && $0.path?.isEmpty == false }
            guard linux.uidMappings != nil || joins else {
                throw PlanError("the mount on \(mount.destination) is to be ID-mapped, which needs a user namespace or uidMappings of its own")
            }
            return MountIDMapping(map: .container, recursive: kind == .recursive)
        }
        guard !users.isEmpty, !groups.isEmpty else {
            throw PlanError("the mount on \(mount.destination) has only one of uidMappings and gidMappings")
        }
        if mount.uidMappings == linux.uidMappings, mount.gidMappings == linux.gidMappings {
            return MountIDMapping(map: .container, recursive: options.idMap == .recursive)
        }
        return MountIDMapping(map: .ranges(uid: users, gid: groups), recursive: options.idMap == .recursive)
    }

    /// The devices that every container has (runtime-spec, "Default Devices"); numbers from Documentation/admin-guide/devices.txt.
    static let defaultDevices: [(path: String, major: UInt32, minor: UInt32)] = [
        ("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ]

    private static func devices(_ linux: RuntimeSpec.Linux) throws -> [LaunchStep] {
        var steps: [DeviceStep] = []
        for device in linux.devices ?? [] {
            guard device.path.hasPrefix("/") else { throw PlanError("device path \(device.path) is not absolute") }
            guard ["c", "b", "u", "p"].contains(device.type) else {
                throw PlanError("device \(device.path) has the unknown type \(device.type)")
            }
            guard let major = UInt32(exactly: device.major ?? 0), let minor = UInt32(exactly: device.minor ?? 0) else {
                throw PlanError("device \(device.path) has numbers out of range")
            }
            steps.append(
                DeviceStep(
                    path: device.path, type: device.type == "u" ? "c" : device.type, major: major, minor: minor,
                    mode: device.fileMode ?? 0o666, uid: device.uid ?? 0, gid: device.gid ?? 0, hostPath: device.path))
        }
        for device in defaultDevices where !steps.contains(where: { $0.path == device.path }) {
            steps.append(
                DeviceStep(
                    path: device.path, type: "c", major: device.major, minor: device.minor, mode: 0o666, uid: 0, gid: 0,
                    hostPath: device.path))
        }
        return steps.map { .device($0) }
    }
}
