import CLinux
import Glibc

/// Where the kernel's control group hierarchies are mounted (cgroups(7)).
public struct CgroupMounts: Sendable, Equatable {
    public enum Mode: String, Sendable { case none, v1, v2, hybrid }

    /// v1: controller name → mount point. Controllers that share a hierarchy have the same mount point.
    public var controllers: [String: String]
    /// The v2 hierarchy, or nil.
    public var unified: String?

    public init(controllers: [String: String], unified: String?) {
        self.controllers = controllers
        self.unified = unified
    }

    public var mode: Mode {
        switch (controllers.isEmpty, unified) {
        case (true, nil): .none
        case (true, _): .v2
        case (false, nil): .v1
        case (false, _): .hybrid
        }
    }

    /// Reads the calling process's mount table.
    public static func detect() throws(KernelError) -> CgroupMounts {
        parse(mountInfo: String(decoding: try readFile("/proc/self/mountinfo"), as: UTF8.self))
    }

    /// Parses proc_pid_mountinfo(5). Of several mounts the last below /sys/fs/cgroup wins, as it hides the earlier ones; one elsewhere (in
    /// some container's root) counts only when there is none there.
    public static func parse(mountInfo: String) -> CgroupMounts {
        var result = CgroupMounts(controllers: [:], unified: nil)
        for line in mountInfo.split(separator: "\n") where line.utf8.count > 20 {
            guard let separator = line.range(of: " - cgroup") else { continue }
            let left = line[..<separator.lowerBound].split(separator: " ")
            let right = line[separator.lowerBound...].split(separator: " ")
            guard left.count > 4, right.count > 3 else { continue }
            let mountPoint = String(left[4])
            func hides(_ known: String?) -> Bool { known == nil || mountPoint.hasPrefix("/sys/fs/cgroup") }
            if right[1] == "cgroup2" {
                if hides(result.unified) { result.unified = mountPoint }
            } else if right[1] == "cgroup" {
                for option in right[3].split(separator: ",") where option != "rw" && option != "ro" && hides(result.controllers[String(option)]) {
                    result.controllers[String(option)] = mountPoint
                }
            }
        }
        return result
    }
}

extension Substring {
    /// The first occurrence of a text: the standard library has this only with Foundation.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}

/// One line of the device controller's list (cgroups v1 devices.txt).
public struct DeviceRule: Sendable, Equatable {
    public var allow: Bool
    /// "a", "b" or "c".
    public var type: Character
    /// nil stands for "*".
    public var major: UInt32?
    public var minor: UInt32?
    /// Some of "r", "w", "m".
    public var access: String

    public init(allow: Bool, type: Character, major: UInt32?, minor: UInt32?, access: String) {
        self.allow = allow
        self.type = type
        self.major = major
        self.minor = minor
        self.access = access
    }

    var line: String {
        "\(type) \(major.map(String.init) ?? "*"):\(minor.map(String.init) ?? "*") \(access)"
    }
}

/// One file of a v1 group and what is written to it.
public struct CgroupSetting: Sendable, Equatable {
    public var controller: String
    public var file: String
    public var value: String
    /// What it limits, in words.
    public var name: String
    /// The file's name on kernels that do not have `file`.
    public var alternative: String?

    public init(controller: String, file: String, value: String, name: String, alternative: String? = nil) {
        self.controller = controller
        self.file = file
        self.value = value
        self.name = name
        self.alternative = alternative
    }
}

/// What a control group is to limit. nil = not limited by this group.
public struct CgroupLimits: Sendable {
    /// Processes and threads.
    public var pids: Int64?
    /// Bytes.
    public var memory: Int64?
    /// Bytes of memory and swap together, as v1 counts.
    public var memoryAndSwap: Int64?
    /// Bytes that are kept when memory is short.
    public var memoryReservation: Int64?
    /// Relative weight as v1 counts, 2…262144.
    public var cpuShares: UInt64?
    /// Microseconds per period.
    public var cpuQuota: Int64?
    /// Microseconds.
    public var cpuPeriod: UInt64?
    /// Microseconds that unused quota may add to one period (v2).
    public var cpuBurst: UInt64?
    /// 1: runs only when nothing else wants to (v2).
    public var cpuIdle: Int64?
    /// Lists such as "0-3,7".
    public var cpusetCPUs: String?
    public var cpusetMemory: String?
    /// Relative weight of input and output as v1 counts, 10…1000.
    public var ioWeight: UInt16?
    public var ioDeviceWeights: [(device: String, weight: UInt16)] = []
    /// device "MAJOR:MINOR", one of rbps, wbps, riops, wiops (v2), and how many bytes or operations a second.
    public var ioMaximum: [(device: String, key: String, rate: UInt64)] = []
    /// Huge pages: "2MB" → bytes.
    public var hugePages: [(size: String, bytes: UInt64)] = []
    /// device → handles and objects.
    public var rdma: [(device: String, handles: UInt32?, objects: UInt32?)] = []
    /// Files of v2 and what is written to them.
    public var unified: [(file: String, value: String)] = []
    /// What only v1 has a file for.
    public var settings: [CgroupSetting] = []
    /// Controllers that a container gets a group in so that its use is counted, not for a limit (v1).
    public var countedBy: [String] = []
    /// In order; the first is usually "deny everything".
    public var devices: [DeviceRule]

    public init() { devices = [] }
}
