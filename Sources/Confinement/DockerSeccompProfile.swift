import OCISpec
import StrictJSON

/// A profile in the JSON format of Docker and Podman (`--security-opt seccomp=FILE`): the OCI form, with rules that apply
/// only to some architectures, capabilities and kernels. The plain OCI form is such a profile too.
public struct DockerSeccompProfile: Decodable, Sendable {
    struct ArchitectureMap: Decodable, Sendable {
        let architecture: String
        let subArchitectures: [String]?
    }

    /// All that is named must hold (`includes`), or none of it (`excludes`).
    struct Condition: Decodable, Sendable {
        let caps: [String]?
        let arches: [String]?
        let minKernel: String?
    }

    struct Rule: Decodable, Sendable {
        let name: String?
        let names: [String]?
        let action: String
        let errnoRet: UInt32?
        let args: [RuntimeSpec.Seccomp.Argument]?
        let includes: Condition?
        let excludes: Condition?
    }

    let defaultAction: String
    let defaultErrnoRet: UInt32?
    let architectures: [String]?
    let archMap: [ArchitectureMap]?
    let flags: [String]?
    let listenerPath: String?
    let syscalls: [Rule]?

    /// Reads a profile; `source` names it in errors.
    public init(_ bytes: [UInt8], source: String) throws(ConfinementError) {
        do {
            self = try StrictJSONDecoder().decode(DockerSeccompProfile.self, from: bytes)
        } catch {
            throw ConfinementError("the seccomp profile \(source) cannot be used: \(error)")
        }
    }

    /// The filter for a process with these capabilities on this machine.
    public func filter(
        capabilities: CapabilitySet, architecture: Architecture, kernel: KernelVersion
    ) throws(ConfinementError) -> SyscallFilter {
        var rules: [SyscallFilter.Rule] = []
        for rule in syscalls ?? [] {
            if let includes = rule.includes, !(try includes.allHold(capabilities, architecture, kernel)) { continue }
            if let excludes = rule.excludes, try excludes.anyHolds(capabilities, architecture, kernel) { continue }
            let names = (rule.name.map { [$0] } ?? []) + (rule.names ?? [])
            guard !names.isEmpty else { throw ConfinementError("seccomp: a rule with the action “\(rule.action)” names no system call") }
            rules.append(
                SyscallFilter.Rule(
                    names: names, action: try .init(oci: rule.action, errno: rule.errnoRet),
                    conditions: try SyscallFilter.conditions(rule.args ?? [], of: names)))
        }
        return SyscallFilter(
            defaultAction: try .init(oci: defaultAction, errno: defaultErrnoRet), architectures: try allArchitectures(architecture),
            rules: rules, flags: flags ?? [], listenerPath: listenerPath ?? "")
    }

    private func allArchitectures(_ architecture: Architecture) throws(ConfinementError) -> [String] {
        let listed = architectures ?? []
        guard let archMap, !archMap.isEmpty else { return listed }
        if !listed.isEmpty {
            throw ConfinementError("the seccomp profile has both “architectures” and “archMap”; keep one of them")
        }
        guard let own = archMap.first(where: { $0.architecture == architecture.seccompName }) else { return [] }
        return [own.architecture] + (own.subArchitectures ?? [])
    }
}

extension DockerSeccompProfile.Condition {
    private func tests(
        _ capabilities: CapabilitySet, _ architecture: Architecture, _ kernel: KernelVersion
    ) throws(ConfinementError) -> [Bool] {
        var results: [Bool] = []
        if let arches, !arches.isEmpty { results.append(arches.contains(architecture.goName)) }
        for name in caps ?? [] {
            // A capability of a later kernel is one that nobody holds here.
            results.append(Capability(named: name).map { capabilities.contains($0) } ?? false)
        }
        if let minKernel, !minKernel.isEmpty {
            guard let wanted = KernelVersion(minKernel) else {
                throw ConfinementError("seccomp: “\(minKernel)” is no kernel version such as 4.8")
            }
            results.append(kernel >= wanted)
        }
        return results
    }

    func allHold(_ capabilities: CapabilitySet, _ architecture: Architecture, _ kernel: KernelVersion) throws(ConfinementError) -> Bool {
        try tests(capabilities, architecture, kernel).allSatisfy { $0 }
    }

    func anyHolds(_ capabilities: CapabilitySet, _ architecture: Architecture, _ kernel: KernelVersion) throws(ConfinementError) -> Bool {
        try tests(capabilities, architecture, kernel).contains(true)
    }
}
