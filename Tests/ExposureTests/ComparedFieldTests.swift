import Confinement
import OCISpec
import StrictJSON
import Testing

@testable import Exposure

/// What is asked beside what the kernel has, field by field.
@Suite struct ComparedFieldTests {
    private func comparison(_ asked: Subject, _ live: Subject) throws -> Comparison {
        var scorer = try ExposureScore()
        let view = KernelView(processLimits: live.confinement.limits.processLimits) { _ in true }
        return scorer.comparison(asked: asked, live: live, view: view)
    }

    @Test func everyFieldOfTheModelIsInTheTable() throws {
        let properties = Mirror(reflecting: try docker().confinement).children.compactMap(\.label)
        #expect(ComparedField.all.map(\.name) == properties)
    }

    @Test func equalIsEqual() throws {
        for subject in [try docker(), try podman(), try coffer(), try docker(host: ["Privileged": true])] {
            let result = try comparison(subject, subject)
            #expect(result.differences.isEmpty, "\(result.differences)")
            #expect(result.applied == subject)
        }
    }

    /// Each of them is a finding, and the second score has the kernel's answer.
    static let changes: [(field: String, change: @Sendable (inout Subject) -> Void)] = [
        ("user", { $0.confinement.user.uid = 7 }), ("group", { $0.confinement.user.gid = 7 }),
        ("groups", { $0.confinement.user.additionalGids = [27] }),
        ("umask", { $0.confinement.user.umask = 0 }),
        (
            "rootOutside",
            {
                let map = RuntimeSpec.IDMapping(containerID: 0, hostID: 100_000, size: 65536)
                $0.confinement.userNamespace = .own(uids: [map], gids: [map], sharesRange: false)
            }
        ),
        ("namespaces.pid", { $0.confinement.namespaces.pid = .host }), ("namespaces.mount", { $0.confinement.namespaces.mount = .host }),
        ("namespaces.ipc", { $0.confinement.namespaces.ipc = .host }), ("namespaces.uts", { $0.confinement.namespaces.uts = .host }),
        ("namespaces.cgroup", { $0.confinement.namespaces.cgroup = .host }), ("namespaces.time", { $0.confinement.namespaces.time = .own }),
        ("capabilities.bounding", { $0.confinement.capabilities.bounding = .all }),
        ("capabilities.ambient", { $0.confinement.capabilities.ambient = .all }),
        ("capabilities.effective", { $0.confinement.capabilities.effective = [] }),
        ("capabilities.permitted", { $0.confinement.capabilities.permitted = [] }),
        ("capabilities.inheritable", { $0.confinement.capabilities.inheritable = .all }),
        ("noNewPrivileges", { $0.confinement.noNewPrivileges = true }), ("syscalls", { $0.confinement.syscalls = .unconfined }),
        ("appArmor", { $0.confinement.appArmor = .inherited }),
        ("seLinux", { $0.confinement.seLinux = .labels(process: "system_u:system_r:container_t:s0", mounts: "") }),
        ("rootReadOnly", { $0.confinement.rootReadOnly = true }),
        ("mount /etc2", { $0.confinement.mounts.append(Mount(destination: "/etc2", type: "bind", source: "/etc", options: ["rw"])) }),
        ("maskedPaths", { $0.confinement.maskedPaths = [] }), ("readonlyPaths", { $0.confinement.readonlyPaths = [] }),
        ("devices", { $0.confinement.devices.append(DeviceNode(path: "/dev/sda", kind: .block, major: 8, minor: 0)) }),
        ("deviceRules", { $0.confinement.deviceRules = [DeviceRule(allows: true, kind: .all)] }),
        ("limits.pids", { $0.confinement.limits.pids = .at(7) }), ("limits.memory", { $0.confinement.limits.memory = .at(7) }),
        ("limits.memoryAndSwap", { $0.confinement.limits.memoryAndSwap = .at(7) }),
        ("limits.memoryReservation", { $0.confinement.limits.memoryReservation = .at(7) }),
        ("limits.cpuShares", { $0.confinement.limits.cpuShares = 2 }),
        ("limits.cpuQuota", { $0.confinement.limits.cpuQuota = .at(7) }),
        ("limits.oomScoreAdjustment", { $0.confinement.limits.oomScoreAdjustment = 7 }),
        ("network", { $0.confinement.network = .host }),
    ]

    @Test(arguments: changes.indices) func aDifferenceIsFound(_ index: Int) throws {
        let (field, change) = Self.changes[index]
        let asked = try docker()
        var live = asked
        change(&live)
        let result = try comparison(asked, live)
        #expect(result.differences.map(\.field).contains(field), "\(result.differences)")
        var scorer = try ExposureScore()
        #expect(scorer.report(result.applied).score == scorer.report(live).score)
    }

    /// The filter that is loaded is asked call by call.
    @Test func oneCallMoreIsFound() throws {
        let asked = try docker()
        var live = asked
        let open = try FilterProgram([UInt8]([0x06, 0, 0, 0, 0, 0, 0xFF, 0x7F]))
        live.loadedFilters = LoadedFilters([open])
        let result = try comparison(asked, live)
        let found = try #require(result.differences.first { $0.field == "syscalls" })
        #expect(found.note.contains("let in all the same") && found.note.contains("bpf"))
        #expect(result.applied.loadedFilters == live.loadedFilters)
    }

    /// What may not be read stays as asked, and is named; that there is a filter at all is seen without reading it.
    @Test func theUnreadableIsNamed() throws {
        let asked = try docker(host: ["SecurityOpt": ["seccomp=unconfined"]])
        var live = try docker()
        live.unknown = [.syscalls: "nobody may read it", .mounts: "nobody may see them"]
        live.confinement.mounts = []
        live.confinement.maskedPaths = []
        let result = try comparison(asked, live)
        #expect(result.differences.map(\.field) == ["syscalls"])
        #expect(Set(result.unseen.map(\.field)).isSuperset(of: ["syscalls", "mounts", "maskedPaths", "landlock"]))
        #expect(result.applied.confinement == asked.confinement)
    }
}
