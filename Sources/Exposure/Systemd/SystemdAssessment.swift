import Confinement

/// What systemd's own model says of a unit.
///
///     exposure = ⌈ 100 · Σ ⌈ badness · weight / range ⌉ ÷ Σ weight ⌉      in tenths, over the rows that apply
public struct SystemdAssessment: Sendable, Equatable {
    public struct Finding: Sendable, Equatable {
        public let row: SystemdRow
        /// 0 to the row's range; nil where the row does not apply.
        public let badness: Int?

        public static func == (left: Finding, right: Finding) -> Bool { left.row.id == right.row.id && left.badness == right.badness }
    }

    public let findings: [Finding]
    /// 0…100.
    public let tenths: Int
    /// "9.6"
    public var figure: String { "\(tenths / 10).\(tenths % 10)" }
    public var band: Band { Band(tenths: tenths) }

    public init(_ unit: UnitSettings, architecture: Architecture = .current) throws(ExposureError) {
        let groups = try SystemdSyscalls(architecture: architecture)
        var findings: [Finding] = []
        var sum = 0
        var weights = 0
        for row in SystemdRow.all {
            let badness = Self.badness(row, unit, groups)
            findings.append(Finding(row: row, badness: badness))
            guard let badness else { continue }
            sum += (badness * row.weight + row.range - 1) / row.range
            weights += row.weight
        }
        self.findings = findings
        tenths = weights == 0 ? 0 : (sum * 100 + weights - 1) / weights
    }

    /// Settings that mean nothing in the first phase of booting, before file systems are there.
    private static let afterBootOnly: Set<String> = ["PrivateTmp", "ProtectHome", "ProtectSystem", "RootDirectoryOrRootImage"]

    private static func badness(_ row: SystemdRow, _ unit: UnitSettings, _ groups: SystemdSyscalls) -> Int? {
        if !unit.flag("DefaultDependencies"), afterBootOnly.contains(row.id) { return nil }
        func bad(_ condition: Bool) -> Int { condition ? 1 : 0 }
        return switch row.test {
        case .flag(let name): bad(!unit.flag(name))
        case .capabilities(let list): bad(unit.boundingSet & CapabilitySet(list).rawValue != 0)
        case .namespace(let kind): bad(unit.namespacesAllowed?.contains(kind) ?? true)
        case .family(let family): bad(!unit.families.excludes(family))
        case .syscalls(let group): syscalls(unit.syscalls, groups.native(group))
        case .user: user(unit)
        case .supplementaryGroups: unit.runsPrivileged ? nil : bad(!unit.supplementaryGroups.isEmpty)
        case .removeIPC: unit.runsPrivileged ? nil : bad(!unit.flag("RemoveIPC"))
        case .ambientCapabilities: bad(unit.ambientSet != 0)
        case .delegate: bad(unit.delegates)
        case .notifyAccess: bad(unit.notifyAccess == "all")
        case .keyringMode: bad(unit.keyringMode != .private)
        case .procSubset: bad(!unit.procSubsetIsPid)
        case .rootDirectory: bad(isHostRoot(unit.rootDirectory) && isHostRoot(unit.rootImage))
        default: graded(row.test, unit)
        }
    }

    private static func graded(_ test: SystemdRow.Test, _ unit: UnitSettings) -> Int {
        switch test {
        case .umask: umask(unit.umask)
        case .protectHome:
            switch unit.protectHome {
            case .no: 10
            case .readOnly: 5
            case .tmpfs: 1
            case .yes: 0
            }
        case .protectSystem:
            switch unit.protectSystem {
            case .no: 10
            case .yes: 5
            case .full: 3
            case .strict: 0
            }
        case .protectProc:
            switch unit.protectProc {
            case .default: 3
            case .noaccess: 1
            case .invisible, .ptraceable: 0
            }
        case .devices: unit.devicePolicy == .auto ? 10 : unit.devicesAllowed.isEmpty ? 0 : 5
        case .addresses: addresses(unit)
        default: unit.syscallArchitectures.isEmpty ? 10 : unit.syscallArchitectures == ["native"] ? 0 : 8
        }
    }

    private static func syscalls(_ list: SyscallList, _ group: [String]) -> Int {
        guard list.isSet, list.isAllowList || !list.calls.isEmpty else { return 10 }
        return group.contains(where: list.lets) ? (list.isAllowList ? 9 : 10) : 0
    }

    private static func user(_ unit: UnitSettings) -> Int {
        if unit.user == "nobody" { return 9 }
        return unit.runsPrivileged ? 10 : 0
    }

    private static func umask(_ mask: UInt32) -> Int {
        if mask & 0o002 == 0 { return 10 }
        if mask & 0o004 == 0 { return 5 }
        if mask & 0o020 == 0 { return 2 }
        return mask & 0o040 == 0 ? 1 : 0
    }

    private static func addresses(_ unit: UnitSettings) -> Int {
        if unit.customIPFilters.values.contains(true) { return 0 }
        let deniesAll = [4, 16].allSatisfy { size in unit.addressesDenied.contains { $0.isEverything && $0.bytes.count == size } }
        guard deniesAll else { return 10 }
        if unit.addressesAllowed.contains(where: { !$0.isLoopback }) { return 5 }
        return unit.addressesAllowed.isEmpty ? 0 : 2
    }

    private static func isHostRoot(_ path: String) -> Bool { path.allSatisfy { $0 == "/" } }
}

/// Where a score lies; systemd's names and bounds, in tenths.
public enum Band: String, Sendable, CaseIterable, Comparable {
    case perfect = "PERFECT"
    case safe = "SAFE"
    case ok = "OK"
    case medium = "MEDIUM"
    case exposed = "EXPOSED"
    case unsafe = "UNSAFE"
    case dangerous = "DANGEROUS"

    /// The least tenths of the band.
    public var lowest: Int {
        switch self {
        case .perfect: 0
        case .safe: 1
        case .ok: 10
        case .medium: 50
        case .exposed: 75
        case .unsafe: 90
        case .dangerous: 100
        }
    }

    public init(tenths: Int) { self = Band.allCases.last { $0.lowest <= tenths } ?? .perfect }

    public static func < (left: Band, right: Band) -> Bool { left.lowest < right.lowest }
}
