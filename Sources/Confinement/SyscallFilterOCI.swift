import OCISpec
import StrictJSON

// The OCI form of a filter: config-linux.md, "Seccomp".

extension SyscallFilter.Action {
    /// Action and error number as OCI documents and Docker's profiles say them; EPERM where no number is given.
    init(oci name: String, errno number: UInt32?) throws(ConfinementError) {
        let code = number ?? 1
        guard let errno = UInt16(exactly: code), errno <= 4095 else {
            throw ConfinementError("seccomp: the error number \(code) is not within 0…4095")
        }
        switch name {
        case "SCMP_ACT_ALLOW": self = .allow
        case "SCMP_ACT_LOG": self = .log
        case "SCMP_ACT_TRAP": self = .trap
        case "SCMP_ACT_NOTIFY": self = .notify
        case "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD": self = .killThread
        case "SCMP_ACT_KILL_PROCESS": self = .killProcess
        case "SCMP_ACT_ERRNO": self = .errno(errno)
        case "SCMP_ACT_TRACE": self = .trace(errno)
        default: throw ConfinementError("seccomp: no action is named “\(name)”")
        }
    }

    var oci: (action: String, errnoRet: UInt32?) {
        switch self {
        case .allow: ("SCMP_ACT_ALLOW", nil)
        case .log: ("SCMP_ACT_LOG", nil)
        case .trap: ("SCMP_ACT_TRAP", nil)
        case .notify: ("SCMP_ACT_NOTIFY", nil)
        case .killThread: ("SCMP_ACT_KILL_THREAD", nil)
        case .killProcess: ("SCMP_ACT_KILL_PROCESS", nil)
        case .errno(let number): ("SCMP_ACT_ERRNO", UInt32(number))
        case .trace(let number): ("SCMP_ACT_TRACE", UInt32(number))
        }
    }
}

extension SyscallFilter.Condition {
    init(_ argument: RuntimeSpec.Seccomp.Argument) throws(ConfinementError) {
        guard argument.index < 6 else { throw ConfinementError("seccomp: system calls have no argument \(argument.index)") }
        let comparison: Comparison
        switch argument.op {
        case "SCMP_CMP_NE": comparison = .notEqual(argument.value)
        case "SCMP_CMP_LT": comparison = .less(argument.value)
        case "SCMP_CMP_LE": comparison = .lessOrEqual(argument.value)
        case "SCMP_CMP_EQ": comparison = .equal(argument.value)
        case "SCMP_CMP_GE": comparison = .greaterOrEqual(argument.value)
        case "SCMP_CMP_GT": comparison = .greater(argument.value)
        case "SCMP_CMP_MASKED_EQ": comparison = .masked(mask: argument.value, value: argument.valueTwo ?? 0)
        default: throw ConfinementError("seccomp: no comparison is named “\(argument.op)”")
        }
        self.init(argument: argument.index, comparison)
    }

    var oci: RuntimeSpec.Seccomp.Argument {
        switch comparison {
        case .notEqual(let value): .init(index: argument, value: value, op: "SCMP_CMP_NE")
        case .less(let value): .init(index: argument, value: value, op: "SCMP_CMP_LT")
        case .lessOrEqual(let value): .init(index: argument, value: value, op: "SCMP_CMP_LE")
        case .equal(let value): .init(index: argument, value: value, op: "SCMP_CMP_EQ")
        case .greaterOrEqual(let value): .init(index: argument, value: value, op: "SCMP_CMP_GE")
        case .greater(let value): .init(index: argument, value: value, op: "SCMP_CMP_GT")
        case .masked(let mask, let value): .init(index: argument, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ")
        }
    }
}

extension SyscallFilter {
    /// Conditions of a rule. Two for one argument are refused: libseccomp before 2.6 cannot say "and" there, and runc
    /// turned it into "or", which opens what was meant to be shut.
    static func conditions(_ arguments: [RuntimeSpec.Seccomp.Argument], of names: [String]) throws(ConfinementError) -> [Condition] {
        var conditions: [Condition] = []
        for argument in arguments {
            if conditions.contains(where: { $0.argument == argument.index }) {
                throw ConfinementError(
                    "seccomp: the rule for \(names.first ?? "no call") tests argument \(argument.index) twice; "
                        + "write one rule for each range instead")
            }
            conditions.append(try Condition(argument))
        }
        return conditions
    }

    /// Reads the OCI form.
    public init(oci seccomp: RuntimeSpec.Seccomp) throws(ConfinementError) {
        var rules: [Rule] = []
        let described: [RuntimeSpec.Seccomp.Rule]
        do { described = try seccomp.syscalls?.decoded() ?? [] } catch { throw ConfinementError("seccomp: \(error)") }
        for rule in described {
            rules.append(
                Rule(
                    names: rule.names, action: try Action(oci: rule.action, errno: rule.errnoRet),
                    conditions: try Self.conditions(rule.args ?? [], of: rule.names)))
        }
        self.init(
            defaultAction: try Action(oci: seccomp.defaultAction, errno: seccomp.defaultErrnoRet),
            architectures: seccomp.architectures ?? [], rules: rules, flags: seccomp.flags ?? [],
            listenerPath: seccomp.listenerPath ?? "")
    }

    /// Writes the OCI form.
    public var oci: RuntimeSpec.Seccomp {
        let (action, errnoRet) = defaultAction.oci
        return RuntimeSpec.Seccomp(
            defaultAction: action, defaultErrnoRet: errnoRet, architectures: architectures.isEmpty ? nil : architectures,
            flags: flags.isEmpty ? nil : flags, listenerPath: listenerPath.isEmpty ? nil : listenerPath,
            syscalls: rules.map { rule in
                let (action, errnoRet) = rule.action.oci
                return RuntimeSpec.Seccomp.Rule(
                    names: rule.names, action: action, errnoRet: errnoRet,
                    args: rule.conditions.isEmpty ? nil : rule.conditions.map(\.oci))
            })
    }
}
