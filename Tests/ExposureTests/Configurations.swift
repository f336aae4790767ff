import Confinement
import OCISpec
import StrictJSON
import Testing

@testable import Exposure

/// A rootless host, or one whose engine is root, with the security module that it has.
func aHost(isRoot: Bool = false, appArmor: Bool = false, seLinux: Bool = false) -> HostFacts {
    HostFacts(
        architecture: .current, kernel: KernelVersion(major: 6, minor: 18), isRoot: isRoot, invokingUID: 1000, invokingGID: 1000,
        range: IDRange(start: isRoot ? 524_288 : 1, size: 65536, isShared: !isRoot), memoryBytes: 8 << 30, possibleCPUs: 2,
        openFilesHardLimit: 1_048_576, appArmor: appArmor ? .present(defaultProfile: "coffer-default") : .absent,
        seLinux: seLinux ? .present(categories: "c1,c2") : .absent)
}

/// The subject that `coffer run` with these flags makes.
func coffer(
    _ level: LevelName = .standard, host: HostFacts = aHost(), provenance: ImageDefaults.Provenance = .pinnedDigest,
    user: UInt32 = 0, _ change: (inout ConfinementRequest) -> Void = { _ in }
) throws -> Subject {
    var request = ConfinementRequest()
    request.level = level
    change(&request)
    let image = ImageDefaults(user: PayloadUser(uid: user, gid: user), provenance: provenance)
    let resolution = try ConfinementResolver.resolve(request, image: image, host: host)
    return Subject(
        name: level.rawValue, source: .coffer, confinement: resolution.confinement, engineUser: host.isRoot ? .root : .ordinary,
        provenance: Subject.Provenance(provenance))
}

/// The subject of a container as `docker inspect` shows it; `host` and `config` are merged into what Docker writes by default.
func docker(host: JSONObject = [:], config: JSONObject = [:], mounts: [JSONValue] = [], more: JSONObject = [:]) throws -> Subject {
    var hostConfig: JSONObject = [
        "NetworkMode": "bridge", "PidMode": "", "IpcMode": "private", "UTSMode": "", "UsernsMode": "", "CgroupnsMode": "private",
        "ShmSize": 67_108_864,
        "LogConfig": ["Type": "json-file", "Config": [:]],
    ]
    for entry in host { hostConfig[entry.key] = entry.value }
    var configuration: JSONObject = ["Image": "nginx", "User": ""]
    for entry in config { configuration[entry.key] = entry.value }
    var container: JSONObject = [
        "Name": "/web", "AppArmorProfile": "docker-default", "HostConfig": .object(hostConfig), "Config": .object(configuration),
        "Mounts": .array(mounts),
    ]
    for entry in more { container[entry.key] = entry.value }
    var reader = try InspectReader()
    return try #require(try reader.subjects(.array([.object(container)])).first)
}

/// The same of Podman; rootless unless the storage is root's.
func podman(rootless: Bool = true, host: JSONObject = [:], config: JSONObject = [:], mounts: [JSONValue] = []) throws -> Subject {
    let storage = rootless ? "/home/me/.local/share/containers/storage" : "/var/lib/containers/storage"
    var merged: JSONObject = ["NetworkMode": rootless ? "slirp4netns" : "bridge", "CgroupMode": "private", "IpcMode": "shareable", "PidsLimit": 2048]
    for entry in host { merged[entry.key] = entry.value }
    let capabilities = JSONValue.array(EngineDefaults.podmanCapabilities.names.map { .string($0) })
    return try docker(
        host: merged, config: config, mounts: mounts,
        more: [
            "OCIRuntime": "crun", "StaticDir": .string(storage), "BoundingCaps": capabilities,
            "AppArmorProfile": rootless ? "" : "containers-default-0.50.1",
        ])
}

func bind(_ source: String, _ destination: String, writable: Bool = true) -> JSONValue {
    ["Type": "bind", "Source": .string(source), "Destination": .string(destination), "RW": .bool(writable), "Propagation": "rprivate"]
}

func score(_ subject: Subject) throws -> Double {
    var scorer = try ExposureScore()
    return scorer.report(subject).score
}
