import Confinement
import OCISpec
import Rendering

/// The well-known defaults, scored: what one gets who says nothing. The table in docs/EXPOSURE.md is this one's output.
public enum KnownDefaults {
    /// The reports, the most exposed first. The machine is one of 8 GiB with AppArmor, where its engine uses that.
    public static func reports() throws(ExposureError) -> [ExposureReport] {
        var defaults = try EngineDefaults()
        var scorer = try ExposureScore()
        var subjects = try engines(&defaults) + kubernetes(&defaults) + systemd()
        for level in LevelName.allCases { subjects.append(try coffer(level)) }
        var reports: [ExposureReport] = []
        for subject in subjects { reports.append(scorer.report(subject)) }
        return reports.sorted { $0.score > $1.score }
    }

    /// As Markdown.
    public static func markdown() throws(ExposureError) -> String {
        var text = "| configuration | exposure | band | costs most |\n|---|---|---|---|\n"
        for report in try reports() {
            let most = report.factors.prefix(3).map { "\($0.id) +\(ReportText.points($0.points))" }.joined(separator: ", ")
            text += "| \(report.target) | \(report.figure) | \(report.band.rawValue) | \(most) |\n"
        }
        return text
    }

    /// The factors with their reasons, as Markdown.
    public static func factors() -> String {
        var text = "| factor | weight | question | why so much |\n|---|---|---|---|\n"
        for row in FactorRow.all { text += "| \(row.id) | \(ReportText.points(row.weight)) | \(row.question) | \(row.reason) |\n" }
        return text
    }

    private static func engines(_ defaults: inout EngineDefaults) throws(ExposureError) -> [Subject] {
        var docker = ContainerDeclaration(name: "docker run", source: .docker, engine: .docker)
        docker.appArmor = "docker-default"
        var socket = docker
        socket.name = "docker run -v /var/run/docker.sock"
        socket.mounts = [Mount(destination: "/var/run/docker.sock", type: "bind", source: "/var/run/docker.sock", options: ["rw"])]
        var host = docker
        host.name = "docker run --network, --pid, --ipc and --uts host"
        host.network = .host
        (host.namespaces.pid, host.namespaces.ipc, host.namespaces.uts) = (.host, .host, .host)
        var privileged = docker
        privileged.name = "docker run --privileged"
        privileged.isPrivileged = true
        var podman = ContainerDeclaration(name: "podman run, as root", source: .podman, engine: .podman)
        podman.appArmor = "containers-default"
        podman.limits.pids = .at(EngineDefaults.podmanProcesses)
        var rootless = podman
        rootless.name = "podman run, as a user"
        rootless.appArmor = ""
        rootless.engineUser = .ordinary
        let own = RuntimeSpec.IDMapping(containerID: 0, hostID: 0, size: 1)
        rootless.userNamespace = .own(uids: [own], gids: [own], sharesRange: true)
        var nspawn = ContainerDeclaration(name: "systemd-nspawn", source: .oci, engine: .docker)
        // systemd-nspawn(1) of 252: its list of capabilities, a filter of its own that is counted as Docker's, the host's network, no AppArmor.
        nspawn.capabilitiesGiven = CapabilitySet([
            .auditControl, .auditWrite, .chown, .dacOverride, .dacReadSearch, .fowner, .fsetid, .ipcOwner, .kill, .lease, .linuxImmutable, .mknod,
            .netBindService, .netBroadcast, .netRaw, .setfcap, .setgid, .setpcap, .setuid, .sysAdmin, .sysBoot, .sysChroot, .sysNice, .sysPtrace,
            .sysResource, .sysTtyConfig,
        ])
        nspawn.network = .host
        nspawn.provenance = .local
        var subjects: [Subject] = []
        for declaration in [docker, socket, host, privileged, podman, rootless, nspawn] { subjects.append(try declaration.subject(&defaults)) }
        return subjects
    }

    /// The three Pod Security Standards, each as open as it lets a Pod be, and what the runtimes add.
    private static func kubernetes(_ defaults: inout EngineDefaults) throws(ExposureError) -> [Subject] {
        var baseline = ContainerDeclaration(name: "Kubernetes Pod (Pod Security: baseline)", source: .kubernetes, engine: .kubernetes)
        baseline.appArmor = "cri-containerd.apparmor.d"
        baseline.logs = .rotated(maxBytes: 10 << 20, maxFiles: 5)
        var privileged = baseline
        privileged.name = "Kubernetes Pod (Pod Security: privileged)"
        privileged.isPrivileged = true
        privileged.network = .host
        (privileged.namespaces.pid, privileged.namespaces.ipc, privileged.namespaces.uts) = (.host, .host, .host)
        var restricted = baseline
        restricted.name = "Kubernetes Pod (Pod Security: restricted)"
        restricted.engine = .docker
        restricted.user = "somebody"
        restricted.noNewPrivileges = true
        restricted.capabilitiesDropped = ["ALL"]
        restricted.capabilitiesAdded = ["NET_BIND_SERVICE"]
        var crio = baseline
        crio.name = "CRI-O container with RuntimeDefault"
        crio.engine = .crio
        crio.limits.pids = .at(EngineDefaults.podmanProcesses)
        var subjects: [Subject] = []
        for declaration in [baseline, privileged, restricted, crio] { subjects.append(try declaration.subject(&defaults)) }
        return subjects
    }

    private static func systemd() throws(ExposureError) -> [Subject] {
        let hardened = """
            [Service]
            IPAddressDeny=any
            IPAddressAllow=8.8.8.8 127.0.0.0/8
            ProtectSystem=strict
            ProtectHome=yes
            PrivateTmp=yes
            DynamicUser=yes
            PrivateUsers=yes
            CPUQuota=20%
            """
        var subjects: [Subject] = []
        for (name, text) in [("a systemd service without settings", "[Service]\n"), ("the hardened systemd-run line of the talks", hardened)] {
            subjects.append(try UnitSettings(name: "x.service", files: [try UnitFile(Array(text.utf8), name: name)]).subject(name))
        }
        return subjects
    }

    private static func coffer(_ level: LevelName) throws(ExposureError) -> Subject {
        let host = HostFacts(
            kernel: KernelVersion(major: 6, minor: 18), isRoot: true, invokingUID: 0, invokingGID: 0,
            range: IDRange(start: 524_288, size: 65536, isShared: false), memoryBytes: 8 << 30, possibleCPUs: 2, openFilesHardLimit: 1_048_576,
            appArmor: .present(defaultProfile: "coffer-default"))
        var request = ConfinementRequest()
        request.level = level
        do {
            let image = ImageDefaults(provenance: level == .strict ? .pinnedDigest : .tag)
            let resolution = try ConfinementResolver.resolve(request, image: image, host: host)
            return Subject(
                name: "coffer run --level \(level.rawValue)", source: .coffer, confinement: resolution.confinement,
                provenance: level == .strict ? .pinnedDigest : .tag)
        } catch {
            throw ExposureError("\(error)")
        }
    }
}
