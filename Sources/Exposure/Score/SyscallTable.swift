import Confinement
import StrictJSON

/// The system calls of Linux by architecture, with their numbers.
public struct SyscallTable: Sendable {
    public let numbers: [String: UInt32]

    public init(architecture: Architecture) throws(ExposureError) {
        let document: JSONValue
        do {
            document = try JSONParser().parse(PackageResources.syscalls_linux_json)
        } catch {
            throw ExposureError("the built-in syscalls-linux.json cannot be read: \(error)")
        }
        var numbers: [String: UInt32] = [:]
        for entry in document[architecture.rawValue]?.object ?? [:] {
            guard let number = entry.value.int64.flatMap({ UInt32(exactly: $0) }) else {
                throw ExposureError("syscalls-linux.json has no number for \(entry.key)")
            }
            numbers[entry.key] = number
        }
        guard !numbers.isEmpty else { throw ExposureError("syscalls-linux.json has no table for \(architecture.rawValue)") }
        self.numbers = numbers
    }

    private static let native = Result { () throws(ExposureError) in try SyscallTable(architecture: .current) }
    public static func current() throws(ExposureError) -> SyscallTable { try native.get() }
}

extension SyscallPolicy {
    /// The calls of the table that the filter lets into the kernel with some arguments: with a rule without conditions that rule alone
    /// counts, else any rule that lets the call through, else the default (as libseccomp compiles it).
    public func reachable(in table: SyscallTable) -> Set<String> {
        guard case .filtered(let filter) = self else { return Set(table.numbers.keys) }
        var plain: [String: Bool] = [:]
        var conditional: Set<String> = []
        for rule in filter.rules {
            for name in rule.names where table.numbers[name] != nil {
                if !rule.conditions.isEmpty {
                    if rule.action.reachesKernel { conditional.insert(name) }
                } else if plain[name] == nil {
                    plain[name] = rule.action.reachesKernel
                }
            }
        }
        let byDefault = filter.defaultAction.reachesKernel
        return Set(table.numbers.keys.filter { plain[$0] ?? (byDefault || conditional.contains($0)) })
    }

    /// Whether a call with these arguments, all others being 0, gets into the kernel.
    func lets(_ name: String, _ arguments: [UInt64] = []) -> Bool {
        guard case .filtered(let filter) = self else { return true }
        return filter.action(for: name, arguments: arguments).reachesKernel
    }
}
