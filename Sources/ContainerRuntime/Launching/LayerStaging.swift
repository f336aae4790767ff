import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// Puts an overlay's parts where the container's first process finds them under short names: `l0`, `l1`, … (top first),
/// `rw/upper`, `rw/work`, and `root` to attach the result on. A tmpfs in the caller's own mount namespace.
///
/// Shifted layers must be attached here before the child makes its mount namespace: an overlay over a lower that was
/// detached in the initial namespace cannot create files (measured, Linux 6.18).
struct LayerStaging {
    private let overlay: OverlayRoot

    /// - Returns: nil when the plan has no overlay root.
    init?(plan: LaunchPlan) throws {
        var found: OverlayRoot?
        for step in plan.steps { if case .root(.overlay(let overlay)) = step { found = overlay } }
        guard let found else { return nil }
        overlay = found
        try mountStage()
        if !overlay.idmapLowers {
            for (index, path) in overlay.lowerDirectories.enumerated() { try attachLayer(path, index, shiftedBy: nil) }
        }
    }

    private func mountStage() throws {
        try performing(.root, "preparing the root file system") {
            let context = try FileSystemContext("tmpfs")
            try context.set("mode", "0755")
            try context.set("size", "1m")
            let stage = try context.mount([.noSetuid, .noDevices])
            let raw = stage.rawValue
            for name in overlay.lowerDirectories.indices.map({ "l\($0)" }) + ["rw", "root"] {
                try retrying("mkdirat", name) { mkdirat(raw, name, 0o755) }
            }
            let point = try FileDescriptor.open(overlay.stageDirectory, RootDirectory.pathOnly | O_DIRECTORY)
            try Mounts.attach(stage, on: point)
            // Upper and work directory must be seen through one mount: their common parent is cloned.
            let upper = Self.split(overlay.upperDirectory)
            let work = Self.split(overlay.workDirectory)
            guard upper == (work.parent, "upper"), work.name == "work" else {
                throw LaunchFailure(.root, "upper and work directory must be PARENT/upper and PARENT/work: \(overlay.upperDirectory)")
            }
            let writable = try Mounts.cloneTree(path: upper.parent, recursive: false)
            try Mounts.setAttributes(writable, set: [.noSetuid, .noDevices], propagation: .private, recursive: false)
            let from = writable.rawValue
            try retrying("move_mount", "rw") { cl_move_mount(from, "", raw, "rw", 0x4) }
        }
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    private func attachLayer(_ path: String, _ index: Int, shiftedBy namespace: Int32?) throws {
        try performing(.layers, "layer \(path)") {
            let layer = try Mounts.cloneTree(path: path, recursive: false)
            if let namespace {
                let maps = FileDescriptor(owning: try retrying("fcntl") { cl_fcntl(namespace, F_DUPFD_CLOEXEC, 3) })
                try Mounts.mapIDs(of: layer, by: maps, recursive: false)
            }
            try Mounts.setAttributes(layer, set: [.readOnly, .noSetuid, .noDevices], propagation: .private, recursive: false)
            let from = layer.rawValue
            try retrying("move_mount", "l\(index)") {
                cl_move_mount(from, "", AT_FDCWD, "\(overlay.stageDirectory)/l\(index)", 0x4)
            }
        }
    }

    /// Shifts the layers into the range of a process's user namespace (idmapped mounts; overlay takes them since Linux 5.19).
    func attachShifted(userNamespaceOf pid: Int32) throws {
        guard overlay.idmapLowers else { return }
        let namespace = try performing(.layers, "the container's user namespace") {
            try FileDescriptor.open("/proc/\(pid)/ns/user", O_RDONLY)
        }
        for (index, path) in overlay.lowerDirectories.enumerated() {
            try attachLayer(path, index, shiftedBy: namespace.rawValue)
        }
    }

    /// Takes the stage away again; the container has its own copies. A stage that stays ends with the mount namespace.
    func detach() {
        cl_umount2(overlay.stageDirectory, 2)
    }
}
