import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// Turns an OCI filter description into BPF, and keeps what it has compiled: libseccomp needs 0.9 ms for 300 rules.
struct SystemCallFilterCompiler {
    /// A private directory (0700), or nil for no cache.
    let cacheDirectory: String?

    struct Compiled {
        var filter: SeccompFilter
        var unknown: [String]
        /// SECCOMP_FILTER_FLAG_*.
        var flags: UInt32
    }

    func compile(_ profile: RuntimeSpec.Seccomp) throws -> Compiled {
        // The whole profile is the key: a hash decides only the file's name, equality of every byte decides the hit. What is in the cache was
        // valid when it was compiled, so its rules need not be decoded again.
        let key = try StrictJSONEncoder().encode(profile)
        if let found = cached(key) { return found }
        let rules = try profile.syscalls?.decoded() ?? []
        let flags = try filterFlags(profile, rules)
        let (filter, unknown) = try SeccompFilter.compile(
            defaultAction: try action(profile.defaultAction, profile.defaultErrnoRet),
            architectures: try (profile.architectures ?? []).map(architecture),
            rules: try rules.flatMap(alternatives), refusesNewerCalls: profile.defaultErrnoRet == nil)
        let compiled = Compiled(filter: filter, unknown: unknown, flags: flags)
        store(key, compiled)
        return compiled
    }

    /// SECCOMP_FILTER_FLAG_NEW_LISTENER
    static let newListener: UInt32 = 8

    /// - Returns: whether the filter has a listener.
    private func hasListener(_ profile: RuntimeSpec.Seccomp, _ all: [RuntimeSpec.Seccomp.Rule]) throws -> Bool {
        let notify = "SCMP_ACT_NOTIFY"
        if profile.defaultAction == notify { throw PlanError("\(notify) cannot be used as the default action") }
        let rules = all.filter { $0.action == notify }
        if rules.isEmpty { return false }
        // The process hands the listener over by these itself, and nobody would answer.
        for name in ["write", "sendmsg", "recvmsg"] where rules.contains(where: { $0.names.contains(name) }) {
            throw PlanError("\(notify) cannot be used for the \(name) syscall")
        }
        guard let path = profile.listenerPath, path.hasPrefix("/") else {
            throw PlanError("seccomp has \(notify) but no absolute listenerPath")
        }
        return true
    }

    private func action(_ name: String, _ number: UInt32?) throws -> SeccompAction {
        let code = UInt16(truncatingIfNeeded: number ?? UInt32(EPERM))
        guard let action = FilterFacts.actionTable[name] else { throw PlanError("unknown seccomp action \(name)") }
        return action(code)
    }

    private func architecture(_ name: String) throws -> String {
        guard FilterFacts.architectures.contains(name) else { throw PlanError("unknown seccomp architecture \(name)") }
        return name.dropFirst(10).lowercased()
    }

    /// Conditions on different arguments must all hold. Of several on one argument any is enough: libseccomp has no word for it in one rule, and
    /// profiles written for Docker mean it so (as runc and crun have it).
    private func alternatives(_ rule: RuntimeSpec.Seccomp.Rule) throws -> [SeccompRule] {
        let conditions = try (rule.args ?? []).map { argument in
            guard let comparison = FilterFacts.operatorTable[argument.op] else { throw PlanError("unknown seccomp operator \(argument.op)") }
            guard argument.index < 6 else { throw PlanError("seccomp argument index \(argument.index) is above 5") }
            return SeccompCondition(
                index: argument.index, comparison: comparison, value: argument.value, second: argument.valueTwo ?? 0)
        }
        let action = try action(rule.action, rule.errnoRet)
        if Set(conditions.map(\.index)).count == conditions.count {
            return [SeccompRule(names: rule.names, action: action, conditions: conditions)]
        }
        return conditions.map { SeccompRule(names: rule.names, action: action, conditions: [$0]) }
    }

    private func filterFlags(_ profile: RuntimeSpec.Seccomp, _ rules: [RuntimeSpec.Seccomp.Rule]) throws -> UInt32 {
        let listener = try hasListener(profile, rules) ? Self.newListener : 0
        // One thread has nothing to synchronise, and TSYNC has no room to return a listener; WAIT_KILLABLE means nothing without one.
        let ignored: UInt32 = listener == 0 ? 0x20 : 1
        return try (profile.flags ?? []).reduce(listener) { flags, name in
            guard let flag = FilterFacts.flagTable[name] else { throw PlanError("unknown seccomp flag \(name)") }
            return flags | (flag & ~ignored)
        }
    }

    // MARK: the cache

    /// FNV-1a, 64 bits: names the file only.
    private func fileName(_ key: [UInt8]) -> String? {
        guard let cacheDirectory else { return nil }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "\(cacheDirectory)/\(String(hash, radix: 16)).bpf"
    }

    /// A file is three numbers of 8 bytes, least byte first (the length of the key, the length of the unknown names, the flags), the key, the names
    /// with commas, and the instructions.
    private static let header = 24

    private func cached(_ key: [UInt8]) -> Compiled? {
        guard let path = fileName(key) else { return nil }
        let bytes: [UInt8]
        do {
            bytes = try readFile(path, limit: 4 << 20)
        } catch {
            return nil  // not compiled yet
        }
        guard bytes.count > Self.header else { return nil }
        let keyLength = Self.number(bytes[0..<8])
        let namesLength = Self.number(bytes[8..<16])
        guard keyLength == key.count, namesLength >= 0, namesLength < bytes.count, let flags = UInt32(exactly: Self.number(bytes[16..<24])),
            bytes.count > Self.header + keyLength + namesLength, Self.holds(bytes, key, at: Self.header)
        else { return nil }
        let names = Self.header + keyLength
        let unknown = String(decoding: bytes[names..<(names + namesLength)], as: UTF8.self).split(separator: ",").map(String.init)
        return Compiled(filter: SeccompFilter(instructions: Array(bytes[(names + namesLength)...])), unknown: unknown, flags: flags)
    }

    /// Whether `key` stands in `bytes` at this place, which is not too near to their end.
    private static func holds(_ bytes: [UInt8], _ key: [UInt8], at start: Int) -> Bool {
        bytes.withUnsafeBytes { all in key.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: all[start..<(start + $0.count)]).elementsEqual($0) } }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reversed().reduce(0) { $0 << 8 | Int($1) } }

    private func store(_ key: [UInt8], _ compiled: Compiled) {
        guard let path = fileName(key) else { return }
        let names = Array(compiled.unknown.joined(separator: ",").utf8)
        let header = [key.count, names.count, Int(compiled.flags)].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
        do {
            try replaceFile(path, with: header + key + names + compiled.filter.instructions)
        } catch {
            // A cache that cannot be written costs time only.
        }
    }
}

/// What the specification calls the parts of a filter (config-linux.md, "Seccomp"), one table each.
public enum FilterFacts {
    /// The number goes with ERRNO and TRACE only.
    static let actionTable: [String: @Sendable (UInt16) -> SeccompAction] = [
        "SCMP_ACT_ALLOW": { _ in .allow }, "SCMP_ACT_LOG": { _ in .log }, "SCMP_ACT_KILL": { _ in .killThread },
        "SCMP_ACT_KILL_THREAD": { _ in .killThread }, "SCMP_ACT_KILL_PROCESS": { _ in .killProcess }, "SCMP_ACT_TRAP": { _ in .trap },
        "SCMP_ACT_NOTIFY": { _ in .notify }, "SCMP_ACT_ERRNO": { .errno($0) }, "SCMP_ACT_TRACE": { .trace($0) },
    ]
    static let operatorTable: [String: SeccompCondition.Comparison] = [
        "SCMP_CMP_NE": .notEqual, "SCMP_CMP_LT": .less, "SCMP_CMP_LE": .lessOrEqual, "SCMP_CMP_EQ": .equal,
        "SCMP_CMP_GE": .greaterOrEqual, "SCMP_CMP_GT": .greater, "SCMP_CMP_MASKED_EQ": .maskedEqual,
    ]
    /// SECCOMP_FILTER_FLAG_* (seccomp(2)).
    static let flagTable: [String: UInt32] = [
        "SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 0x20,
    ]
    public static let actions = actionTable.keys.sorted()
    public static let operators = operatorTable.keys.sorted()
    public static let flags = flagTable.keys.sorted()
    public static let architectures = [
        "AARCH64", "ARM", "LOONGARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64",
        "PPC64LE", "RISCV64", "S390", "S390X", "X32", "X86", "X86_64",
    ].map { "SCMP_ARCH_" + $0 }
    /// Of libseccomp, "2.5.4".
    public static var libraryVersion: String { SeccompFilter.libraryVersion }
}

/// What a mount may be asked for by name.
public enum MountOptionNames {
    public static let all = MountOptions.names
}
