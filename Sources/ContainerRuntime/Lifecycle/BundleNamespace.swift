import CLinux
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

/// Where an ordinary user's `create` and `run` work: a user namespace in which the user and the IDs of the configuration are themselves, so that
/// binds and the root can be cloned. The container's own namespace is made below it, and what the configuration calls host IDs stays true.
enum BundleNamespace {
    /// The caller may mount in its own namespace: it is root, or in such a namespace already (podman's).
    static var hasRights: Bool { cl_effective_capabilities() & 1 << 21 != 0 }  // CAP_SYS_ADMIN

    static func enter(for maps: (uid: [RuntimeSpec.IDMapping], gid: [RuntimeSpec.IDMapping])) throws {
        let own = IDMaps(users: lines(maps.uid, own: geteuid()), groups: lines(maps.gid, own: getegid()))
        let pid = getpid()
        let (ours, theirs) = try SocketPair().ends()
        // newuidmap works from outside only: a helper stays there.
        switch try Processes.fork() {
        case .child:
            close(ours)
            write(own, to: pid, FileDescriptor(owning: theirs))
        case .parent(let helper):
            close(theirs)
            let channel = FileDescriptor(owning: ours)
            try unshare()
            try channel.sendMessage([1])
            let answer = try channel.receiveMessage()
            try Processes.wait(for: helper.pid)
            guard let answer, answer.bytes == [1] else {
                let reason = answer.map { String(decoding: $0.bytes, as: UTF8.self) } ?? "the helper ended"
                throw LaunchFailure(.identityMaps, reason)
            }
            try Mounts.setPropagation(.slave)
        }
    }

    private static func unshare() throws {
        do {
            try Namespaces.unshare([.user, .mount])
        } catch {
            throw LaunchFailure(.namespaces, "\(IDMapError.refusedNamespace(error.errno))", errno: error.errno)
        }
    }

    private static func write(_ maps: IDMaps, to pid: Int32, _ channel: consuming FileDescriptor) -> Never {
        do {
            guard let message = try channel.receiveMessage(limit: 16), message.bytes == [1] else { _exit(1) }
            do {
                try maps.write(to: pid)
                try channel.sendMessage([1])
            } catch {
                try channel.sendMessage(Array("\(error)".utf8))
            }
        } catch {
            // The caller has ended.
        }
        _exit(0)
    }

    /// Each host ID of the ranges as itself, and the user's own; what overlaps is one range.
    static func lines(_ ranges: [RuntimeSpec.IDMapping], own: UInt32) -> [IDMapping] {
        var result: [IDMapping] = []
        let all =
            ranges.map { (start: UInt64($0.hostID), end: UInt64($0.hostID) + UInt64($0.size)) } + [(start: UInt64(own), end: UInt64(own) + 1)]
        for range in all.sorted(by: { $0.start < $1.start }) where range.end > range.start && range.end <= UInt64(UInt32.max) {
            if let last = result.last, range.start <= UInt64(last.outside) + UInt64(last.count) {
                let end = max(range.end, UInt64(last.outside) + UInt64(last.count))
                // Own ID and subordinate range are different grants: newuidmap takes them only as different lines.
                if range.start == UInt64(last.outside) + UInt64(last.count) {
                    result.append(IDMapping(inside: UInt32(range.start), outside: UInt32(range.start), count: UInt32(range.end - range.start)))
                } else {
                    result[result.count - 1] = IDMapping(inside: last.outside, outside: last.outside, count: UInt32(end - UInt64(last.outside)))
                }
            } else {
                result.append(IDMapping(inside: UInt32(range.start), outside: UInt32(range.start), count: UInt32(range.end - range.start)))
            }
        }
        return result
    }
}
