import Fuzzing
import StrictJSON

/// Documents that are right: every member that the specifications know is in one of them at least.
enum Corpus {
    static func documents(_ texts: [(name: String, text: String)]) throws -> [(name: String, input: JSONDocument)] {
        try texts.map { ($0.name, try JSONDocument($0.text)) }
    }

    /// Their strings, and names that mean something to the same readers.
    static func words(_ documents: [(name: String, input: JSONDocument)]) -> [String] {
        Set(documents.flatMap { JSONDocument.words(of: $0.input.value) }).sorted() + names
    }

    private static let names = [
        "SCMP_ACT_NOTIFY", "SCMP_ACT_KILL", "SCMP_ACT_TRACE", "SCMP_ARCH_ARM", "SCMP_CMP_NE", "CAP_SYS_ADMIN", "CAP_NONE", "RLIMIT_CPU", "user",
        "time",
        "cgroup", "idmap", "ridmap", "rro", "tmpcopyup", "shared", "unbindable", "remount", "overlay", "cgroup2", "kernel.core_pattern",
        "net.ipv4.ip_forward", "SCHED_DEADLINE", "LINUX32", "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.distribution.manifest.v2+json",
    ]

    static let runtime: [(name: String, text: String)] = [
        ("config.json of root", asRoot), ("config.json of a user", ofUser), ("config.json with every limit", limits),
    ]

    private static let asRoot = #"""
        {"ociVersion":"1.2.0","hostname":"host","domainname":"domain","root":{"path":"rootfs","readonly":true},
         "process":{"terminal":true,"consoleSize":{"height":24,"width":80},"user":{"uid":1,"gid":2,"umask":18,"additionalGids":[3,4]},
          "args":["sh","-c","true"],"env":["PATH=/bin","TERM=xterm"],"cwd":"/","noNewPrivileges":true,"oomScoreAdj":100,
          "capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"],"effective":["CAP_KILL"],"inheritable":[],"permitted":["CAP_KILL"],"ambient":["CAP_KILL"]},
          "rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":2048},{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615}],
          "apparmorProfile":"profile","selinuxLabel":"a:b:c:s0","scheduler":{"policy":"SCHED_BATCH","nice":5,"flags":["SCHED_FLAG_RESET_ON_FORK"]},
          "ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4},"execCPUAffinity":{"initial":"0","final":"0-1"}},
         "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},
          {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
          {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]},
          {"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","rro","rslave"],
           "uidMappings":[{"containerID":0,"hostID":1000,"size":10}],"gidMappings":[{"containerID":0,"hostID":1000,"size":10}]}],
         "hooks":{"createRuntime":[{"path":"/bin/hook","args":["hook","a"],"env":["A=1"],"timeout":5}],"startContainer":[{"path":"/bin/hook"}],
          "createContainer":[{"path":"/bin/hook"}],"poststart":[{"path":"/bin/hook"}],"poststop":[{"path":"/bin/hook","timeout":1}]},
         "annotations":{"org.example.key":"value"},
         "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/a"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"},
           {"type":"time"}],"timeOffsets":{"monotonic":{"secs":5,"nanosecs":7},"boottime":{"secs":-5}},
          "sysctl":{"kernel.msgmax":"65536","kernel.hostname":"a","net.core.somaxconn":"256"},"cgroupsPath":"/group/one","rootfsPropagation":"rslave",
          "devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"uid":0,"gid":0},{"path":"/dev/pipe","type":"p"}],
          "netDevices":{"eth0":{"name":"net%d"},"eth1":{}},
          "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
           "flags":["SECCOMP_FILTER_FLAG_LOG"],"listenerPath":"/run/agent","listenerMetadata":"data",
           "syscalls":[{"names":["read","write","execve"],"action":"SCMP_ACT_ALLOW"},
            {"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":22,"args":[{"index":0,"value":40,"valueTwo":0,"op":"SCMP_CMP_EQ"},
             {"index":1,"value":4294967295,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}]}]},
          "maskedPaths":["/proc/kcore","/proc/keys"],"readonlyPaths":["/proc/sys"],"personality":{"domain":"LINUX"}}}
        """#

    private static let ofUser = #"""
        {"ociVersion":"1.0.2-dev","root":{"path":"/srv/rootfs"},"process":{"user":{"uid":0,"gid":0},"args":["true"],"cwd":"/tmp"},
         "mounts":[{"destination":"proc","type":"proc"},{"destination":"/tmp","type":"tmpfs","options":["tmpcopyup","nodev"]},
          {"destination":"/etc/x","source":"file","options":["bind","ro","idmap"]}],
         "linux":{"uidMappings":[{"containerID":0,"hostID":1000,"size":1},{"containerID":1,"hostID":100000,"size":65536}],
          "gidMappings":[{"containerID":0,"hostID":1000,"size":1}],
          "namespaces":[{"type":"user"},{"type":"mount"},{"type":"pid"},{"type":"network"}],"resources":{"devices":[{"allow":false,"access":"rwm"}]}}}
        """#

    private static let limits = #"""
        {"ociVersion":"1.3.0","root":{"path":"rootfs"},"process":{"args":["true"],"cwd":"/"},
         "linux":{"namespaces":[{"type":"mount"}],"resources":{
          "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},{"allow":true,"type":"b","major":-1}],
          "memory":{"limit":536870912,"reservation":1048576,"swap":-1,"kernel":-1,"kernelTCP":0,"swappiness":60,"disableOOMKiller":false,
           "useHierarchy":true,"checkBeforeUpdate":true},
          "cpu":{"shares":1024,"quota":50000,"burst":1000,"period":100000,"realtimeRuntime":0,"realtimePeriod":0,"cpus":"0-1","mems":"0","idle":0},
          "pids":{"limit":100},"blockIO":{"weight":500,"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":300}],
           "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]},
          "hugepageLimits":[{"pageSize":"2MB","limit":9223372036854771712}],"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":500}]},
          "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}},"unified":{"memory.high":"1000000","pids.max":"33"}}}}
        """#

    /// Coffer's own part of a bundle.
    static let bundleExtension: [(name: String, text: String)] = [
        (
            "coffer.json",
            #"""
            {"root":{"overlay":{"_0":{"lowerDirectories":["/l1","/l2"],"upperDirectory":"/c/upper","workDirectory":"/c/work","stageDirectory":"/c/stage",
              "idmapLowers":true}}},"lockMounts":true,"landlock":{"handlesFileSystem":true,"rules":[{"path":"/","access":["execute","read_file"],
              "optional":false}],"scopeAbstractUnixSockets":true,"scopeSignals":false,"tcpBindPorts":[80],"tcpConnectPorts":[443]},
             "network":{"outbound":{"_0":{"ports":[{"hostAddress":"127.0.0.1","hostPort":8080,"containerPort":80,"transport":"tcp"}],
              "pastaPath":"/usr/bin/pasta","dnsForwardAddress":"169.254.1.1","closeHost":true}}},"stdio":{"stdinOpen":true},
             "log":{"path":"/c/log","maxBytes":10000000,"maxFiles":3},"exitCommand":["/usr/bin/coffer","internal"],"initProcess":true,"userSpec":"root:root",
             "groupNames":["audio"],"filledVolumes":["/data"],"networkNamespaceInside":false,"preferredSteps":["landlock"],"cgroupRequired":false,
             "sharesIDRange":false,"level":"standard"}
            """#
        )
    ]

    static let image: [(name: String, text: String)] = [
        (
            "manifest",
            #"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/x",
             "config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:\#(hex)","size":7},
             "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:\#(hex)","size":1234,"urls":["https://x"],
              "annotations":{"a":"b"}},{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha256:\#(hex)","size":0}],
             "subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:\#(hex)","size":9},"annotations":{"k":"v"}}
            """#
        ),
        (
            "index",
            #"""
            {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
             {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:\#(hex)","size":7,
              "platform":{"os":"linux","architecture":"arm64","variant":"v8","os.version":"1","os.features":["a"]},
              "annotations":{"org.opencontainers.image.ref.name":"localhost/a:1"}},
             {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha512:\#(hex)\#(hex)","size":7,
              "platform":{"os":"unknown","architecture":"unknown"}}],"annotations":{"io.containerd.image.name":"localhost/a:1"}}
            """#
        ),
        (
            "configuration",
            #"""
            {"created":"2026-01-01T00:00:00Z","author":"me","architecture":"amd64","os":"linux","variant":"v1","os.version":"10","config":{"User":"1:2",
              "ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],"Entrypoint":["/e"],"Cmd":["a"],"Volumes":{"/data":{}},"WorkingDir":"/w","Labels":{"a":"b"},
              "StopSignal":"SIGTERM","StopTimeout":5,"Healthcheck":{"Test":["CMD","x"],"Interval":1,"Timeout":2,"StartPeriod":3,"Retries":4},
              "Shell":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:\#(hex)"]},
              "history":[{"created":"2026-01-01T00:00:00Z","created_by":"me","author":"x","comment":"c","empty_layer":true}]}
            """#
        ),
    ]

    static let hex = String(repeating: "0123456789abcdef", count: 4)
}
