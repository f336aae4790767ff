import CLinux
import Glibc

/// A container's group in the v2 hierarchy (Documentation/admin-guide/cgroup-v2.rst).
public struct CgroupV2: Sendable {
    /// Absolute directory.
    public let path: String

    /// A group that exists already (systemd made it).
    public init(existing path: String) { self.path = path }

    /// Makes the group, empty, with the controllers that its limits need.
    ///
    /// - Parameters:
    ///   - base: an existing directory of the hierarchy below which nothing belongs to anybody else: the root, or what was delegated.
    ///   - path: the group below it, for example "/coffer/ID"; checked to hold no "..".
    /// - Throws: EEXIST when there is such a group; EBUSY with the group's name when one on the way holds processes itself, so that the
    ///   kernel gives its children no controllers.
    public static func create(base: String, path: String, controllers: [String]) throws(KernelError) -> CgroupV2 {
        let components = path.split(separator: "/")
        if components.isEmpty || components.contains("..") || components.contains(".") || path.utf8.contains(0) {
            throw KernelError(call: "mkdir", errno: EINVAL, subject: path)
        }
        var current = base
        for (index, component) in components.enumerated() {
            try enable(controllers, in: current)
            current += "/" + component
            let isLast = index == components.count - 1
            if mkdir(current, 0o755) != 0 && (errno != EEXIST || isLast) { throw .last("mkdir", current) }
        }
        return CgroupV2(existing: current)
    }

    /// Gives the children of a group the wanted controllers, as far as the group has them itself.
    public static func enable(_ controllers: [String], in directory: String) throws(KernelError) {
        let enabled = Set(try words(directory + "/cgroup.subtree_control"))
        let available = Set(try words(directory + "/cgroup.controllers"))
        for controller in controllers where available.contains(controller) && !enabled.contains(controller) {
            do {
                try write("+\(controller)", to: directory + "/cgroup.subtree_control")
            } catch {
                // A controller that cannot be passed on (cpu while there are real-time processes): the limit says so when it is set.
                if error.errno == EBUSY { throw KernelError(call: "write", errno: EBUSY, subject: directory + "/cgroup.subtree_control") }
                if error.errno != EINVAL && error.errno != ENOENT && error.errno != EACCES && error.errno != EPERM { throw error }
            }
        }
    }

    /// Controllers that a group may use.
    public static func controllers(of directory: String) throws(KernelError) -> Set<String> {
        Set(try words(directory + "/cgroup.controllers"))
    }

    private static func words(_ path: String) throws(KernelError) -> [String] {
        String(decoding: try readFile(path, limit: 65536), as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\n" }).map(String.init)
    }

    private static func write(_ text: String, to path: String) throws(KernelError) {
        do {
            try FileDescriptor.open(path, O_WRONLY).writeAll(Array(text.utf8))
        } catch {
            throw KernelError(call: error.call, errno: error.errno, subject: path)
        }
    }

    /// Writes the limits.
    ///
    /// - Returns: what could not be limited, each with the reason.
    public func apply(_ limits: CgroupLimits) throws(KernelError) -> [(limit: String, reason: String)] {
        var missing: [(limit: String, reason: String)] = []
        for setting in CgroupV2Setting.all(limits) {
            do {
                try Self.write(setting.value, to: path + "/" + setting.file)
            } catch  where error.errno == ENOENT && setting.file == "memory.swap.max" && setting.value == "max" {
                continue  // nothing is what there is to limit it
            } catch {
                guard let reason = Self.reason(setting, error, access: access(path + "/" + setting.file, F_OK)) else { throw error }
                missing.append((setting.limit, reason))
            }
        }
        if !limits.devices.isEmpty {
            do {
                try DeviceProgram(limits.devices).attach(to: path)
            } catch {
                if error.errno != EPERM && error.errno != EACCES { throw error }
                missing.append(("devices", "an ordinary user may load no device program"))
            }
        }
        return missing
    }

    /// Why a limit is not to be had in this group; nil when the value itself was refused.
    private static func reason(_ setting: CgroupV2Setting, _ error: KernelError, access: Int32) -> String? {
        switch error.errno {
        case EOPNOTSUPP where setting.controller == "io": "the device has no input/output controller"
        case ENODEV where setting.controller == "io": "there is no such block device"
        case ENOENT where setting.file == "memory.swap.max": "the kernel does not account for swap"
        case ENOENT: "the \(setting.controller) controller is not delegated to this group"
        // kernfs answers EACCES to what it does not know.
        case EACCES where access != 0: "the \(setting.controller) controller is not delegated to this group"
        default: nil
        }
    }

    /// `cgroup.procs`, which a process writes "0" to, to move itself. The opener's credentials count (Linux 5.17 and the stable kernels of
    /// CVE-2021-4197), so that the child needs no rights of its own.
    public func openProcesses() throws(KernelError) -> FileDescriptor {
        try FileDescriptor.open(path + "/cgroup.procs", O_WRONLY)
    }
}

/// One write that a limit comes to in v2's files.
public struct CgroupV2Setting: Sendable, Equatable {
    /// What the limit is called in reports.
    public let limit: String
    public let file: String
    public let value: String

    var controller: String { String(file.prefix { $0 != "." }) }

    /// Every write for these limits, in order.
    public static func all(_ limits: CgroupLimits) -> [CgroupV2Setting] {
        processor(limits) + memory(limits) + inputOutput(limits) + others(limits)
            + limits.unified.flatMap { file, value in
                value.split(separator: "\n").map { CgroupV2Setting(limit: file, file: file, value: String($0)) }
            }
    }

    /// The controllers that these limits need, and those that every container gets.
    public static func controllers(_ limits: CgroupLimits) -> [String] {
        var wanted = ["cpu", "io", "memory", "pids"]
        for setting in all(limits) where setting.controller != "cgroup" && !wanted.contains(setting.controller) {
            wanted.append(setting.controller)
        }
        return wanted
    }

    private static func processor(_ limits: CgroupLimits) -> [CgroupV2Setting] {
        var result: [CgroupV2Setting] = []
        if let idle = limits.cpuIdle { result.append(.init(limit: "cpu idle", file: "cpu.idle", value: "\(idle)")) }
        // The kernel refuses a weight for an idle group.
        if let shares = limits.cpuShares, shares > 0, (limits.cpuIdle ?? 0) == 0 {
            result.append(.init(limit: "cpu weight", file: "cpu.weight", value: "\(cpuWeight(ofShares: shares))"))
        }
        if limits.cpuQuota != nil || limits.cpuPeriod != nil {
            let quota = limits.cpuQuota.map { $0 > 0 ? "\($0)" : "max" } ?? "max"
            let period = limits.cpuPeriod.map { $0 > 0 ? " \($0)" : "" } ?? ""
            result.append(.init(limit: "cpu quota", file: "cpu.max", value: quota + period))
        }
        if let burst = limits.cpuBurst { result.append(.init(limit: "cpu burst", file: "cpu.max.burst", value: "\(burst)")) }
        if let list = limits.cpusetCPUs { result.append(.init(limit: "cpuset", file: "cpuset.cpus", value: list)) }
        if let list = limits.cpusetMemory { result.append(.init(limit: "cpuset memory nodes", file: "cpuset.mems", value: list)) }
        return result
    }

    private static func memory(_ limits: CgroupLimits) -> [CgroupV2Setting] {
        func bytes(_ value: Int64) -> String { value < 0 ? "max" : "\(value)" }
        var result: [CgroupV2Setting] = []
        if let memory = limits.memory, memory != 0 { result.append(.init(limit: "memory", file: "memory.max", value: bytes(memory))) }
        if let swap = swapOnly(limits) { result.append(.init(limit: "swap", file: "memory.swap.max", value: bytes(swap))) }
        if let reservation = limits.memoryReservation, reservation != 0 {
            result.append(.init(limit: "memory reservation", file: "memory.low", value: bytes(reservation)))
        }
        return result
    }

    /// v2 counts swap alone where v1 and OCI count memory and swap together; nil where nothing was said about it, -1 without limit.
    public static func swapOnly(_ limits: CgroupLimits) -> Int64? {
        guard let both = limits.memoryAndSwap, both != 0 else { return nil }
        if both < 0 { return -1 }
        guard let memory = limits.memory, memory > 0 else { return nil }
        return max(0, both - memory)
    }

    private static func inputOutput(_ limits: CgroupLimits) -> [CgroupV2Setting] {
        var result: [CgroupV2Setting] = []
        if let weight = limits.ioWeight, weight > 0 {
            result.append(.init(limit: "io weight", file: "io.weight", value: "default \(ioWeight(ofV1: weight))"))
        }
        for (device, weight) in limits.ioDeviceWeights {
            result.append(.init(limit: "io weight", file: "io.weight", value: "\(device) \(ioWeight(ofV1: weight))"))
        }
        for (device, key, rate) in limits.ioMaximum {
            result.append(.init(limit: "io", file: "io.max", value: "\(device) \(key)=\(rate == 0 ? "max" : "\(rate)")"))
        }
        return result
    }

    private static func others(_ limits: CgroupLimits) -> [CgroupV2Setting] {
        var result: [CgroupV2Setting] = []
        if let pids = limits.pids { result.append(.init(limit: "pids", file: "pids.max", value: pids <= 0 ? "max" : "\(pids)")) }
        for (size, bytes) in limits.hugePages {
            result.append(.init(limit: "huge pages", file: "hugetlb.\(size).max", value: "\(bytes)"))
        }
        for (device, handles, objects) in limits.rdma {
            let parts = [handles.map { "hca_handle=\($0)" }, objects.map { "hca_object=\($0)" }].compactMap { $0 }
            result.append(.init(limit: "rdma", file: "rdma.max", value: ([device] + parts).joined(separator: " ")))
        }
        return result
    }

    /// v1's shares, 2…262144 with 1024 as usual, as v2's weight, 1…10000 with 100 as usual. A curve through these three pairs: the straight
    /// line that came first made of the usual 1024 a 39 (kubernetes/kubernetes#131216; runc and crun have the same curve).
    public static func cpuWeight(ofShares shares: UInt64) -> UInt64 {
        let bounded = min(max(shares, 2), 262_144)
        let power = log2(Double(bounded))
        let exponent = (power * power + 125 * power) / 612 - 7.0 / 34.0
        return min(max(UInt64(ceil(pow(10, exponent))), 1), 10_000)
    }

    /// v1's 10…1000 on a straight line to v2's 1…10000.
    public static func ioWeight(ofV1 weight: UInt16) -> UInt64 {
        1 + (UInt64(min(max(weight, 10), 1000)) - 10) * 9999 / 990
    }
}
