import Confinement
import Glibc
import LinuxKernel
import Testing

#if arch(x86_64)
    /// syscall(2) as a plain function: Swift does not import C functions with variable arguments.
    private typealias RawCall = @convention(c) (Int, Int, Int, Int, Int, Int, Int) -> Int

    private struct Call: Sendable {
        let name: String
        let number: Int
        let arguments: [Int]

        init(_ name: String, _ number: Int, _ arguments: Int...) {
            self.name = name
            self.number = number
            self.arguments = arguments + Array(repeating: 0, count: 6 - arguments.count)
        }
    }

    /// What a thread of its own is given, and what it found. It alone writes, and is joined before anybody reads.
    private final class Confined: @unchecked Sendable {
        let filter: SeccompFilter
        let calls: [Call]
        let raw: RawCall
        var results: [(name: String, errno: Int32)] = []
        var failure: (any Error)?

        init(_ filter: SeccompFilter, _ calls: [Call], _ raw: @escaping RawCall) {
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
                let a = call.arguments
                let result = raw(call.number, a[0], a[1], a[2], a[3], a[4], a[5])
                results.append((call.name, result < 0 ? errno : 0))
                if result > 2, call.name.hasPrefix("socket") { close(Int32(result)) }
            }
        }
    }

    /// The filters as the kernel executes them, not as they are meant.
    @Suite struct KernelFilterTests {
        private static let refused: [(Call, Int32)] = [
            (Call("socket vsock", 41, 40, 1), EAFNOSUPPORT), (Call("socket vsock, high bits set", 41, 0x1_0000_0028, 1), EAFNOSUPPORT),
            (Call("socket alg", 41, 38, 5), EAFNOSUPPORT), (Call("socket packet", 41, 17, 3), EAFNOSUPPORT),
            (Call("socket netlink connector", 41, 16, 3, 11), EPROTONOSUPPORT),
            (Call("socketpair vsock", 53, 40, 1), ENOSYS), (Call("TIOCSTI", 16, -1, 0x5412), EPERM),
            (Call("TIOCSTI, high bits set", 16, -1, 0x1_0000_5412), EPERM), (Call("TIOCSTI, sign extended", 16, -1, -0xFFFF_ABEE), EPERM),
            (Call("TIOCLINUX", 16, -1, 0x541C), EPERM), (Call("unshare user", 272, 0x1000_0000), EPERM),
            (Call("clone user", 56, 0x1000_0011), EPERM), (Call("clone mount", 56, 0x2_0011), EPERM), (Call("clone3", 435, 0, 0), ENOSYS),
            (Call("mknod character 0:0", 133, 0, 0x2000), EPERM), (Call("mknodat block", 259, -1, 0, 0x6000), EPERM),
            (Call("keyctl", 250), ENOSYS), (Call("add_key", 248), ENOSYS), (Call("io_uring_setup", 425), ENOSYS), (Call("bpf", 321), EPERM),
            (Call("userfaultfd", 323), ENOSYS), (Call("vmsplice", 278), ENOSYS), (Call("perf_event_open", 298), EPERM),
            (Call("mount", 165), EPERM),
            (Call("fsopen", 430), ENOSYS), (Call("setns", 308), EPERM), (Call("personality", 135, 0x4_0000), ENOSYS),
            (Call("x32 getpid", 0x4000_0000 | 39), ENOSYS),
        ]
        private static let granted: [Call] = [
            Call("getpid", 39), Call("socket unix", 41, 1, 1), Call("socket unix, high bits set", 41, 0x1_0000_0001, 1),
            Call("socket netlink route", 41, 16, 3, 0), Call("getrandom", 318, 0, 0),
        ]

        @Test(arguments: [LevelName.standard, .strict])
        func theKernelAnswersAsTheLevelSays(_ level: LevelName) throws {
            let raw = unsafeBitCast(try #require(dlsym(nil, "syscall")), to: RawCall.self)
            let filter = try compiled(filterOf(try resolve(level).confinement))
            let state = Confined(filter, Self.refused.map(\.0) + Self.granted, raw)
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
            for (result, expected) in zip(state.results, Self.refused.map(\.1) + Self.granted.map { _ in 0 }) {
                #expect(result.errno == expected, "\(result.name)")
            }
            #expect(state.results.count == Self.refused.count + Self.granted.count)
        }

        private func compiled(_ filter: SyscallFilter) throws -> SeccompFilter {
            let rules = try filter.rules.map { rule in
                SeccompRule(names: rule.names, action: try action(rule.action), conditions: try rule.conditions.map(condition))
            }
            return try SeccompFilter.compile(defaultAction: action(filter.defaultAction), architectures: [], rules: rules).filter
        }

        private struct Unexpected: Error {}

        private func action(_ action: SyscallFilter.Action) throws -> SeccompAction {
            switch action {
            case .allow: .allow
            case .errno(let number): .errno(number)
            default: throw Unexpected()
            }
        }

        private func condition(_ condition: SyscallFilter.Condition) throws -> SeccompCondition {
            guard case .masked(let mask, let value) = condition.comparison else { throw Unexpected() }
            return SeccompCondition(index: condition.argument, comparison: .maskedEqual, value: mask, second: value)
        }
    }
#endif
