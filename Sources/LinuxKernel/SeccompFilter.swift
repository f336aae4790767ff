import CLinux
import CSeccomp
import Glibc

/// What a filter does with a call (seccomp(2)).
public enum SeccompAction: Sendable, Equatable {
    case allow, log, killThread, killProcess, trap, notify
    case errno(UInt16)
    case trace(UInt16)

    /// libseccomp's SCMP_ACT_* word.
    fileprivate var word: UInt32 {
        switch self {
        case .allow: 0x7fff_0000
        case .log: 0x7ffc_0000
        case .killThread: 0x0000_0000
        case .killProcess: 0x8000_0000
        case .trap: 0x0003_0000
        case .notify: 0x7fc0_0000
        case .errno(let number): 0x0005_0000 | UInt32(number)
        case .trace(let number): 0x7ff0_0000 | UInt32(number)
        }
    }
}

/// A condition on one argument of a call.
public struct SeccompCondition: Sendable, Equatable {
    /// Comparison operators; raw values are libseccomp's SCMP_CMP_*.
    public enum Comparison: UInt32, Sendable {
        case notEqual = 1
        case less, lessOrEqual, equal, greaterOrEqual, greater, maskedEqual
    }

    /// Argument number, 0…5.
    public var index: UInt32
    public var comparison: Comparison
    /// The value, or the mask of `maskedEqual`.
    public var value: UInt64
    /// The value under the mask of `maskedEqual`.
    public var second: UInt64

    public init(index: UInt32, comparison: Comparison, value: UInt64, second: UInt64) {
        self.index = index
        self.comparison = comparison
        self.value = value
        self.second = second
    }
}

/// One rule: calls by name, and conditions that must all hold.
public struct SeccompRule: Sendable, Equatable {
    public var names: [String]
    public var action: SeccompAction
    public var conditions: [SeccompCondition]

    public init(names: [String], action: SeccompAction, conditions: [SeccompCondition]) {
        self.names = names
        self.action = action
        self.conditions = conditions
    }
}

/// A compiled system call filter: classic BPF, ready for seccomp(2).
public struct SeccompFilter: Sendable, Equatable {
    /// Instructions, 8 bytes each (linux/filter.h).
    public let instructions: [UInt8]

    public init(instructions: [UInt8]) { self.instructions = instructions }

    /// Of libseccomp, as "MAJOR.MINOR.MICRO".
    public static var libraryVersion: String {
        guard let version = seccomp_version()?.pointee else { return "" }
        return "\(version.major).\(version.minor).\(version.micro)"
    }

    /// Compiles rules with libseccomp.
    ///
    /// - Parameter architectures: libseccomp's tokens beside the native one ("x86", "x32", …).
    /// - Parameter refusesNewerCalls: a call with a number above all that the rules name gets ENOSYS instead of the default error, so that a
    ///   program falls back to what is older (x86-64 and aarch64).
    /// - Returns: the filter, and the names that libseccomp does not know. Such calls fall to the default action.
    public static func compile(
        defaultAction: SeccompAction, architectures: [String], rules: [SeccompRule], refusesNewerCalls: Bool = false
    ) throws(KernelError) -> (filter: SeccompFilter, unknown: [String]) {
        guard let context = seccomp_init(defaultAction.word) else { throw KernelError(call: "seccomp_init", errno: ENOMEM) }
        defer { seccomp_release(context) }
        for name in architectures {
            let token = seccomp_arch_resolve_name(name)
            if token == 0 { throw KernelError(call: "seccomp_arch_resolve_name", errno: EINVAL, subject: name) }
            let result = seccomp_arch_add(context, token)
            if result != 0 && result != -EEXIST { throw KernelError(call: "seccomp_arch_add", errno: -result, subject: name) }
        }
        // A balanced tree instead of a chain: fewer instructions for every call that the payload makes.
        try check("SCMP_FLTATR_CTL_OPTIMIZE", seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2))
        // Foreign architectures (int 0x80 of x86) get the default action and no way round the argument filters.
        let badArchitecture: SeccompAction = defaultAction == .allow ? .killProcess : defaultAction
        try check("SCMP_FLTATR_ACT_BADARCH", seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, badArchitecture.word))
        var unknown: [String] = []
        let newest = rules.flatMap(\.names).map { seccomp_syscall_resolve_name($0) }.max() ?? 0
        for rule in rules where rule.action != defaultAction {
            let comparisons = rule.conditions.map {
                scmp_arg_cmp(arg: $0.index, op: scmp_compare($0.comparison.rawValue), datum_a: $0.value, datum_b: $0.second)
            }
            for name in rule.names {
                let number = seccomp_syscall_resolve_name(name)
                if number == -1 {  // __NR_SCMP_ERROR
                    unknown.append(name)
                    continue
                }
                let result = seccomp_rule_add_array(context, rule.action.word, number, UInt32(comparisons.count), comparisons)
                if result != 0 && result != -EEXIST {
                    throw KernelError(call: "seccomp_rule_add", errno: -result, subject: name)
                }
            }
        }
        var instructions = try export(context)
        if refusesNewerCalls, case .errno = defaultAction, newest > 0 { instructions = Self.newerCallsRefused(UInt32(newest)) + instructions }
        return (SeccompFilter(instructions: instructions), unknown)
    }

    /// Instructions (linux/filter.h, linux/audit.h) that go before a filter: of the native architecture, without x32, above `newest`: ENOSYS.
    private static func newerCallsRefused(_ newest: UInt32) -> [UInt8] {
        #if arch(x86_64)
            let architecture: UInt32 = 0xc000_003e
        #else
            let architecture: UInt32 = 0xc000_00b7
        #endif
        let program: [(code: UInt16, yes: UInt8, no: UInt8, value: UInt32)] = [
            (0x20, 0, 0, 4),  // load seccomp_data.arch
            (0x15, 0, 4, architecture),  // another one: on
            (0x20, 0, 0, 0),  // load seccomp_data.nr
            (0x35, 2, 0, 0x4000_0000),  // x32: on
            (0x25, 0, 1, newest),  // not above: on
            (0x06, 0, 0, 0x0005_0000 | UInt32(ENOSYS)),  // SECCOMP_RET_ERRNO
        ]
        return program.flatMap { each in
            [UInt8(truncatingIfNeeded: each.code), UInt8(truncatingIfNeeded: each.code >> 8), each.yes, each.no]
                + (0..<4).map { UInt8(truncatingIfNeeded: each.value >> ($0 * 8)) }
        }
    }

    private static func check(_ subject: String, _ result: Int32) throws(KernelError) {
        if result != 0 { throw KernelError(call: "seccomp_attr_set", errno: -result, subject: subject) }
    }

    private static func export(_ context: scmp_filter_ctx) throws(KernelError) -> [UInt8] {
        let file = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("seccomp", 1) })
        let result = seccomp_export_bpf(context, file.rawValue)
        if result != 0 { throw KernelError(call: "seccomp_export_bpf", errno: -result) }
        let raw = file.rawValue
        try retrying("lseek") { lseek(raw, 0, SEEK_SET) }
        return try file.readAll(limit: 1 << 20)
    }

    /// Loads the filter for the calling thread, for ever. Needs no_new_privs or CAP_SYS_ADMIN in its user namespace.
    ///
    /// - Parameter flags: SECCOMP_FILTER_FLAG_*. - Returns: the listener when SECCOMP_FILTER_FLAG_NEW_LISTENER was set, else 0.
    @discardableResult
    public func load(flags: UInt32 = 0) throws(KernelError) -> Int32 {
        let count = instructions.count / 8
        if count == 0 || count > 4096 || instructions.count % 8 != 0 { throw KernelError(call: "seccomp", errno: EINVAL) }
        return try retrying("seccomp") {
            instructions.withUnsafeBytes { bytes in
                var program = cl_sock_fprog(len: UInt16(count), filter: bytes.baseAddress)
                return cl_seccomp(1, flags, &program)  // SECCOMP_SET_MODE_FILTER
            }
        }
    }
}
