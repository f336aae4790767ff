import LaunchPlan
import LinuxKernel
import OCISpec
import Testing

@testable import ContainerRuntime

@Suite("Limits of a configuration in cgroup v1's files")
struct GroupSettingTests {
    private func files(_ resources: RuntimeSpec.Resources) -> [String] {
        V1Settings.of(resources).map { "\($0.controller) \($0.file) \($0.value)" }
    }

    @Test("Block devices: weights and throttles, with BFQ's names to fall back to")
    func blocks() {
        var resources = RuntimeSpec.Resources()
        resources.blockIO = .init(
            weight: 500, weightDevice: [.init(major: 8, minor: 0, weight: 300, leafWeight: 200)],
            throttleReadBpsDevice: [.init(major: 8, minor: 16, rate: 1024)])
        #expect(
            files(resources) == [
                "blkio blkio.weight 500", "blkio blkio.weight_device 8:0 300", "blkio blkio.leaf_weight_device 8:0 200",
                "blkio blkio.throttle.read_bps_device 8:16 1024",
            ])
        #expect(V1Settings.of(resources)[0].alternative == "blkio.bfq.weight")
    }

    @Test("Memory, processor, network, huge pages and RDMA")
    func others() {
        var resources = RuntimeSpec.Resources()
        resources.memory = .init(kernel: 1, kernelTCP: 4096, swappiness: 7, disableOOMKiller: true)
        resources.cpu = .init(burst: 10, realtimeRuntime: 950, realtimePeriod: 1000, idle: 1)
        resources.network = .init(classID: 0x10001, priorities: [.init(name: "lo", priority: 5)])
        resources.hugepageLimits = [.init(pageSize: "2MB", limit: 1 << 21)]
        resources.rdma = ["mlx5_1": .init(hcaHandles: 3, hcaObjects: 9)]
        #expect(
            files(resources) == [
                "memory memory.kmem.tcp.limit_in_bytes 4096", "memory memory.swappiness 7", "memory memory.oom_control 1",
                "cpu cpu.cfs_burst_us 10", "cpu cpu.rt_period_us 1000", "cpu cpu.rt_runtime_us 950", "cpu cpu.idle 1",
                "net_cls net_cls.classid 65537", "net_prio net_prio.ifpriomap lo 5", "hugetlb hugetlb.2MB.limit_in_bytes 2097152",
                "rdma rdma.max mlx5_1 hca_handle=3 hca_object=9",
            ])
    }

    @Test("A page size becomes part of a file's name, and is nothing else", arguments: ["", "MB", "2", "2mb", "2MB/..", "../2MB", "+2MB", "2 MB"])
    func pageSize(_ size: String) throws {
        var resources = RuntimeSpec.Resources()
        resources.hugepageLimits = [.init(pageSize: size, limit: 0)]
        #expect(throws: PlanError.self) { try CgroupLimits(resources) }
        resources.hugepageLimits = [.init(pageSize: "64KB", limit: 7)]
        #expect(try CgroupLimits(resources).hugePages.map(\.0) == ["64KB"])
    }

    @Test("A limit of 0 is what engines send for none")
    func zeros() {
        var resources = RuntimeSpec.Resources(memory: .init(limit: 0, swap: 5), cpu: .init(shares: 0, quota: -1, cpus: ""), pids: .init(limit: 0))
        resources = resources.withoutZeros
        #expect(resources.memory?.limit == nil)
        #expect(resources.memory?.swap == 5)
        #expect(resources.cpu?.shares == nil)
        #expect(resources.cpu?.quota == -1)
        #expect(resources.cpu?.cpus == nil)
        #expect(resources.pids == nil)
    }

    @Test("Groups are known again by their directories")
    func existing() {
        let mounts = CgroupMounts(controllers: ["cpu": "/c/cpu,cpuacct", "cpuacct": "/c/cpu,cpuacct", "pids": "/c/pids"], unified: nil)
        let groups = CgroupV1(existing: ["/c/cpu,cpuacct/x", "/c/pids/x"], mounts)
        #expect(groups.directories.map(\.controller) == ["cpu", "cpuacct", "pids"])
        #expect(groups.directories.map(\.path) == ["/c/cpu,cpuacct/x", "/c/cpu,cpuacct/x", "/c/pids/x"])
    }
}

@Suite("The namespace that an ordinary user's bundle is started from")
struct BundleNamespaceTests {
    @Test("Host IDs are themselves, each once, the user's own among them")
    func lines() {
        func text(_ ranges: [RuntimeSpec.IDMapping], _ own: UInt32) -> [String] {
            BundleNamespace.lines(ranges, own: own).map { "\($0.inside) \($0.outside) \($0.count)" }
        }
        #expect(text([RuntimeSpec.IDMapping(containerID: 0, hostID: 1000, size: 1)], 1000) == ["1000 1000 1"])
        let usual = [
            RuntimeSpec.IDMapping(containerID: 0, hostID: 1000, size: 1), RuntimeSpec.IDMapping(containerID: 1, hostID: 100_000, size: 65536),
        ]
        #expect(text(usual, 1000) == ["1000 1000 1", "100000 100000 65536"])
        #expect(text([RuntimeSpec.IDMapping(containerID: 0, hostID: 1001, size: 9)], 1000) == ["1000 1000 1", "1001 1001 9"])
        #expect(
            text([RuntimeSpec.IDMapping(containerID: 0, hostID: 5, size: 9), RuntimeSpec.IDMapping(containerID: 20, hostID: 7, size: 9)], 0) == [
                "0 0 1", "5 5 11",
            ])
    }
}
