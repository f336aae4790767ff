import CLinux
import Glibc

/// A list of device rules as a program of the kernel's (BPF_PROG_TYPE_CGROUP_DEVICE): what v2 has in place of v1's devices controller.
///
/// The kernel asks it for each open and mknod of a device node; it answers 1 for yes. As in v1, the last rule that speaks of an access decides,
/// for each of read, write and mknod alone.
public struct DeviceProgram: Sendable, Equatable {
    /// linux/bpf.h, struct bpf_insn.
    public struct Instruction: Sendable, Equatable {
        public let code: UInt8
        /// Destination in the low four bits, source in the high ones.
        public let registers: UInt8
        public let offset: Int16
        public let immediate: Int32

        public init(_ code: UInt8, destination: UInt8, source: UInt8 = 0, offset: Int16 = 0, immediate: Int32 = 0) {
            self.code = code
            registers = destination | source << 4
            self.offset = offset
            self.immediate = immediate
        }

        /// As the kernel reads it, in the machine's own byte order.
        var bytes: [UInt8] {
            var result = [code, registers]
            withUnsafeBytes(of: offset) { result += $0 }
            withUnsafeBytes(of: immediate) { result += $0 }
            return result
        }
    }

    /// BPF_DEVCG_ACC_MKNOD, _READ, _WRITE.
    private static let accessBits: [Character: Int32] = ["m": 1, "r": 2, "w": 4]
    /// BPF_DEVCG_DEV_BLOCK, _CHAR.
    private static let typeNumbers: [Character: Int32] = ["b": 1, "c": 2]

    // struct bpf_cgroup_dev_ctx: access and type in one word, major, minor. r1 is its address.
    private static let type: UInt8 = 2
    private static let major: UInt8 = 4
    private static let minor: UInt8 = 5
    /// What has been asked for and not been decided yet.
    private static let remaining: UInt8 = 3

    public let instructions: [Instruction]

    /// - Parameter rules: in order, later ones win. The list decides alone: what no rule speaks of is allowed, unless the first denies all.
    public init(_ rules: [DeviceRule]) {
        var code = [
            Instruction(0x61, destination: Self.type, source: 1, offset: 0),  // r2 = *(u32 *)(r1 + 0)
            Instruction(0xbc, destination: Self.remaining, source: Self.type),  // w3 = w2
            Instruction(0x54, destination: Self.type, immediate: 0xffff),  // w2 &= 0xffff: the type
            Instruction(0x74, destination: Self.remaining, immediate: 16),  // w3 >>= 16: the access
            Instruction(0x61, destination: Self.major, source: 1, offset: 4),
            Instruction(0x61, destination: Self.minor, source: 1, offset: 8),
        ]
        for rule in rules.reversed() { code += Self.code(rule) }
        let deniesAll = rules.first.map { !$0.allow && $0.type == "a" && $0.major == nil && $0.minor == nil } ?? false
        code += Self.answer(deniesAll ? 0 : 1)
        instructions = code
    }

    private static func answer(_ value: Int32) -> [Instruction] {
        [Instruction(0xb7, destination: 0, immediate: value), Instruction(0x95, destination: 0)]  // r0 = value; exit
    }

    /// Conditions that skip the rule, then what it decides.
    private static func code(_ rule: DeviceRule) -> [Instruction] {
        let mask = rule.access.reduce(Int32(0)) { $0 | (accessBits[$1] ?? 0) }
        var decision: [Instruction]
        if rule.allow {
            // What it allows is decided; when that was all, the answer is yes.
            decision = [
                Instruction(0x54, destination: remaining, immediate: ~mask & 7),  // w3 &= ~mask
                Instruction(0x56, destination: remaining, offset: 2, immediate: 0),  // if w3 != 0 skip the answer
            ]
            decision += answer(1)
        } else {
            decision = [
                Instruction(0xbc, destination: 0, source: remaining),  // w0 = w3
                Instruction(0x54, destination: 0, immediate: mask),  // w0 &= mask
                Instruction(0x16, destination: 0, offset: 2, immediate: 0),  // if w0 == 0 skip the answer
            ]
            decision += answer(0)
        }
        var conditions: [(register: UInt8, value: Int32)] = []
        if let number = typeNumbers[rule.type] { conditions.append((type, number)) }
        if let number = rule.major { conditions.append((major, Int32(bitPattern: number))) }
        if let number = rule.minor { conditions.append((minor, Int32(bitPattern: number))) }
        var result: [Instruction] = []
        for (index, condition) in conditions.enumerated() {
            let skipped = Int16(conditions.count - index - 1 + decision.count)
            result.append(Instruction(0x56, destination: condition.register, offset: skipped, immediate: condition.value))  // if wN != value skip
        }
        return result + decision
    }

    /// Loads the program and attaches it to a group, beside whatever is attached above it: every one of them must say yes.
    ///
    /// - Throws: EPERM where the caller may load no programs.
    public func attach(to directory: String) throws(KernelError) {
        let code = instructions.flatMap(\.bytes)
        let count = UInt32(instructions.count)
        let program = FileDescriptor(
            owning: try retrying("bpf", "device rules") { code.withUnsafeBytes { cl_bpf_load_device_program($0.baseAddress, count) } })
        let group = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
        let (raw, target) = (program.rawValue, group.rawValue)
        try retrying("bpf", directory) { cl_bpf_attach_device_program(target, raw) }
    }
}
