import Glibc
import Testing

@testable import LinuxKernel

@Suite("Tables of the kernel")
struct KernelTablesTests {
    @Test("Capabilities are unique and cover the running kernel")
    func capabilities() throws {
        #expect(Set(Capability.all.map(\.name)).count == Capability.all.count)
        #expect(Capability.all.map(\.rawValue) == Array(0..<UInt8(Capability.all.count)))
        let last = try #require(Int(String(decoding: try readFile("/proc/sys/kernel/cap_last_cap"), as: UTF8.self).filter(\.isNumber)))
        #expect(last < Capability.all.count, "this kernel knows a capability that the table does not")
        #expect(Int(ThreadCapabilities.last()) == last)
    }

    @Test("The capabilities of the level standard have the mask that /proc shows")
    func standardMask() {
        let names = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"]
        #expect(CapabilitySet(names.compactMap { Capability(named: "CAP_" + $0) }).mask == 0x4fb)
        #expect(Capability(named: "CHOWN") == nil)
        #expect(Capability(named: "cap_chown") == nil)
    }

    @Test("Landlock rights: names, bits and ABI")
    func landlock() {
        #expect(Set(LandlockAccess.table.map(\.name)).count == LandlockAccess.table.count)
        #expect(LandlockAccess.all(abi: 1).rawValue == 0x1fff)
        #expect(LandlockAccess.all(abi: 2).rawValue == 0x3fff)
        #expect(LandlockAccess.all(abi: 5).rawValue == 0xffff)
        #expect(LandlockAccess.fileRights.rawValue == 0xc007)
    }

    @Test("Resource limits are numbered as the kernel numbers them")
    func limits() {
        #expect(ResourceLimit.number(of: "RLIMIT_NPROC") == 6)
        #expect(ResourceLimit.number(of: "RLIMIT_NOFILE") == 7)
        #expect(ResourceLimit.number(of: "NOFILE") == nil)
    }
}

@Suite("Control group hierarchies")
struct CgroupMountsTests {
    private let hybrid = """
        24 1 0:21 / /proc rw,relatime - proc proc rw
        30 25 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
        32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
        33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
        """

    @Test("Hybrid, v1, v2 and none are told apart")
    func modes() {
        let mounts = CgroupMounts.parse(mountInfo: hybrid)
        #expect(mounts.mode == .hybrid)
        #expect(mounts.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct")
        #expect(mounts.controllers["pids"] == "/sys/fs/cgroup/pids")
        #expect(mounts.unified == "/sys/fs/cgroup/unified")
        let lines = hybrid.split(separator: "\n")
        #expect(CgroupMounts.parse(mountInfo: lines.dropLast().joined(separator: "\n")).mode == .v1)
        #expect(CgroupMounts.parse(mountInfo: String(lines[4])).mode == .v2)
        #expect(CgroupMounts.parse(mountInfo: String(lines[0])).mode == .none)
    }

    @Test("A group's path may not climb", arguments: ["/../x", "a/../../b", "", "/x\0y"])
    func hostilePath(_ path: String) {
        let mounts = CgroupMounts(controllers: ["pids": "/nonexistent"], unified: nil)
        #expect(throws: KernelError.self) { try CgroupV1.create(mounts, path: path, limits: CgroupLimits()) }
    }
}

@Suite("Filters")
struct SeccompFilterTests {
    @Test("A filter compiles; unknown calls are named; the wrong architecture is refused")
    func compile() throws {
        let rules = [SeccompRule(names: ["read", "write", "no_such_call"], action: .allow, conditions: [])]
        let compiled = try SeccompFilter.compile(defaultAction: .errno(38), architectures: [], rules: rules)
        #expect(compiled.unknown == ["no_such_call"])
        #expect(compiled.filter.instructions.count % 8 == 0)
        #expect(compiled.filter.instructions.count > 32)
        #expect(throws: KernelError.self) {
            try SeccompFilter.compile(defaultAction: .allow, architectures: ["pdp11"], rules: [])
        }
    }
}

@Suite("The resolver (rule R4)")
struct RootDirectoryTests {
    @Test("Links inside a root never lead outside")
    func confinement() throws {
        var template = Array("/tmp/coffer-root-XXXXXX".utf8CString)
        let made = try #require(mkdtemp(&template))
        let path = String(cString: made)
        defer {
            for name in ["up", "abs", "dangling", "a/b", "a", "x"] {
                unlink("\(path)/\(name)")
                rmdir("\(path)/\(name)")
            }
            rmdir(path)
        }
        symlink("../../../../../etc/passwd", path + "/up")
        symlink("/etc", path + "/abs")
        symlink("/nowhere/at/all", path + "/dangling")
        let root = RootDirectory(try FileDescriptor.open(path, RootDirectory.pathOnly | O_DIRECTORY))
        #expect(try root.isDirectory("/up") == nil)
        #expect(try root.isDirectory("/abs/passwd") == nil)
        #expect(throws: KernelError.self) { try root.openWithoutLinks("/abs", RootDirectory.pathOnly) }
        #expect(throws: KernelError.self) { try root.openBeneath("../x", RootDirectory.pathOnly) }
        // A dangling link is not followed to make what it names.
        #expect(throws: KernelError.self) { try root.makeDirectories("/dangling/x") }
        #expect(access("/nowhere", F_OK) != 0)
        _ = try root.makeDirectories("/a/b")
        #expect(try root.isDirectory("/a/b") == true)
        // ".." stops at the root, as it does for a program inside.
        _ = try root.makeDirectories("/a/../../x")
        #expect(access(path + "/x", F_OK) == 0)
    }
}
