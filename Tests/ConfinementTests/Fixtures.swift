import Confinement
import OCISpec

/// A rootless host with 8 GiB and a range of its own.
func aHost(isRoot: Bool = false, shared: Bool = false) -> HostFacts {
    HostFacts(
        architecture: .x86_64, kernel: KernelVersion(major: 6, minor: 18), isRoot: isRoot, invokingUID: 1000, invokingGID: 1000,
        range: IDRange(start: isRoot ? 524_288 : 1, size: 65536, isShared: shared), memoryBytes: 8 << 30, possibleCPUs: 2,
        openFilesHardLimit: 1_048_576)
}

func resolve(
    _ level: LevelName = .standard, host: HostFacts = aHost(), image: ImageDefaults = ImageDefaults(provenance: .pinnedDigest),
    _ change: (inout ConfinementRequest) -> Void = { _ in }
) throws -> Resolution {
    var request = ConfinementRequest()
    request.level = level
    change(&request)
    return try ConfinementResolver.resolve(request, image: image, host: host)
}

/// The sentence of the error that `body` must throw.
func refusal(_ body: () throws -> Resolution) throws -> String {
    do {
        return "granted: \(try body().relaxations)"
    } catch let error as ConfinementError {
        return error.message
    }
}

func filterOf(_ confinement: Confinement) -> SyscallFilter {
    if case .filtered(let filter) = confinement.syscalls { return filter }
    return SyscallFilter(defaultAction: .allow)
}

func aBundle() -> BundleDetails {
    BundleDetails(
        arguments: ["/bin/sh"], environment: ["A=b"], hostname: "h", logPath: "/state/container.log", pastaPath: "/usr/bin/pasta")
}
