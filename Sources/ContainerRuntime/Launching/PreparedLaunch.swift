import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// What the parent has opened before the container's first process exists: that process inherits the descriptors and never
/// resolves a host path of the user's choosing itself (rule R6). All are close-on-exec.
public struct PreparedLaunch: Sendable {
    /// The three standard streams of the payload, or nil to inherit the parent's.
    public var standardStreams: [Int32]?
    /// Detached trees by step index: binds, devices, the root directory.
    var trees: [Int: Int32] = [:]
    /// What binds are made of when their turn comes, by step index: the parent's own descriptors (`LaunchPlan.clonesInOrder`).
    var bindSources: [Int: Int32] = [:]
    /// Trees that are shifted into the container's ID range once its maps are written: the parent's own descriptors of them.
    var shiftedTrees: [(destination: String, tree: Int32, recursive: Bool)] = []
    /// Steps that could not be prepared but may be missing.
    var missing: [Int: String] = [:]
    /// Whether a bind source is a directory, by step index.
    var treeIsDirectory: [Int: Bool] = [:]
    /// Links that are to be made instead of mounts, by step index.
    var copiedLinks: [Int: String] = [:]
    /// A detached mount of the host's /dev/null, verified to be that device; what files are masked with (CVE-2025-31133).
    var nullDevice: Int32 = -1
    /// `tasks` files of the container's v1 groups, or `cgroup.procs` of its v2 group, which the first process writes itself into.
    var taskFiles: [Int32] = []
    /// What is to be mounted inside of the groups: controller, or "" for the v2 hierarchy, and detached tree.
    var groupTrees: [(controller: String, tree: Int32)] = []
    /// The scope that systemd is to make once there is a process, or nil.
    var scope: PendingScope?
    /// The container mounts the v2 hierarchy itself.
    var mountsUnified = false
    /// Paths of the container's groups.
    public var groupPaths: [String] = []
    /// The group's own report: what could not be limited.
    var groupShortfalls: [(limit: String, reason: String)] = []
    /// Why the container has no groups, or nil.
    var groupsUnavailable: String?
    var filter: SeccompFilter?
    var filterFlags: UInt32 = 0
    /// Calls that libseccomp does not know.
    var unknownCalls: [String] = []
    /// Namespace files to join, by kind.
    var joined: [(kind: NamespaceKind, file: Int32)] = []

    /// Where `start` connects, or -1.
    var startListener: Int32 = -1
    /// Descriptors of the caller from 3 on that the payload gets.
    var preservedDescriptors: [Int32] = []
    /// How many of them are sockets of socket activation (sd_listen_fds(3)).
    var socketActivation: Int32 = 0
    /// Processors (as bits) for a process on its way into its groups, and from then on; nil for all that the groups allow.
    var initialProcessors: [UInt64]?
    var finalProcessors: [UInt64]?
    /// The caller's supplementary groups are the payload's (annotation `run.oci.keep_original_groups`).
    var keepsGroups = false
    /// The terminal puts no carriage return before a newline.
    var plainNewlines = false
    /// What hooks get on stdin.
    var hookState: RuntimeContainerState?
    /// A process that is born into the pid namespace alone of a container: the container's first process (a pidfd), and the other namespaces to join.
    var entered: (target: Int32, kinds: [NamespaceKind])?
    /// The root of a container without a mount namespace, which a process that enters it has to change to; or -1.
    var sharedRoot: Int32 = -1
    /// A process that enters a container whose user namespace is not the caller's.
    var becomesRoot = false

    /// Addresses of the host for the egress rules, read in the host's network namespace.
    var hostAddresses: HostAddresses?

    /// Every descriptor that only the child needs.
    private var descriptors: [Int32] {
        Array(trees.values) + [nullDevice] + taskFiles + groupTrees.map(\.tree) + joined.map(\.file) + [sharedRoot] + (standardStreams ?? [])
    }

    /// Shifts what was asked to be shifted by the maps of a process's user namespace (Linux 5.12; the file system must allow it).
    mutating func shiftTrees(userNamespaceOf pid: Int32) throws {
        if shiftedTrees.isEmpty { return }
        defer { closeShifted() }
        let namespace = try performing(.mount, "the container's user namespace") {
            try FileDescriptor.open("/proc/\(pid)/ns/user", O_RDONLY)
        }
        for (destination, raw, recursive) in shiftedTrees {
            try performing(.mount, "ID-mapping the mount on \(destination)") {
                let tree = FileDescriptor(owning: try retrying("fcntl") { cl_fcntl(raw, F_DUPFD_CLOEXEC, 3) })
                try Mounts.mapIDs(of: tree, by: namespace, recursive: recursive)
            }
        }
    }

    private mutating func closeShifted() {
        for (_, tree, _) in shiftedTrees { close(tree) }
        shiftedTrees = []
    }

    /// The trees of these steps, in their order, that the container's first process has asked for.
    mutating func sendBinds(_ range: Range<Int>, of plan: LaunchPlan, to channel: borrowing FileDescriptor) throws {
        for index in range {
            guard case .mount(let mount) = plan.steps[index], let raw = bindSources.removeValue(forKey: index) else { continue }
            let tree = try BindTree(mount: mount).clone(FileDescriptor(owning: raw))
            try channel.sendMessage([LaunchCommand.proceed.rawValue], with: tree)
        }
    }

    mutating func closeBindSources() {
        for descriptor in bindSources.values { close(descriptor) }
        bindSources = [:]
    }

    /// Closes the parent's copies once the child has its own.
    mutating func closeDescriptors() {
        for descriptor in Set(descriptors) where descriptor > 2 { close(descriptor) }
        trees = [:]
        nullDevice = -1
        taskFiles = []
        groupTrees = []
        joined = []
        sharedRoot = -1
        standardStreams = nil
    }
}

/// Opens what a plan needs. Nothing is left behind when it throws: descriptors are closed, groups removed.
struct LaunchPreparation {
    let plan: LaunchPlan
    let manager: GroupManager
    /// Where compiled filters are kept, or nil.
    let filterCache: String?

    func prepare(standardStreams: [Int32]?) throws -> PreparedLaunch {
        var prepared = PreparedLaunch()
        prepared.standardStreams = standardStreams
        do {
            for (index, step) in plan.steps.enumerated() { try prepare(step, index, &prepared) }
            if plan.steps.contains(where: { $0.kind == .mask }) { prepared.nullDevice = try openNullDevice() }
        } catch {
            prepared.closeDescriptors()
            prepared.closeBindSources()
            do {
                try CgroupDirectories.remove(prepared.groupPaths)
            } catch {
                // The first error is the one that counts; groups that stay are swept by the next command.
            }
            throw error
        }
        return prepared
    }

    private func prepare(_ step: LaunchStep, _ index: Int, _ prepared: inout PreparedLaunch) throws {
        switch step {
        case .namespaces(_, let joined):
            for namespace in joined {
                guard let kind = NamespaceKind(rawValue: namespace.kind) else { continue }
                let file = try performing(.namespaces, "joining the \(namespace.kind) namespace") {
                    try FileDescriptor.open(namespace.path, O_RDONLY)
                }
                prepared.joined.append((kind, file.release()))
            }
        case .controlGroup(let group): try prepareGroups(group, &prepared)
        case .root(.directory(let path)):
            prepared.trees[index] = try performing(.root, "opening the root file system") {
                if plan.sharesMounts { return try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY).release() }
                let tree = try Mounts.cloneTree(path: path, recursive: true)
                // A clone of a shared mount is shared with it, and pivot_root(2) refuses that.
                try Mounts.setAttributes(tree, propagation: rootPropagation, recursive: true)
                return tree.release()
            }
        case .mount(let mount): try prepareMount(mount, index, &prepared)
        case .device(let device): try prepareDevice(device, index, &prepared)
        case .systemCallFilter(let filter):
            let compiled = try performing(.systemCallFilter, "compiling the system call filter") {
                try SystemCallFilterCompiler(cacheDirectory: filterCache).compile(filter.profile)
            }
            if filter.refusesUnknown, let name = compiled.unknown.first {
                throw LaunchFailure(.systemCallFilter, "linux.seccomp names \(name), which libseccomp does not know", errno: EINVAL)
            }
            prepared.filter = compiled.filter
            prepared.unknownCalls = compiled.unknown
            prepared.filterFlags = compiled.flags
        case .network, .egressRules:
            if prepared.hostAddresses != nil { break }
            prepared.hostAddresses = try performing(.egressRules, "reading the host's addresses") { try HostAddresses.current() }
        default: break
        }
    }

    private var rootPropagation: MountPropagation {
        for step in plan.steps {
            if case .pivot(let pivot) = step, pivot.propagation == MountPropagation.slave.rawValue { return .slave }
        }
        return .private
    }

    private func prepareMount(_ mount: MountStep, _ index: Int, _ prepared: inout PreparedLaunch) throws {
        guard case .bind(let path, _) = mount.source else { return }
        if mount.optional, let reason = absence(of: path) {
            prepared.missing[index] = reason
            return
        }
        if mount.links.contains(.copied) {
            prepared.copiedLinks[index] = try performing(.mount, "the link \(path)") {
                try FileDescriptor.open(path, RootDirectory.pathOnly | O_NOFOLLOW).linkTarget()
            }
            if prepared.copiedLinks[index] != nil { return }
        }
        let source = try performing(.mount, "the bind source for \(mount.destination)") {
            try Mounts.open(path: path, followsLink: !mount.links.contains(.source))
        }
        prepared.treeIsDirectory[index] = try source.status().st_mode & S_IFMT == S_IFDIR
        if plan.clonesInOrder {
            prepared.bindSources[index] = source.release()
        } else {
            let tree = try BindTree(mount: mount).clone(source)
            if mount.idMapping?.map == .container {
                prepared.shiftedTrees.append((mount.destination, try tree.duplicate().release(), mount.idMapping?.recursive ?? false))
            }
            prepared.trees[index] = tree.release()
        }
    }

    private func prepareDevice(_ device: DeviceStep, _ index: Int, _ prepared: inout PreparedLaunch) throws {
        guard plan.hasUserNamespace || !UserNamespaces.isInitial, device.type != "p" else { return }
        guard let path = try hostPath(of: device) else {
            prepared.trees[index] = try performing(.device, "device \(device.path)") { try makeNode(device) }.release()
            return
        }
        let tree = try performing(.device, "device \(device.path)") { try Mounts.cloneTree(path: path, recursive: false) }
        let status = try tree.status()
        let isBlock = status.st_mode & S_IFMT == S_IFBLK
        guard isBlock || status.st_mode & S_IFMT == S_IFCHR, isBlock == (device.type == "b"),
            status.st_rdev == deviceNumber(device.major, device.minor)
        else {
            throw LaunchFailure(.device, "\(path) on the host is not the device \(device.type) \(device.major):\(device.minor)")
        }
        try performing(.device, "device \(device.path)") {
            try Mounts.setAttributes(tree, set: [.noSetuid, .noExecute], propagation: .private, recursive: false)
        }
        prepared.trees[index] = tree.release()
    }

    /// Why a host path cannot be opened, or nil when it can.
    private func absence(of path: String) -> String? {
        do {
            try FileDescriptor.open(path, RootDirectory.pathOnly).close()
            return nil
        } catch {
            return error.description
        }
    }

    private func isDevice(_ path: String, _ device: DeviceStep) -> Bool {
        do {
            let status = try FileDescriptor.open(path, RootDirectory.pathOnly).status()
            return status.st_rdev == deviceNumber(device.major, device.minor)
                && status.st_mode & S_IFMT == (device.type == "b" ? S_IFBLK : S_IFCHR)
        } catch {
            return false  // then sysfs says where it is
        }
    }

    /// A node that the host has none of, for a user namespace that may not make it: by the host's root, on a file system of its own.
    private func makeNode(_ device: DeviceStep) throws -> FileDescriptor {
        func outside(_ id: UInt32, _ maps: [RuntimeSpec.IDMapping]) throws -> UInt32 {
            guard let map = maps.first(where: { $0.contains(id) }) else {
                throw LaunchFailure(.device, "device \(device.path) belongs to \(id), which is not mapped in the container's user namespace")
            }
            return map.hostID + (id - map.containerID)
        }
        let maps = plan.identityMaps
        let (user, group) = (try outside(device.uid, maps.uid), try outside(device.gid, maps.gid))
        let tree = try FileSystemContext("tmpfs").mount([.noSetuid, .noExecute])
        let raw = tree.rawValue
        let (name, kind) = ("device", UInt32(device.type == "b" ? S_IFBLK : S_IFCHR))
        try retrying("mknodat", device.path) {
            cl_mknodat(raw, name, kind | device.mode & 0o7777, UInt64(deviceNumber(device.major, device.minor)))
        }
        try retrying("fchmodat", device.path) { fchmodat(raw, name, mode_t(device.mode & 0o7777), 0) }
        try retrying("fchownat", device.path) { fchownat(raw, name, user, group, AT_SYMLINK_NOFOLLOW) }
        // A part of a detached mount: Linux 6.15.
        let node = try Mounts.cloneTree(try tree.open(at: name, RootDirectory.pathOnly | O_NOFOLLOW), recursive: false)
        try Mounts.setAttributes(node, propagation: .private, recursive: false)
        return node
    }

    /// Where the host keeps the device: at the same path, or where sysfs says. nil when the host has none and its root, who may make one, asks.
    private func hostPath(of device: DeviceStep) throws -> String? {
        if isDevice(device.hostPath, device) { return device.hostPath }
        let kind = device.type == "b" ? "block" : "char"
        let event: [UInt8]
        do {
            event = try readFile("/sys/dev/\(kind)/\(device.major):\(device.minor)/uevent", limit: 4096)
        } catch {
            if UserNamespaces.isInitial, geteuid() == 0, plan.hasIdentityMaps { return nil }
            throw LaunchFailure(.device, doing: "device \(device.path) (\(device.major):\(device.minor)) is not on this host", error)
        }
        for line in String(decoding: event, as: UTF8.self).split(separator: "\n") where line.hasPrefix("DEVNAME=") {
            return "/dev/" + line.dropFirst(8)
        }
        throw LaunchFailure(.device, "device \(device.path) (\(device.major):\(device.minor)) is not on this host")
    }

    private func openNullDevice() throws -> Int32 {
        let tree = try performing(.mask, "opening /dev/null of the host") { try Mounts.cloneTree(path: "/dev/null", recursive: false) }
        let status = try tree.status()
        guard status.st_mode & S_IFMT == S_IFCHR, status.st_rdev == deviceNumber(1, 3) else {
            throw LaunchFailure(.mask, "/dev/null of the host is not the null device")
        }
        try performing(.mask, "preparing masks") {
            try Mounts.setAttributes(tree, set: [.readOnly, .noSetuid, .noExecute], propagation: .private, recursive: false)
        }
        return tree.release()
    }
}

/// The kernel's device number as stat(2) shows it (makedev(3)).
func deviceNumber(_ major: UInt32, _ minor: UInt32) -> dev_t {
    let high = (UInt64(major) & 0xffff_f000) << 32 | (UInt64(major) & 0xfff) << 8
    let low = (UInt64(minor) & 0xffff_ff00) << 12 | UInt64(minor) & 0xff
    return dev_t(high | low)
}
