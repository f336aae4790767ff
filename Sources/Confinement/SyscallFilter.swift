import OCISpec

/// Which system calls reach the kernel.
public enum SyscallPolicy: Codable, Sendable, Equatable {
    case unconfined
    case filtered(SyscallFilter)
}

/// A system call filter as data (seccomp(2)), in the meaning that libseccomp gives it: a rule holds when all of its
/// conditions hold; calls that no rule names get the default action.
public struct SyscallFilter: Codable, Sendable, Equatable {
    public enum Action: Codable, Sendable, Equatable, Hashable {
        case allow, log, trap, notify, killThread, killProcess
        case errno(UInt16)
        case trace(UInt16)

        /// Whether the call gets into the kernel, or may do so on someone's word.
        public var reachesKernel: Bool {
            switch self {
            case .allow, .log, .notify, .trace: true
            case .trap, .killThread, .killProcess, .errno: false
            }
        }
    }

    /// A condition on one argument. Values are compared in 64 bits, save where a mask says otherwise.
    public struct Condition: Codable, Sendable, Equatable, Hashable {
        public enum Comparison: Codable, Sendable, Equatable, Hashable {
            case notEqual(UInt64)
            case less(UInt64)
            case lessOrEqual(UInt64)
            case equal(UInt64)
            case greaterOrEqual(UInt64)
            case greater(UInt64)
            case masked(mask: UInt64, value: UInt64)
        }

        /// 0…5
        public var argument: UInt32
        public var comparison: Comparison

        public init(argument: UInt32, _ comparison: Comparison) {
            self.argument = argument
            self.comparison = comparison
        }

        /// For an argument that the kernel takes as an `int`: comparing all 64 bits would let a caller past who sets the
        /// upper half, which the kernel then drops (CVE-2019-10063).
        public static func int(_ argument: UInt32, equals value: UInt32) -> Condition {
            Condition(argument: argument, .masked(mask: 0xFFFF_FFFF, value: UInt64(value)))
        }
    }

    public struct Rule: Codable, Sendable, Equatable {
        public var names: [String]
        public var action: Action
        /// All must hold. At most one for an argument: libseccomp refuses more.
        public var conditions: [Condition]

        public init(names: [String], action: Action, conditions: [Condition] = []) {
            self.names = names
            self.action = action
            self.conditions = conditions
        }
    }

    public var defaultAction: Action
    /// libseccomp's names beside the native one ("SCMP_ARCH_X86"); calls of every other architecture get the default.
    public var architectures: [String]
    public var rules: [Rule]
    /// SECCOMP_FILTER_FLAG_*
    public var flags: [String]
    /// The socket that is given the listener of `notify`; "" when no rule notifies.
    public var listenerPath: String

    public init(
        defaultAction: Action, architectures: [String] = [], rules: [Rule] = [], flags: [String] = [], listenerPath: String = ""
    ) {
        self.defaultAction = defaultAction
        self.architectures = architectures
        self.rules = rules
        self.flags = flags
        self.listenerPath = listenerPath
    }

    /// Names that a rule lets through, with or without conditions.
    public var reachable: Set<String> {
        Set(rules.filter { $0.action.reachesKernel }.flatMap(\.names))
    }

    /// What the filter answers to a call, as libseccomp compiles it: a rule without conditions wins over those with some.
    public func action(for name: String, arguments: [UInt64] = []) -> Action {
        let named = rules.filter { $0.names.contains(name) }
        if let plain = named.first(where: { $0.conditions.isEmpty }) { return plain.action }
        return named.first { $0.conditions.allSatisfy { $0.holds(arguments) } }?.action ?? defaultAction
    }
}

extension SyscallFilter.Condition {
    func holds(_ arguments: [UInt64]) -> Bool {
        let value = arguments.indices.contains(Int(argument)) ? arguments[Int(argument)] : 0
        return switch comparison {
        case .notEqual(let other): value != other
        case .less(let other): value < other
        case .lessOrEqual(let other): value <= other
        case .equal(let other): value == other
        case .greaterOrEqual(let other): value >= other
        case .greater(let other): value > other
        case .masked(let mask, let other): value & mask == other
        }
    }

    /// Conditions of which exactly one holds when the lower 32 bits of `argument` are none of `values`, and none
    /// otherwise. libseccomp has no "masked, not equal" and no order of rules to rely on, so the complement is spelled out:
    /// one condition for every bit at which a number can part from all of `values`.
    static func int(_ argument: UInt32, differsFrom values: Set<UInt32>) -> [SyscallFilter.Condition] {
        var conditions: [SyscallFilter.Condition] = []
        func descend(_ prefix: UInt32, bit: Int, _ values: Set<UInt32>) {
            if values.isEmpty {
                let mask = bit == 31 ? 0 : UInt32.max << UInt32(bit + 1)
                conditions.append(.init(argument: argument, .masked(mask: UInt64(mask), value: UInt64(prefix))))
                return
            }
            if bit < 0 { return }
            let one = UInt32(1) << UInt32(bit)
            descend(prefix, bit: bit - 1, values.filter { $0 & one == 0 })
            descend(prefix | one, bit: bit - 1, values.filter { $0 & one != 0 })
        }
        descend(0, bit: 31, values)
        return conditions
    }
}
