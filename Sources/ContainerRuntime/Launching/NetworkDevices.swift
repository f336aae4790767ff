import Glibc
import LaunchPlan
import LinuxKernel

/// Devices of the runtime's network namespace on their way into the container's, and back again when the start fails: with a namespace that
/// ends the kernel gives back physical devices only, and destroys all others.
///
/// A class, so that there can be none.
final class NetworkDevices {
    /// A device that may be inside by now, and what it had outside.
    private struct Moved {
        let link: NetworkLink
        let addresses: [PermanentAddress]
        let name: String
        /// Names that were taken inside before.
        let others: Set<String>
        /// Inside, once that is known; a hook may rename the device.
        var index: Int32?
    }

    private let steps: [NetworkDeviceStep]
    private let host: NetworkLinks
    private let own: FileDescriptor
    /// The container's network namespace: held, so that what fails later finds it, ended or not.
    private var target: FileDescriptor
    private var moved: [Moved] = []

    /// Looks before anything of the container exists whether all of it can be done.
    ///
    /// - Parameter joined: the namespaces that the container joins.
    /// - Returns: nil when the plan has no such devices.
    init?(plan: LaunchPlan, joined: [(kind: NamespaceKind, file: Int32)]) throws {
        steps = plan.steps.compactMap { if case .networkDevice(let step) = $0 { step } else { nil } }
        if steps.isEmpty { return nil }
        own = try performing(.networkDevice, "the runtime's network namespace") { try FileDescriptor.open("/proc/self/ns/net", O_RDONLY) }
        host = try performing(.networkDevice, "the runtime's network namespace") { try NetworkLinks() }
        target = .none
        if let file = joined.first(where: { $0.kind == .network })?.file {
            target = FileDescriptor(owning: try retrying("fcntl") { fcntl(file, F_DUPFD_CLOEXEC, 3) })
            let (there, here) = (try target.status(), try own.status())
            if there.st_dev == here.st_dev, there.st_ino == here.st_ino {
                throw LaunchFailure(
                    .networkDevice,
                    "linux.netDevices needs a network namespace of the container's own: the one that linux.namespaces names is the runtime's",
                    errno: EINVAL)
            }
        }
        for step in steps { try checkRights(over: try find(step)) }
    }

    private func find(_ step: NetworkDeviceStep) throws -> NetworkLink {
        let links = try performing(.networkDevice, "network devices of the host") { try host.all() }
        guard let link = links.first(where: { $0.name == step.hostName }) else {
            throw LaunchFailure(.networkDevice, "linux.netDevices names \(step.hostName), which is no network device of this host", errno: ENODEV)
        }
        if link.isLoopback {
            throw LaunchFailure(
                .networkDevice, "linux.netDevices names \(link.name): a loopback device cannot leave its network namespace", errno: EINVAL)
        }
        return link
    }

    private func checkRights(over link: NetworkLink) throws {
        do {
            try host.checkRights(over: link)
        } catch  where error.errno == EPERM {
            throw LaunchFailure(
                .networkDevice, "linux.netDevices: moving \(link.name) needs CAP_NET_ADMIN over the host's network, which only its root has",
                errno: EPERM)
        } catch {
            throw LaunchFailure(.networkDevice, doing: "network device \(link.name)", error)
        }
    }

    /// Moves all of them, with their addresses, and sets them up.
    ///
    /// - Parameter pid: the container's first process, which has no other network namespace than the one that it was born in.
    func move(toProcess pid: Int32) throws {
        let inside = try performing(.networkDevice, "the container's network namespace") {
            if target.rawValue < 0 { target = try FileDescriptor.open("/proc/\(pid)/ns/net", O_RDONLY) }
            return try NetworkLinks(of: target, returningTo: own)
        }
        for step in steps { try move(step, inside) }
    }

    private func move(_ step: NetworkDeviceStep, _ inside: borrowing NetworkLinks) throws {
        let link = try find(step)
        try performing(.networkDevice, "moving network device \(link.name)") {
            let others = Set(try inside.all().map(\.name))
            let name = try Self.name(for: step, besides: others)
            moved.append(Moved(link: link, addresses: try host.permanentAddresses(of: link.index), name: name, others: others, index: nil))
            try leave(link, as: name)
            guard let index = try inside.all().first(where: { $0.name == name })?.index else {
                throw LaunchFailure(.networkDevice, "network device \(link.name) is not in the container as \(name)", errno: ENODEV)
            }
            moved[moved.count - 1].index = index
            for address in moved[moved.count - 1].addresses { try inside.add(address, to: index) }
            try inside.setUp(index)
            DebugLog.note("networkDevice: \(link.name) is \(name) in the container")
        }
    }

    private func leave(_ link: NetworkLink, as name: String) throws {
        do {
            try host.move(link.index, to: target, as: name)
        } catch {
            if error.errno != EINVAL { throw error }
            // A bridge, a fallback tunnel: the kernel has one for each namespace.
            throw LaunchFailure(
                .networkDevice, "linux.netDevices: \(link.name) belongs to its network namespace: the kernel moves no device of this kind",
                errno: EINVAL)
        }
    }

    /// The name inside. The kernel could number it too, but then would not say which number it chose.
    static func name(for step: NetworkDeviceStep, besides others: Set<String>) throws -> String {
        if !step.isTemplate {
            if !others.contains(step.name) { return step.name }
            throw LaunchFailure(
                .networkDevice,
                "linux.netDevices: \(step.hostName) cannot become \(step.name): the container's network namespace has a \(step.name) already",
                errno: EEXIST)
        }
        let stem = String(step.name.dropLast(NetworkDeviceStep.template.count))
        // One of so many numbers is free, and one that is too long for a name is none.
        for number in 0...others.count where !others.contains("\(stem)\(number)") && stem.utf8.count + "\(number)".utf8.count <= 15 {
            return "\(stem)\(number)"
        }
        throw LaunchFailure(.networkDevice, "linux.netDevices: no name of the form \(step.name) is free in the container", errno: EEXIST)
    }

    /// Puts everything that was moved back, as it was but for routes, which the kernel forgets.
    ///
    /// - Returns: the error, and in the same sentence what could not be put back.
    func giveBack(after error: any Error) -> any Error {
        var complaints: [String] = []
        for device in moved.reversed() {
            do {
                try giveBack(device)
            } catch {
                complaints.append("network device \(device.link.name) could not be put back: \(error)")
            }
        }
        moved = []
        if complaints.isEmpty { return error }
        let sentence = "; and " + complaints.joined(separator: "; ")
        guard var failure = error as? LaunchFailure else { return LaunchFailure(.networkDevice, "\(error)\(sentence)") }
        failure.message += sentence
        return failure
    }

    private func giveBack(_ device: Moved) throws {
        if try host.all().contains(where: { $0.name == device.link.name && $0.index == device.link.index }) { return }  // it never left
        let inside = try NetworkLinks(of: target, returningTo: own)
        let candidates = try inside.all().filter { link in
            device.index.map { $0 == link.index } ?? ([device.name, device.link.name].contains(link.name) && !device.others.contains(link.name))
        }
        guard let link = candidates.first else { throw KernelError(call: "netlink", errno: ENODEV, subject: device.name) }
        try inside.move(link.index, to: own, as: device.link.name)
        guard let back = try host.all().first(where: { $0.name == device.link.name }) else {
            throw KernelError(call: "netlink", errno: ENODEV, subject: device.link.name)
        }
        for address in device.addresses { try host.add(address, to: back.index) }
        if device.link.master != 0 { try host.setMaster(of: back.index, to: device.link.master) }
        if device.link.isUp { try host.setUp(back.index) }
    }
}
