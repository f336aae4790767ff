import Testing

@testable import LinuxKernel

/// The kernel's answer to a request, worked out from the instructions as the kernel does.
private func answer(_ program: DeviceProgram, type: UInt32, access: UInt32, major: UInt32, minor: UInt32) throws -> Int32 {
    struct Invalid: Error {}
    let context = [access << 16 | type, major, minor]
    var registers = [UInt32](repeating: 0, count: 11)
    var counter = 0
    while counter < program.instructions.count {
        let instruction = program.instructions[counter]
        let destination = Int(instruction.registers & 15)
        let source = Int(instruction.registers >> 4)
        let value = UInt32(bitPattern: instruction.immediate)
        counter += 1
        switch instruction.code {
        case 0x61: registers[destination] = context[Int(instruction.offset) / 4]
        case 0xbc: registers[destination] = registers[source]
        case 0x54: registers[destination] &= value
        case 0x74: registers[destination] >>= value
        case 0xb7: registers[destination] = value
        case 0x56: if registers[destination] != value { counter += Int(instruction.offset) }
        case 0x16: if registers[destination] == value { counter += Int(instruction.offset) }
        case 0x95: return Int32(bitPattern: registers[0])
        default: throw Invalid()
        }
    }
    throw Invalid()
}

@Suite struct DeviceProgramTests {
    /// What the rules say, bit by bit, without any program: the last one that speaks of an access decides.
    private func expected(_ rules: [DeviceRule], type: UInt32, access: UInt32, major: UInt32, minor: UInt32) -> Bool {
        for (bit, letter) in [(UInt32(1), "m"), (2, "r"), (4, "w")] where access & bit != 0 {
            var allowed = true
            for rule in rules {
                let typeMatches = rule.type == "a" || rule.type == (type == 1 ? "b" : "c")
                let matches = typeMatches && (rule.major ?? major) == major && (rule.minor ?? minor) == minor && rule.access.contains(letter)
                if matches { allowed = rule.allow }
            }
            if !allowed { return false }
        }
        return true
    }

    private func check(_ rules: [DeviceRule]) throws {
        let program = DeviceProgram(rules)
        for type in UInt32(1)...2 {
            for access in UInt32(1)...7 {
                for (major, minor) in [(1, 3), (1, 5), (8, 0), (8, 1), (136, 7), (200, 4_000_000_000)] as [(UInt32, UInt32)] {
                    let found = try answer(program, type: type, access: access, major: major, minor: minor)
                    let wanted = expected(rules, type: type, access: access, major: major, minor: minor)
                    #expect(found == (wanted ? 1 : 0), "\(rules): type \(type), access \(access), \(major):\(minor)")
                }
            }
        }
    }

    @Test func `rules decide as v1's list does`() throws {
        let denyAll = DeviceRule(allow: false, type: "a", major: nil, minor: nil, access: "rwm")
        let null = DeviceRule(allow: true, type: "c", major: 1, minor: 3, access: "rw")
        let disks = DeviceRule(allow: true, type: "b", major: 8, minor: nil, access: "r")
        let notThis = DeviceRule(allow: false, type: "b", major: 8, minor: 1, access: "r")
        let large = DeviceRule(allow: true, type: "c", major: 200, minor: 4_000_000_000, access: "rwm")
        try check([denyAll])
        try check([denyAll, null])
        try check([denyAll, null, disks, notThis, large])
        try check([
            denyAll, DeviceRule(allow: true, type: "c", major: 1, minor: 3, access: "r"),
            DeviceRule(allow: true, type: "c", major: nil, minor: 3, access: "w"),
        ])
        try check([DeviceRule(allow: false, type: "c", major: 1, minor: nil, access: "w")])
        try check([denyAll, DeviceRule(allow: true, type: "a", major: nil, minor: nil, access: "rwm"), notThis])
    }

    @Test func `random rules decide as v1's list does`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            var rules = [DeviceRule(allow: Bool.random(using: &generator), type: "a", major: nil, minor: nil, access: "rwm")]
            for _ in 0..<Int.random(in: 0...6, using: &generator) {
                rules.append(
                    DeviceRule(
                        allow: Bool.random(), type: ["a", "b", "c"].randomElement() ?? "a", major: [nil, 1, 8, 136].randomElement() ?? nil,
                        minor: [nil, 0, 1, 3, 7].randomElement() ?? nil, access: ["r", "w", "m", "rw", "rm", "wm", "rwm"].randomElement() ?? "r"))
            }
            try check(rules)
        }
    }
}

@Suite struct CgroupV2Tests {
    @Test func `v1's shares become v2's weight by a curve through its ends and its middle`() {
        #expect([0, 2, 1024, 262_144, .max].map(CgroupV2Setting.cpuWeight) == [1, 1, 100, 10_000, 10_000])
        #expect([10, 500, 1000, 5].map(CgroupV2Setting.ioWeight) == [1, 4950, 10_000, 1])
    }

    @Test func `limits become the writes of v2's files`() {
        var limits = CgroupLimits()
        limits.memory = 100
        limits.memoryAndSwap = 150
        limits.memoryReservation = 50
        limits.cpuQuota = 20_000
        limits.cpuPeriod = 50_000
        limits.pids = -1
        limits.ioMaximum = [("8:0", "rbps", 1000), ("8:0", "wiops", 0)]
        limits.hugePages = [("2MB", 4096)]
        limits.rdma = [("mlx", 3, nil)]
        limits.unified = [("memory.high", "90"), ("io.latency", "8:0 target=1\n8:16 target=2")]
        let found = CgroupV2Setting.all(limits).map { "\($0.file)=\($0.value)" }
        #expect(
            found == [
                "cpu.max=20000 50000", "memory.max=100", "memory.swap.max=50", "memory.low=50", "io.max=8:0 rbps=1000", "io.max=8:0 wiops=max",
                "pids.max=max", "hugetlb.2MB.max=4096", "rdma.max=mlx hca_handle=3", "memory.high=90", "io.latency=8:0 target=1",
                "io.latency=8:16 target=2",
            ])
        #expect(CgroupV2Setting.controllers(limits) == ["cpu", "io", "memory", "pids", "hugetlb", "rdma"])
    }

    @Test(
        arguments: [(nil, nil, nil), (100, nil, nil), (100, 100, 0), (100, -1, -1), (-1, -1, -1), (nil, 50, nil), (100, 50, 0)]
            as [(Int64?, Int64?, Int64?)])
    func `memory and swap together become swap alone`(memory: Int64?, both: Int64?, expected: Int64?) {
        var limits = CgroupLimits()
        limits.memory = memory
        limits.memoryAndSwap = both
        #expect(CgroupV2Setting.swapOnly(limits) == expected)
    }

    @Test func `a hierarchy that is mounted in somebody's root is not the machine's`() {
        let own = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
        let other = "99 24 0:30 / /var/lib/x/rootfs/sys/fs/cgroup ro - cgroup2 cgroup2 rw"
        #expect(CgroupMounts.parse(mountInfo: own + "\n" + other).unified == "/sys/fs/cgroup")
        #expect(CgroupMounts.parse(mountInfo: other + "\n" + own).unified == "/sys/fs/cgroup")
    }
}
