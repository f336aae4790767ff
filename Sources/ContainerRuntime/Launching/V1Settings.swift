import LinuxKernel
import OCISpec

/// What cgroup v1 has files for and v2 has not, or names otherwise (Linux admin guide, cgroup-v1).
enum V1Settings {
    static func of(_ resources: RuntimeSpec.Resources) -> [CgroupSetting] {
        memory(resources.memory) + processor(resources.cpu) + blocks(resources.blockIO) + network(resources.network)
            + (resources.hugepageLimits ?? []).map {
                CgroupSetting(
                    controller: "hugetlb", file: "hugetlb.\($0.pageSize).limit_in_bytes", value: "\($0.limit)", name: "huge pages \($0.pageSize)")
            }
            + (resources.rdma ?? [:]).sorted { $0.key < $1.key }.map { device, limits in
                let handles = limits.hcaHandles.map { " hca_handle=\($0)" } ?? ""
                let objects = limits.hcaObjects.map { " hca_object=\($0)" } ?? ""
                return CgroupSetting(controller: "rdma", file: "rdma.max", value: device + handles + objects, name: "rdma \(device)")
            }
    }

    private static func memory(_ memory: RuntimeSpec.Memory?) -> [CgroupSetting] {
        func setting(_ file: String, _ value: String?, _ name: String) -> CgroupSetting? {
            value.map { CgroupSetting(controller: "memory", file: "memory.\(file)", value: $0, name: name) }
        }
        // memory.kmem.limit_in_bytes is no more (Linux 5.16 refuses it): `kernel` is left out, as every runtime does.
        return [
            setting("kmem.tcp.limit_in_bytes", memory?.kernelTCP.flatMap { $0 == 0 ? nil : "\($0)" }, "kernel TCP memory"),
            setting("swappiness", memory?.swappiness.map(String.init), "swappiness"),
            setting("oom_control", memory?.disableOOMKiller == true ? "1" : nil, "no out-of-memory killer"),
        ].compactMap { $0 }
    }

    private static func processor(_ cpu: RuntimeSpec.CPU?) -> [CgroupSetting] {
        func setting(_ file: String, _ value: String?, _ name: String) -> CgroupSetting? {
            value.map { CgroupSetting(controller: "cpu", file: "cpu.\(file)", value: $0, name: name) }
        }
        return [
            setting("cfs_burst_us", cpu?.burst.map(String.init), "cpu burst"),
            setting("rt_period_us", cpu?.realtimePeriod.flatMap { $0 == 0 ? nil : "\($0)" }, "cpu real-time period"),
            setting("rt_runtime_us", cpu?.realtimeRuntime.flatMap { $0 == 0 ? nil : "\($0)" }, "cpu real-time runtime"),
            setting("idle", cpu?.idle.map(String.init), "cpu idle"),
        ].compactMap { $0 }
    }

    private static func blocks(_ blocks: RuntimeSpec.BlockIO?) -> [CgroupSetting] {
        guard let blocks else { return [] }
        func setting(_ file: String, _ value: String, _ name: String, or other: String? = nil) -> CgroupSetting {
            CgroupSetting(controller: "blkio", file: "blkio.\(file)", value: value, name: name, alternative: other.map { "blkio.\($0)" })
        }
        var result: [CgroupSetting] = []
        // BFQ has names of its own (Linux 5.0).
        if let weight = blocks.weight, weight != 0 { result.append(setting("weight", "\(weight)", "block weight", or: "bfq.weight")) }
        if let weight = blocks.leafWeight, weight != 0 { result.append(setting("leaf_weight", "\(weight)", "block leaf weight")) }
        for device in blocks.weightDevice ?? [] {
            let number = "\(device.major):\(device.minor)"
            if let weight = device.weight {
                result.append(setting("weight_device", "\(number) \(weight)", "block weight of \(number)", or: "bfq.weight_device"))
            }
            if let weight = device.leafWeight {
                result.append(setting("leaf_weight_device", "\(number) \(weight)", "block leaf weight of \(number)"))
            }
        }
        let lists = [
            ("read_bps", blocks.throttleReadBpsDevice), ("write_bps", blocks.throttleWriteBpsDevice), ("read_iops", blocks.throttleReadIOPSDevice),
            ("write_iops", blocks.throttleWriteIOPSDevice),
        ]
        for (kind, list) in lists {
            result += (list ?? []).map {
                setting("throttle.\(kind)_device", "\($0.major):\($0.minor) \($0.rate)", "\(kind) of \($0.major):\($0.minor)")
            }
        }
        return result
    }

    private static func network(_ network: RuntimeSpec.Network?) -> [CgroupSetting] {
        var result: [CgroupSetting] = []
        if let number = network?.classID, number != 0 {
            result.append(CgroupSetting(controller: "net_cls", file: "net_cls.classid", value: "\(number)", name: "network class"))
        }
        for priority in network?.priorities ?? [] {
            result.append(
                CgroupSetting(
                    controller: "net_prio", file: "net_prio.ifpriomap", value: "\(priority.name) \(priority.priority)",
                    name: "network priority of \(priority.name)"))
        }
        return result
    }
}
