import CLinux
import Glibc
import TextSearch

/// A container's groups in the v1 hierarchies (Linux admin guide, cgroup-v1).
public struct CgroupV1: Sendable {
    /// The controllers that a container always gets a group in, where the kernel has them, in the order of creation.
    public static let controllers = ["pids", "memory", "cpu", "freezer", "devices"]

    /// controller → absolute directory.
    public let directories: [(controller: String, path: String)]

    /// Directories of all groups, each once.
    public var paths: [String] { directories.map(\.path) }

    public init(directories: [(controller: String, path: String)]) { self.directories = directories }

    /// Groups that exist already, by their directories alone.
    public init(existing paths: [String], _ mounts: CgroupMounts) {
        directories = mounts.controllers.sorted { $0.key < $1.key }.compactMap { controller, mountPoint in
            paths.first { $0.hasPrefix(mountPoint + "/") }.map { (controller, $0) }
        }
    }

    /// Makes the groups, empty. What was made is removed again when one cannot be.
    ///
    /// - Parameter path: the group below each hierarchy's root, for example "/coffer/ID"; checked to hold no "..".
    public static func create(_ mounts: CgroupMounts, path: String, limits: CgroupLimits) throws(KernelError) -> CgroupV1 {
        if path.split(separator: "/").contains("..") || path.utf8.contains(0) || path.isEmpty {
            throw KernelError(call: "mkdir", errno: EINVAL, subject: path)
        }
        var wanted = controllers
        if limits.cpusetCPUs != nil || limits.cpusetMemory != nil { wanted.append("cpuset") }
        for controller in limits.countedBy + limits.settings.map(\.controller) where !wanted.contains(controller) { wanted.append(controller) }
        var directories: [(controller: String, path: String)] = []
        var made: [String] = []
        do {
            for controller in wanted {
                guard let mountPoint = mounts.controllers[controller] else { continue }
                let directory = mountPoint + (path.hasPrefix("/") ? path : "/" + path)
                directories.append((controller, directory))
                if made.contains(directory) { continue }
                try makeDirectory(directory, below: mountPoint)
                made.append(directory)
            }
        } catch {
            for path in made.reversed() { rmdir(path) }
            throw error
        }
        return CgroupV1(directories: directories)
    }

    private static func makeDirectory(_ directory: String, below mountPoint: String) throws(KernelError) {
        var current = mountPoint
        for component in directory.dropFirst(mountPoint.count).split(separator: "/") {
            current += "/" + component
            if mkdir(current, 0o755) != 0 {
                // Somebody else's group above ours keeps the processors that it has.
                if errno != EEXIST { throw .last("mkdir", current) }
                if current == directory { try checkIsEmpty(directory) }
            }
            if mountPoint.hasSuffix("cpuset") { try inheritCpuset(current) }
        }
    }

    /// A group that an engine has made beforehand is taken; another container's is not.
    private static func checkIsEmpty(_ directory: String) throws(KernelError) {
        if try !CgroupDirectories.processes(in: directory).isEmpty { throw KernelError(call: "mkdir", errno: EEXIST, subject: directory) }
    }

    /// A new cpuset group is empty and takes no process until it has processors and memory nodes.
    private static func inheritCpuset(_ directory: String) throws(KernelError) {
        let parent = String(directory[..<(directory.lastIndex(of: "/") ?? directory.startIndex)])
        for file in ["cpuset.cpus", "cpuset.mems"] where try readFile("\(directory)/\(file)", limit: 65536).allSatisfy({ $0 <= 0x20 }) {
            try write(try readFile("\(parent)/\(file)", limit: 65536), to: "\(directory)/\(file)")
        }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws(KernelError) {
        let file = try FileDescriptor.open(path, O_WRONLY)
        do {
            try file.writeAll(bytes)
        } catch {
            throw KernelError(call: error.call, errno: error.errno, subject: path)
        }
    }

    private func directory(_ controller: String) -> String? {
        directories.first { $0.controller == controller }?.path
    }

    /// Writes the limits.
    ///
    /// - Returns: what could not be limited because the kernel lacks the controller or the file, each with the reason.
    public func apply(_ limits: CgroupLimits) throws(KernelError) -> [(limit: String, reason: String)] {
        var missing: [(limit: String, reason: String)] = []
        var later: [CgroupSetting] = []
        for setting in settings(limits) {
            guard let directory = directory(setting.controller) else {
                missing.append((setting.name, "there is no \(setting.controller) controller, or it is not mounted"))
                continue
            }
            do {
                try Self.write(setting, in: directory)
            } catch {
                // memsw files exist only with swap accounting (CONFIG_MEMCG_SWAP, swapaccount=1 before Linux 6.1).
                if error.errno == ENOENT, setting.value == "-1" { continue }  // nothing is what there is to limit it
                if error.errno == ENOENT {
                    missing.append(
                        (setting.name, setting.file.contains("memsw") ? "the kernel does not account for swap" : "the kernel has no \(setting.file)"))
                } else if error.errno == EINVAL || error.errno == EBUSY {
                    later.append(setting)
                } else {
                    throw error
                }
            }
        }
        // Memory may not exceed memory and swap together, a quota not its parent's share: what the old limits forbade, the new ones may allow.
        for setting in later {
            guard let directory = directory(setting.controller) else { continue }
            try Self.write(setting, in: directory)
        }
        if !limits.devices.isEmpty {
            guard let directory = directory("devices") else {
                missing.append(("devices", "there is no devices controller, or it is not mounted"))
                return missing
            }
            for rule in limits.devices {
                try Self.write(Array(rule.line.utf8), to: "\(directory)/\(rule.allow ? "devices.allow" : "devices.deny")")
            }
        }
        return missing
    }

    private static func write(_ setting: CgroupSetting, in directory: String) throws(KernelError) {
        do {
            try write(Array(setting.value.utf8), to: "\(directory)/\(setting.file)")
        } catch {
            guard error.errno == ENOENT, let other = setting.alternative else { throw error }
            try write(Array(setting.value.utf8), to: "\(directory)/\(other)")
        }
    }

    private func settings(_ limits: CgroupLimits) -> [CgroupSetting] {
        var result: [CgroupSetting] = []
        func add(_ controller: String, _ file: String, _ value: String?, _ name: String) {
            if let value { result.append(CgroupSetting(controller: controller, file: file, value: value, name: name)) }
        }
        add("pids", "pids.max", limits.pids.map { $0 <= 0 ? "max" : "\($0)" }, "pids")
        add("memory", "memory.limit_in_bytes", limits.memory.map(String.init), "memory")
        add("memory", "memory.memsw.limit_in_bytes", limits.memoryAndSwap.map(String.init), "swap")
        add("memory", "memory.soft_limit_in_bytes", limits.memoryReservation.map(String.init), "memory reservation")
        add("cpu", "cpu.shares", limits.cpuShares.map(String.init), "cpu weight")
        add("cpu", "cpu.cfs_period_us", limits.cpuPeriod.map(String.init), "cpu period")
        add("cpu", "cpu.cfs_quota_us", limits.cpuQuota.map(String.init), "cpu quota")
        add("cpuset", "cpuset.cpus", limits.cpusetCPUs, "cpuset")
        add("cpuset", "cpuset.mems", limits.cpusetMemory, "cpuset memory nodes")
        return result + limits.settings
    }

    /// Opens each group's `tasks` file. A process that writes "0" there itself moves itself without the global
    /// threadgroup lock, whose RCU grace period costs milliseconds when another process does it (kernel/cgroup/cgroup.c,
    /// cgroup_procs_write_start). The opener's credentials count, so that the child needs no rights of its own.
    public func openTaskFiles() throws(KernelError) -> [Int32] {
        var opened: [Int32] = []
        do {
            for path in Set(paths) { opened.append(try FileDescriptor.open(path + "/tasks", O_WRONLY).release()) }
        } catch {
            for file in opened { close(file) }
            throw error
        }
        return opened
    }
}

/// What can be asked of a container's groups afterwards, by their directories alone (state files hold these).
public enum CgroupDirectories {
    /// PIDs in a group, in the caller's pid namespace.
    public static func processes(in directory: String) throws(KernelError) -> [Int32] {
        let text = String(decoding: try readFile(directory + "/cgroup.procs"), as: UTF8.self)
        return text.split(separator: "\n").compactMap { Int32($0) }
    }

    /// PIDs in a group and in every group below it.
    public static func allProcesses(in directory: String) throws(KernelError) -> [Int32] {
        var result = try processes(in: directory)
        for name in try subgroups(of: directory) { result += try allProcesses(in: "\(directory)/\(name)") }
        return result
    }

    private static func subgroups(of directory: String) throws(KernelError) -> [String] {
        guard let stream = opendir(directory) else { throw .last("opendir", directory) }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            if entry.pointee.d_type != UInt8(DT_DIR) { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        return result
    }

    /// How often the kernel's out-of-memory killer ended a process of this container; 0 when no memory group is among them.
    public static func oomKills(_ directories: [String]) throws(KernelError) -> Int {
        for directory in directories {
            for file in ["/memory.oom_control", "/memory.events"] {
                let bytes: [UInt8]
                do {
                    bytes = try readFile(directory + file)
                } catch {
                    // ENODEV: the group went away between open and read; systemd removes a scope as soon as it is empty.
                    if error.errno == ENOENT || error.errno == ENODEV { continue }
                    throw error
                }
                for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("oom_kill ") {
                    return Int(line.dropFirst(9)) ?? 0
                }
            }
        }
        return 0
    }

    /// Removes groups. A group that is gone already is no error; one that still has processes is (EBUSY).
    public static func remove(_ directories: [String]) throws(KernelError) {
        for directory in directories {
            do {
                for name in try subgroups(of: directory) { try remove(["\(directory)/\(name)"]) }
            } catch {
                if error.errno != ENOENT { throw error }
            }
            var attempts = 0
            while rmdir(directory) != 0 {
                if errno == ENOENT { break }
                attempts += 1
                // A process that was killed a moment ago still counts until the kernel is through with it.
                if errno != EBUSY || attempts > 200 { throw .last("rmdir", directory) }
                usleep(5_000)
            }
        }
    }

    /// Ends every process of a v2 group and of those below it at once (`cgroup.kill`, Linux 5.14).
    ///
    /// - Returns: false where the kernel or the hierarchy has no such file.
    public static func kill(_ directories: [String]) throws(KernelError) -> Bool {
        var killed = false
        for directory in directories {
            do {
                try FileDescriptor.open(directory + "/cgroup.kill", O_WRONLY).writeAll([UInt8(ascii: "1")])
                killed = true
            } catch {
                if error.errno != ENOENT && error.errno != ENODEV && error.errno != EOPNOTSUPP { throw error }
            }
        }
        return killed
    }

    /// Freezes or thaws every process (freezer-subsystem; cgroup v2 `cgroup.freeze`).
    ///
    /// - Returns: false when none of the groups can freeze.
    @discardableResult
    public static func setFrozen(_ frozen: Bool, _ directories: [String]) throws(KernelError) -> Bool {
        for directory in directories {
            for (file, value) in [("/freezer.state", frozen ? "FROZEN" : "THAWED"), ("/cgroup.freeze", frozen ? "1" : "0")] {
                let control: FileDescriptor
                do {
                    control = try FileDescriptor.open(directory + file, O_WRONLY)
                } catch {
                    if error.errno == ENOENT { continue }
                    throw error
                }
                try control.writeAll(Array(value.utf8))
                return true
            }
        }
        return false
    }

    /// Whether the container is frozen.
    public static func isFrozen(_ directories: [String]) throws(KernelError) -> Bool {
        for directory in directories {
            for (file, value) in [("/freezer.state", "THAWED"), ("/cgroup.freeze", "0")] {
                do {
                    let text = String(decoding: try readFile(directory + file, limit: 64), as: UTF8.self)
                    return !text.hasPrefix(value)
                } catch {
                    if error.errno != ENOENT { throw error }
                }
            }
        }
        return false
    }
}
