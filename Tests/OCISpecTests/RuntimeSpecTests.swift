import OCISpec
import StrictJSON
import Testing

@Suite struct RuntimeSpecTests {
    @Test(arguments: ["1.0.0", "1.2.0", "1.0.2-dev", "1.3.0", "1.1.0+build", "1.0.0-rc5"])
    func acceptsEveryVersionOne(_ version: String) { #expect(RuntimeSpec.accepts(version: version)) }

    @Test(arguments: ["", "1", "1.0", "2.0.0", "0.9.0", "1.x.0", "1..0", "1.0.0.0", "11.0.0", "-1.0.0", " 1.0.0", "1.+0.0"])
    func refusesOthers(_ version: String) { #expect(!RuntimeSpec.accepts(version: version)) }

    /// One document with every member of the specification; each must survive reading and writing.
    static let complete = #"""
        {"ociVersion":"1.2.0","process":{"terminal":true,"consoleSize":{"height":25,"width":80},
        "user":{"uid":1,"gid":4294967295,"umask":63,"additionalGids":[5,6]},"args":["sh"],"commandLine":"x","env":["A=b"],"cwd":"/",
        "capabilities":{"bounding":["CAP_KILL"],"effective":[],"inheritable":[],"permitted":["CAP_KILL"],"ambient":[]},
        "rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":18446744073709551615}],"noNewPrivileges":true,"apparmorProfile":"a",
        "oomScoreAdj":-100,"scheduler":{"policy":"SCHED_DEADLINE","nice":-1,"priority":2,"flags":["SCHED_FLAG_RECLAIM"],"runtime":1,"deadline":2,"period":3},
        "selinuxLabel":"l","ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4},"execCPUAffinity":{"initial":"0","final":"0-3"}},
        "root":{"path":"rootfs","readonly":true},"hostname":"h","domainname":"d",
        "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid"],
        "uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":100000,"size":65536}]}],
        "hooks":{"prestart":[{"path":"/a","args":["a"],"env":["B=c"],"timeout":3}],"createRuntime":[{"path":"/b"}],"createContainer":[{"path":"/c"}],
        "startContainer":[{"path":"/d"}],"poststart":[{"path":"/e"}],"poststop":[{"path":"/f"}]},"annotations":{"k":"v"},
        "linux":{"uidMappings":[{"containerID":0,"hostID":1,"size":2}],"gidMappings":[{"containerID":0,"hostID":1,"size":2}],"sysctl":{"net.ipv4.ip_forward":"1"},
        "resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}],
        "memory":{"limit":1,"reservation":2,"swap":-1,"kernel":3,"kernelTCP":4,"swappiness":5,"disableOOMKiller":true,"useHierarchy":true,"checkBeforeUpdate":true},
        "cpu":{"shares":1,"quota":-1,"burst":2,"period":3,"realtimeRuntime":4,"realtimePeriod":5,"cpus":"0","mems":"0","idle":1},"pids":{"limit":-1},
        "blockIO":{"weight":10,"leafWeight":11,"weightDevice":[{"major":8,"minor":0,"weight":1,"leafWeight":2}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]},
        "hugepageLimits":[{"pageSize":"2MB","limit":5}],"network":{"classID":1,"priorities":[{"name":"eth0","priority":2}]},
        "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4}},"unified":{"memory.high":"max"}},"cgroupsPath":"/c",
        "namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"},{"type":"mount"},{"type":"ipc"},{"type":"uts"},{"type":"user"},{"type":"cgroup"},{"type":"time"}],
        "devices":[{"type":"c","path":"/dev/fuse","major":10,"minor":229,"fileMode":438,"uid":0,"gid":0}],"netDevices":{"eth0":{"name":"net0"}},
        "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath":"/l","listenerMetadata":"m","syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW","errnoRet":1,
        "args":[{"index":0,"value":4294967295,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]}]},
        "rootfsPropagation":"slave","maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],"mountLabel":"ml",
        "intelRdt":{"closID":"c","schemata":["L3:0=f"],"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20","enableCMT":true,"enableMBM":false,"enableMonitoring":true},
        "personality":{"domain":"LINUX32","flags":[]},"timeOffsets":{"monotonic":{"secs":-1,"nanosecs":2}}}}
        """#

    @Test func everyMemberSurvives() throws {
        let original = try JSONParser().parse(Self.complete)
        // Refusing unknown keys proves that each member above has a property.
        let spec = try StrictJSONDecoder.rejectUnknownKeys.decode(RuntimeSpec.self, from: original)
        #expect(try StrictJSONEncoder().encodeToValue(spec) == original)
    }

    @Test func ignoresWhatItDoesNotKnow() throws {
        let text = #"{"ociVersion":"1.2.0","solaris":{},"linux":{"cpuGovernor":{"mode":"x"},"devices":null}}"#
        let spec = try StrictJSONDecoder().decode(RuntimeSpec.self, from: Array(text.utf8))
        #expect(spec == RuntimeSpec(linux: .init()))
        #expect(String(decoding: try StrictJSONEncoder().encode(spec), as: UTF8.self) == #"{"ociVersion":"1.2.0","linux":{}}"#)
    }

    @Test(arguments: [
        (#"{"ociVersion":"1.2.0","process":{"cwd":"/","user":{"uid":4294967296,"gid":0}}}"#, "process.user.uid"),
        (#"{"ociVersion":"1.2.0","process":{"cwd":"/","user":{"uid":-1,"gid":0}}}"#, "process.user.uid"),
        (#"{"ociVersion":"1.2.0","linux":{"namespaces":[{"type":"pid"},{"type":"net"}]}}"#, "linux.namespaces[1].type"),
        (#"{"ociVersion":"1.2.0","linux":{"uidMappings":[{"containerID":0,"hostID":0}]}}"#, "linux.uidMappings[0]"),
        (#"{"ociVersion":"1.2.0","process":{"args":["a",1],"cwd":"/"}}"#, "process.args[1]"),
    ])
    func errorsNameThePlace(_ text: String, _ path: String) {
        let error = #expect(throws: JSONDecodingError.self) {
            try StrictJSONDecoder().decode(RuntimeSpec.self, from: Array(text.utf8))
        }
        #expect(error?.path == path)
    }

    @Test func stateOfARuntime() throws {
        let state = RuntimeContainerState(id: "x", status: .running, pid: 7, bundle: "/b")
        let text = #"{"ociVersion":"1.2.0","id":"x","status":"running","pid":7,"bundle":"/b"}"#
        #expect(String(decoding: try StrictJSONEncoder().encode(state), as: UTF8.self) == text)
        #expect(try StrictJSONDecoder().decode(RuntimeContainerState.self, from: Array(text.utf8)) == state)
    }
}
