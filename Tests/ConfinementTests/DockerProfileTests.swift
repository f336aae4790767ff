import Confinement
import Testing

@Suite struct DockerProfileTests {
    private static let profile = #"""
        {
          "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
          "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}
          ],
          "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x", "includes": {}, "excludes": {}},
            {"name": "old_style", "action": "SCMP_ACT_ALLOW"},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
            {"names": ["two"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
             "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["set_tls"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm", "arm64"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}}
          ]
        }
        """#

    private func filter(_ capabilities: CapabilitySet = [], _ architecture: Architecture = .x86_64) throws -> SyscallFilter {
        try DockerSeccompProfile(Array(Self.profile.utf8), source: "p.json")
            .filter(capabilities: capabilities, architecture: architecture, kernel: KernelVersion(major: 6, minor: 1))
    }

    @Test func conditionsOnTheMachine() throws {
        let plain = try filter()
        #expect(plain.defaultAction == .errno(38))
        #expect(plain.architectures == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        #expect(plain.reachable == ["read", "write", "old_style", "ptrace", "clone", "arch_prctl"])
        #expect(try filter([], .aarch64).reachable == ["read", "write", "old_style", "ptrace", "clone", "set_tls"])
        #expect(try filter([], .aarch64).architectures == ["SCMP_ARCH_AARCH64"])
    }

    @Test func conditionsOnCapabilities() throws {
        #expect(try filter(CapabilitySet([.sysChroot])).reachable.contains("chroot"))
        #expect(try !filter(CapabilitySet([.sysChroot])).reachable.contains("two"))
        let admin = try filter(CapabilitySet([.sysAdmin, .sysChroot]))
        #expect(admin.reachable.contains("two") && !admin.reachable.contains("clone"))
        #expect(try filter().action(for: "clone3") == .errno(38))
        #expect(!admin.rules.contains { $0.names == ["clone3"] })
    }

    @Test func argumentsAreKept() throws {
        let plain = try filter()
        #expect(plain.action(for: "clone", arguments: [0x11]) == .allow)
        #expect(plain.action(for: "clone", arguments: [0x1000_0011]) == .errno(38))
    }

    @Test func theOCIFormIsAProfileToo() throws {
        let text =
            #"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO"}]}"#
        let filter = try DockerSeccompProfile(Array(text.utf8), source: "p").filter(
            capabilities: [], architecture: .x86_64, kernel: .init(major: 5, minor: 10))
        #expect(
            filter.action(for: "chmod") == .errno(1) && filter.architectures == ["SCMP_ARCH_X86_64"]
                && filter.flags == ["SECCOMP_FILTER_FLAG_LOG"])
    }

    @Test(arguments: [
        ("{", "invalid JSON"), ("[]", "expected an object"), (#"{"syscalls":[]}"#, "“defaultAction” is missing"),
        (#"{"defaultAction":"SCMP_ACT_FLY"}"#, "no action is named"),
        (#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#, "names no system call"),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_KILL","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "no argument 6"
        ),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "syscalls[0].args[0].value"
        ),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"EQ"}]}]}"#,
            "no comparison"
        ),
        (
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_KILL","includes":{"minKernel":"new"}}]}"#,
            "no kernel version"
        ),
        (#"{"defaultAction":"SCMP_ACT_ALLOW","defaultAction":"SCMP_ACT_KILL"}"#, "occurs twice"),
    ])
    func mistakesAreNamed(_ text: String, _ part: String) throws {
        let message = try refusal {
            try resolve { $0.security.seccomp = .profile(Array(text.utf8), source: "p.json") }
        }
        #expect(message.contains(part))
    }
}
