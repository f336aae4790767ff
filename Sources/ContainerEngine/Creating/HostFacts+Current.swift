import Confinement
import Glibc
import LinuxKernel

extension HostFacts {
    /// The machine as it is, for a container that gets `range`.
    static func current(isRootful: Bool, range: IDRange) throws(EngineError) -> HostFacts {
        var names = utsname()
        if uname(&names) != 0 { throw EngineError("uname: \(KernelError.last("uname").reason)") }
        let release = withUnsafeBytes(of: &names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        guard let kernel = KernelVersion(release) else { throw EngineError("the kernel's version \(release) cannot be read") }
        if kernel < KernelVersion(major: 5, minor: 19) {
            // Overlay over idmapped layers; before that, no container could have an ID range of its own without a copy.
            throw EngineError("the kernel is Linux \(release)", remedy: "Coffer needs Linux 5.19 or newer")
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            throw EngineError("getrlimit: \(KernelError.last("getrlimit").reason)")
        }
        return HostFacts(
            kernel: kernel, isRoot: isRootful, invokingUID: geteuid(), invokingGID: getegid(), range: range,
            memoryBytes: UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE)))),
            possibleCPUs: max(1, sysconf(Int32(_SC_NPROCESSORS_CONF))), openFilesHardLimit: UInt64(limit.rlim_max),
            lastCapability: try lastCapability(), appArmor: AppArmorProfile.support(isRootful: isRootful), seLinux: seLinuxSupport())
    }

    private static func lastCapability() throws(EngineError) -> UInt8 {
        do {
            let text = String(decoding: try readFile("/proc/sys/kernel/cap_last_cap", limit: 16), as: UTF8.self)
            if let value = UInt8(text.prefix { $0.isNumber }) { return value }
        } catch {
            throw EngineError("/proc/sys/kernel/cap_last_cap cannot be read: \(error.reason)")
        }
        throw EngineError("/proc/sys/kernel/cap_last_cap holds no number")
    }

    /// A pair of MCS categories of this container's own, so that equal types do not open containers to each other.
    private static func seLinuxSupport() -> SELinuxSupport {
        guard access("/sys/fs/selinux/enforce", F_OK) == 0, policyKnowsContainers else { return .absent }
        let first = Int.random(in: 0..<1024)
        let second = (first + Int.random(in: 1..<1024)) % 1024
        return .present(categories: "c\(min(first, second)),c\(max(first, second))")
    }

    /// Whether the loaded policy has the types of containers (container-selinux, or a policy of the administrator's). Debian's has none, and a
    /// label that it does not know would stop every start.
    private static var policyKnowsContainers: Bool {
        do {
            let file = try FileDescriptor.open("/sys/fs/selinux/context", O_RDWR)
            try file.writeAll(Array("system_u:system_r:container_t:s0:c1,c2\0".utf8))
            return true
        } catch {
            return false
        }
    }
}

extension Engine {
    /// The IDs that are set aside for a container or a prober's twins, as the runtime sees them.
    func idRange(of record: ContainerRecord) throws(EngineError) -> IDRange {
        if root.isRootful {
            return IDRange(start: record.rangeStart ?? IDRangePool.defaultBase, size: IDRangePool.size, isShared: false)
        }
        // In the owner namespace the user is 0 and the subordinate IDs follow.
        do {
            let subordinate = try SubordinateIDs.ofInvokingUser()
            let count = min(
                subordinate.users.reduce(0) { $0 + UInt64($1.count) }, subordinate.groups.reduce(0) { $0 + UInt64($1.count) })
            return IDRange(start: 1, size: UInt32(min(count, UInt64(IDRangePool.size))), isShared: true)
        } catch {
            throw EngineError("\(error)")
        }
    }
}
