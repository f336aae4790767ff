import Confinement
import OCISpec
import StrictJSON
import Testing

@testable import Exposure

/// Documents that are wrong in one place after the other: each is refused with a sentence or scored, and no name gets out of where it belongs.
@Suite struct HostileInputTests {
    private static let inspected = """
        [{"Id": "aa", "Name": "/web", "AppArmorProfile": "docker-default", "ProcessLabel": "", "State": {"Running": true, "Pid": 7},
          "HostConfig": {"NetworkMode": "bridge", "PidMode": "", "IpcMode": "private", "UTSMode": "", "UsernsMode": "", "CgroupnsMode": "private",
            "Privileged": false, "CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"], "SecurityOpt": ["no-new-privileges", "apparmor=x"], "GroupAdd": ["27", "web"],
            "ReadonlyRootfs": true, "Runtime": "runc", "Sysctls": {"net.core.somaxconn": "1"}, "ShmSize": 67108864, "PidsLimit": 7, "Memory": 7, "MemorySwap": 9,
            "MemoryReservation": 5, "CpuShares": 5, "NanoCpus": 5, "CpuQuota": 5, "CpuPeriod": 5, "CpusetCpus": "0", "OomScoreAdj": 5,
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}],
            "DeviceCgroupRules": ["c 1:3 r"], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}, "Tmpfs": {"/t": "size=1m"},
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}, "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"]},
          "Config": {"Image": "nginx", "User": "1:2", "Labels": {"a": "b"}},
          "Mounts": [{"Type": "bind", "Source": "/etc", "Destination": "/etc", "RW": true, "Propagation": "rshared"}]}]
        """

    private static let composed = """
        {"services": {"a": {"image": "x", "user": "1", "group_add": ["27"], "privileged": false, "cap_add": ["ALL"], "cap_drop": ["CHOWN"], "read_only": true,
          "runtime": "runc", "shm_size": "1m", "pid": "host", "ipc": "host", "uts": "host", "cgroup": "host", "security_opt": ["seccomp:x", "apparmor:y"],
          "network_mode": "bridge", "ports": ["127.0.0.1:80-81:80-81/udp", {"target": 80, "published": "80", "host_ip": "::1", "protocol": "tcp"}],
          "volumes": ["/a:/b:ro", {"type": "bind", "source": "/a", "target": "/c", "read_only": true, "bind": {"propagation": "rshared"}}],
          "tmpfs": ["/t:size=1m"], "devices": ["/dev/sda:/dev/sda"], "device_cgroup_rules": ["a *:* rwm"], "sysctls": {"a.b": 1}, "mem_limit": "1g",
          "memswap_limit": "2g", "pids_limit": 7, "cpus": 0.5, "cpuset": "0", "cpu_shares": 7, "oom_score_adj": 7, "ulimits": {"nofile": {"soft": 1, "hard": 2}},
          "deploy": {"resources": {"limits": {"memory": "1g", "pids": 7, "cpus": "1"}}}, "logging": {"options": {"max-size": "1m", "max-file": "3"}}}}}
        """

    private static let pod = """
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": {"hostPID": true, "hostIPC": true, "hostNetwork": true,
          "hostUsers": false, "runtimeClassName": "kata", "automountServiceAccountToken": false, "securityContext": {"runAsUser": 1, "runAsNonRoot": true,
          "supplementalGroups": [1], "fsGroup": 2, "sysctls": [{"name": "a", "value": "b"}], "seccompProfile": {"type": "RuntimeDefault"}},
          "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
          "containers": [{"name": "c", "image": "x", "securityContext": {"privileged": false, "capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]},
          "procMount": "Unmasked", "appArmorProfile": {"type": "Unconfined"}, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true},
          "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "", "protocol": "TCP"}], "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}},
          "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x", "readOnly": true, "mountPropagation": "Bidirectional"}]}]}}
        """

    private static let wrong: [JSONValue] = [
        .null, true, false, "", "\u{0}", "host", "../../etc", "1e309", "nan", "-1", "18446744073709551615", "999999999999g", ":", "=", "/", "[]",
        "%n",
        "\u{202E}\u{1B}[31m<script>", .array([]), .object([:]), .array([.null]), .object(["a": 1]), .array([.array([.array([])])]),
        .number(.signed(-1)), .number(.signed(.min)), .number(.signed(.max)), .number(.unsigned(.max)),
        .string(String(repeating: "a", count: 70_000)),
    ]

    /// Every document that has one value replaced: by its path.
    private static func mutants(_ value: JSONValue) -> [JSONValue] {
        var found = wrong
        switch value {
        case .object(let object):
            for entry in object {
                for changed in mutants(entry.value) {
                    var copy = object
                    copy[entry.key] = changed
                    found.append(.object(copy))
                }
            }
        case .array(let elements):
            for index in elements.indices {
                for changed in mutants(elements[index]) {
                    var copy = elements
                    copy[index] = changed
                    found.append(.array(copy))
                }
            }
        default: break
        }
        return found
    }

    private func check(_ text: String, _ read: (JSONValue) throws -> [Subject]) throws {
        var scorer = try ExposureScore()
        var (refused, scored) = (0, 0)
        for mutant in Self.mutants(try JSONParser().parse(Array(text.utf8))) {
            do {
                for subject in try read(mutant) {
                    let report = scorer.report(subject)
                    #expect((0...10).contains(report.score))
                    scored += 1
                }
            } catch let error as ExposureError {
                #expect(error.message.count > 10 && !error.message.contains("Optional("), "\(error.message.prefix(200))")
                refused += 1
            }
        }
        #expect(refused > 10 && scored > 500)
    }

    @Test func inspectOutput() throws {
        var reader = try InspectReader()
        try check(Self.inspected) { document in try reader.subjects(document) }
    }

    @Test func composeFiles() throws {
        var reader = try ComposeReader { _ throws(ExposureError) in throw ExposureError("there is no such profile") }
        try check(Self.composed) { document in try reader.subjects(document, file: "x") }
    }

    @Test func pods() throws {
        var reader = try KubernetesReader()
        try check(Self.pod) { document in try reader.subjects(document) }
    }

    /// Whatever stands in names, images, paths, options and labels stays text in every form of the report.
    @Test func namesStayNames() throws {
        let evil = "</script><img src=x onerror=alert(1)>\"'&\u{202E}\u{1B}]0;x\u{7}\n\u{9B}31m"
        let subject = try docker(
            host: [
                "CapAdd": ["SYS_ADMIN"], "Runtime": .string(evil), "NetworkMode": "host", "Devices": [["PathInContainer": .string("/dev/" + evil)]],
            ],
            config: ["Image": .string(evil), "User": .string(evil), "Labels": [evil: .string(evil)]], mounts: [bind("/etc/" + evil, "/" + evil)],
            more: ["Name": .string("/" + evil)])
        var scorer = try ExposureScore()
        var report = scorer.report(subject)
        report.applied = .init(tenths: 99, differences: [.init(field: evil, asked: evil, applied: evil, note: evil)])
        for format in ReportFormat.allCases {
            for reports in [[report], [report, report]] {
                let text = format.render(reports, version: "1")
                let controls = text.unicodeScalars.filter { $0.value < 0x20 && $0 != "\n" || (0x7F...0x9F).contains($0.value) || $0 == "\u{202E}" }
                switch format {
                case .json, .sarif:
                    let document = try JSONParser().parse(Array(text.utf8))
                    #expect(document.object != nil || document.array != nil)
                    #expect(!text.contains("\u{1B}"), "\(format)")
                case .html:
                    #expect(controls.isEmpty && !text.contains("<img") && !text.contains("<script") && !text.contains("\"'&"))
                    #expect(text.contains("&lt;img src=x onerror=alert(1)&gt;"))
                case .table: #expect(controls.isEmpty, "\(controls)")
                }
            }
        }
    }

    /// Dockerfiles by their lines, units by theirs.
    @Test func textsByChance() throws {
        let words = [
            "FROM", "USER", "VOLUME", "\\", "\n", "a", "AS", "$x", "#", "\"", "[", "%i", "=", "[Service]", "User=", "SystemCallFilter=~", "\u{FEFF}",
            "@", ":",
        ]
        var dice = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let chosen = (0..<Int.random(in: 0...30, using: &dice)).map { _ in words.randomElement(using: &dice) ?? "" }
            let text = chosen.joined(separator: Bool.random(using: &dice) ? " " : "")
            try scoredOrRefused(text, Self.dockerfile)
            try scoredOrRefused(text, Self.unit)
            try scoredOrRefused("Id=a.service\nLoadState=loaded\n" + text, Self.shown)
        }
    }

    private static func dockerfile(_ bytes: [UInt8]) throws -> [Subject] {
        var reader = try DockerfileReader()
        return [try reader.subject(bytes, name: "Dockerfile")]
    }

    private static func unit(_ bytes: [UInt8]) throws -> [Subject] {
        [try UnitSettings(name: "a@b.service", files: [try UnitFile(bytes, name: "a")]).subject("a")]
    }

    private static func shown(_ bytes: [UInt8]) throws -> [Subject] { try ShownUnits.subjects(bytes, name: "a") }

    private func scoredOrRefused(_ text: String, _ read: ([UInt8]) throws -> [Subject]) throws {
        var scorer = try ExposureScore()
        do {
            for subject in try read(Array(text.utf8)) { #expect((0...10).contains(scorer.report(subject).score)) }
        } catch let error as ExposureError {
            #expect(error.message.count > 10)
        }
    }
}
