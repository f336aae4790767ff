import Confinement
import Glibc
import LinuxKernel
import Testing

@testable import Exposure

#if arch(x86_64)
    /// syscall(2) as a plain function: Swift does not import C functions with variable arguments.
    private typealias RawCall = @convention(c) (Int, Int, Int, Int, Int, Int, Int) -> Int

    /// What a thread of its own is given, and what it found. It alone writes, and is joined before anybody reads.
    private final class Confined: @unchecked Sendable {
        let filter: SeccompFilter
        let calls: [(name: String, number: Int)]
        let raw: RawCall
        var refused: Set<String> = []
        var failure: (any Error)?

        init(_ filter: SeccompFilter, _ calls: [(name: String, number: Int)], _ raw: @escaping RawCall) {
            self.filter = filter
            self.calls = calls
            self.raw = raw
        }

        /// A filter and no_new_privs hold for the calling thread only; the thread ends with the test.
        func run() {
            _ = raw(157, 38, 1, 0, 0, 0, 0)  // prctl(PR_SET_NO_NEW_PRIVS)
            do { try filter.load() } catch {
                failure = error
                return
            }
            for call in calls {
                let result = raw(call.number, -1, -1, -1, -1, -1, -1)
                if result == -1, errno == Int32(ReachableKernelTests.marker) { refused.insert(call.name) }
                if result > 2, ReachableKernelTests.opening.contains(call.name) { close(Int32(result)) }
            }
        }
    }

    /// The number of reachable system calls, as the kernel counts it: every call is made, with arguments that can do nothing, under the filter with
    /// its error replaced by a marker, so that an error of the call itself is not mistaken for the filter's.
    @Suite struct ReachableKernelTests {
        static let marker: UInt16 = 222
        static let opening: Set<String> = ["eventfd", "inotify_init"]
        /// Calls that do something whatever their arguments are: made only where the filter is said to refuse them.
        private static let effective: Set<String> = [
            "exit", "exit_group", "fork", "vfork", "pause", "rt_sigreturn", "rt_sigsuspend", "set_tid_address", "setsid", "msgget", "alarm", "kill",
            "tkill",
            "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "vhangup", "umask", "sync", "prctl", "munmap",
        ]
        /// Linux 6.14 lets it past every filter, and kills whoever calls it from anywhere but the kernel's own trampoline.
        private static let unfiltered: Set<String> = ["uretprobe"]

        private struct Unexpected: Error {}

        private static func filters() throws -> [(name: String, filter: SyscallFilter)] {
            var defaults = try EngineDefaults()
            var result: [(name: String, filter: SyscallFilter)] = [
                ("docker", try defaults.dockerFilter(EngineDefaults.dockerCapabilities)),
                ("docker, all capabilities", try defaults.dockerFilter(.all)),
                ("podman", defaults.podmanFilter(EngineDefaults.podmanCapabilities)), ("podman, all capabilities", defaults.podmanFilter(.all)),
            ]
            for level in [LevelName.standard, .strict, .compat] {
                if case .filtered(let filter) = try coffer(level).confinement.syscalls { result.append((level.rawValue, filter)) }
            }
            return result
        }

        /// The profile's own conditions: containers-common's seccomp.json.
        @Test func podmansConditions() throws {
            var defaults = try EngineDefaults()
            let plain = defaults.podmanFilter(EngineDefaults.podmanCapabilities)
            #expect(plain.action(for: "personality", arguments: [0]) == .allow)
            // ADDR_NO_RANDOMIZE
            #expect(plain.action(for: "personality", arguments: [0x4_0000]) == .errno(38))
            #expect(plain.action(for: "socket", arguments: [16, 3, 9]) == .errno(22))
            for arguments: [UInt64] in [[16, 3, 0], [2, 1, 0], [2, 1, 9], [40, 1, 0]] {
                #expect(plain.action(for: "socket", arguments: arguments) == .allow)
            }
            #expect(defaults.podmanFilter(.all).action(for: "socket", arguments: [16, 3, 9]) == .allow)
        }

        @Test func theKernelAgrees() throws {
            let raw = unsafeBitCast(try #require(dlsym(nil, "syscall")), to: RawCall.self)
            let table = try SyscallTable(architecture: .x86_64)
            let filters = try Self.filters()
            #expect(filters.count == 7)
            for (name, whole) in filters {
                // What the libseccomp of this machine is too old to know stays refused by whatever it compiles.
                let (program, unknown) = try Self.compiled(whole)
                var filter = whole
                for index in filter.rules.indices { filter.rules[index].names.removeAll(where: Set(unknown).contains) }
                let arguments = [UInt64](repeating: .max, count: 6)
                let expected = Set(table.numbers.keys.filter { !filter.action(for: $0, arguments: arguments).reachesKernel })
                    .subtracting(Self.unfiltered)
                let calls = table.numbers.filter { !Self.effective.contains($0.key) || expected.contains($0.key) }
                    .filter { !Self.unfiltered.contains($0.key) }
                let state = Confined(program, calls.map { ($0.key, Int($0.value)) }, raw)
                try run(state)
                #expect(state.refused == expected, "\(name): \(state.refused.symmetricDifference(expected).sorted())")
                // The program itself, as it would be read from a process, says what the kernel said.
                let loaded = LoadedFilters([try FilterProgram(program.instructions)])
                let refused = calls.filter {
                    !loaded.mayReach(.init(number: $0.value, architecture: Architecture.x86_64.auditNumber, arguments: arguments))
                }
                #expect(state.refused == Set(refused.map(\.key)), "\(name), by its instructions")
                // What is reachable at all is what these arguments reach, and calls that other arguments would.
                let reachable = SyscallPolicy.filtered(filter).reachable(in: table)
                let conditional = Set(filter.rules.filter { !$0.conditions.isEmpty }.flatMap(\.names))
                let rest = conditional.union(Self.unfiltered)
                #expect(reachable.subtracting(rest) == Set(table.numbers.keys).subtracting(expected).subtracting(rest), "\(name)")
            }
        }

        private func run(_ state: Confined) throws {
            var thread = pthread_t()
            let started = pthread_create(
                &thread, nil,
                { argument in
                    if let argument { Unmanaged<Confined>.fromOpaque(argument).takeUnretainedValue().run() }
                    return nil
                }, Unmanaged.passUnretained(state).toOpaque())
            try #require(started == 0)
            try #require(pthread_join(thread, nil) == 0)
            if let failure = state.failure { throw failure }
        }

        static func compiled(_ filter: SyscallFilter) throws -> (filter: SeccompFilter, unknown: [String]) {
            let rules = try filter.rules.map { rule in
                SeccompRule(names: rule.names, action: try action(rule.action), conditions: try rule.conditions.map(condition))
            }
            return try SeccompFilter.compile(defaultAction: action(filter.defaultAction), architectures: [], rules: rules)
        }

        private static func action(_ action: SyscallFilter.Action) throws -> SeccompAction {
            switch action {
            case .allow: .allow
            case .errno: .errno(marker)
            default: throw Unexpected()
            }
        }

        private static func condition(_ condition: SyscallFilter.Condition) throws -> SeccompCondition {
            switch condition.comparison {
            case .masked(let mask, let value): SeccompCondition(index: condition.argument, comparison: .maskedEqual, value: mask, second: value)
            case .equal(let value): SeccompCondition(index: condition.argument, comparison: .equal, value: value, second: 0)
            case .notEqual(let value): SeccompCondition(index: condition.argument, comparison: .notEqual, value: value, second: 0)
            default: throw Unexpected()
            }
        }
    }
#endif
