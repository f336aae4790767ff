import Glibc
import LaunchPlan
import LinuxKernel

/// A scope that systemd makes around the container's first process.
struct PendingScope: Sendable {
    let scope: SystemdScope
    let bus: SystemdBus
    let mountPoint: String
    let limits: CgroupLimits
    /// Without it the container must not start.
    let required: Bool

    /// - Parameter process: the first process as the host numbers it; it waits meanwhile.
    /// - Returns: the group's directory, and what it could not limit.
    func start(around process: Int32) throws -> (path: String, shortfalls: [(limit: String, reason: String)]) {
        do {
            try scope.start(on: bus, process: process, limits: limits)
        } catch let error as DBusCallError where error.name == "org.freedesktop.systemd1.UnitExists" {
            throw LaunchFailure(.controlGroup, "systemd has a unit \(scope.name) already: choose another name or --cgroup-parent")
        } catch {
            throw LaunchFailure(.controlGroup, "systemd makes no scope for this container: \(error)")
        }
        let path = mountPoint + (try performing(.controlGroup, "the container's control group") { try GroupManager.group(of: "\(process)") })
        guard path.hasSuffix("/\(scope.name)") else {
            throw LaunchFailure(.controlGroup, "systemd made \(scope.name), and the container's process is in \(path)")
        }
        let group = CgroupV2(existing: path)
        return (path, try performing(.controlGroup, "setting limits") { try group.apply(limits) })
    }
}
