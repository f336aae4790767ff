import Confinement

/// A system call filter as the kernel runs it: classic BPF over struct seccomp_data (linux/filter.h, linux/seccomp.h; the instructions that
/// seccomp_check_filter of kernel/seccomp.c lets through, and no others).
public struct FilterProgram: Sendable, Equatable {
    struct Instruction: Sendable, Equatable {
        let code: UInt16
        let jumpTrue: UInt8
        let jumpFalse: UInt8
        let k: UInt32
    }

    /// BPF_MAXINSNS
    static let maximumLength = 4096
    let instructions: [Instruction]

    /// Instructions of 8 bytes each, in the machine's order.
    ///
    /// - Throws: `ExposureError` for what no kernel would have loaded.
    public init(_ bytes: [UInt8]) throws(ExposureError) {
        guard !bytes.isEmpty, bytes.count % 8 == 0, bytes.count / 8 <= Self.maximumLength else {
            throw ExposureError("a filter of \(bytes.count) bytes is none that a kernel loads")
        }
        var read: [Instruction] = []
        read.reserveCapacity(bytes.count / 8)
        for start in stride(from: 0, to: bytes.count, by: 8) {
            let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + 4 + $1]) << UInt32(8 * $1) }
            read.append(
                Instruction(
                    code: UInt16(bytes[start]) | UInt16(bytes[start + 1]) << 8, jumpTrue: bytes[start + 2], jumpFalse: bytes[start + 3], k: word))
        }
        instructions = read
        for (position, instruction) in read.enumerated() {
            guard Self.isValid(instruction, position, read.count) else {
                throw ExposureError("instruction \(position) of a filter (code \(instruction.code)) is none that a kernel loads")
            }
        }
        guard read.last.map({ $0.code & 7 == 6 }) == true else { throw ExposureError("a filter does not end with an answer") }
    }

    private static func isValid(_ instruction: Instruction, _ position: Int, _ count: Int) -> Bool {
        let (k, rest) = (Int(instruction.k), count - position - 1)
        return switch instruction.code {
        case 0x20: k % 4 == 0 && k < 64  // ld [k]
        case 0x00, 0x01, 0x80, 0x81, 0x07, 0x87, 0x06, 0x16, 0x84: true  // immediate values, lengths, tax, txa, ret, neg
        case 0x60, 0x61, 0x02, 0x03: k < 16  // scratch memory
        case 0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x3C, 0x54, 0x5C, 0x44, 0x4C, 0xA4, 0xAC, 0x6C, 0x7C: true  // arithmetic
        case 0x34: k != 0
        case 0x64, 0x74: k < 32
        case 0x05: k < rest
        case 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D: Int(instruction.jumpTrue) < rest && Int(instruction.jumpFalse) < rest
        default: false
        }
    }

    /// A call as far as it is known: the arguments that are not given can be anything.
    struct Call: Sendable, Equatable {
        let number: UInt32
        /// AUDIT_ARCH_* (linux/audit.h).
        let architecture: UInt32
        var arguments: [UInt64] = []

        /// A word of struct seccomp_data by its offset; nil where it can be anything.
        func word(_ offset: UInt32) -> UInt32? {
            switch offset {
            case 0: return number
            case 4: return architecture
            case 16..<64:
                let index = Int(offset - 16) / 8
                guard index < arguments.count else { return nil }
                return UInt32(truncatingIfNeeded: offset % 8 == 0 ? arguments[index] : arguments[index] >> 32)
            default: return nil
            }
        }
    }

    private struct State: Hashable {
        var position = 0
        var a: UInt32? = 0
        var x: UInt32? = 0
        var memory: [UInt32?] = []
    }

    /// Whether the call gets into the kernel with some of the arguments that are left open, or may do so on someone's word.
    ///
    /// Every jump that depends on something open is taken both ways, so the answer is never too small.
    ///
    /// What has more ways through it than can be followed is taken to let the call in.
    func mayReach(_ call: Call) -> Bool {
        var waiting = [State(memory: Array(repeating: 0, count: 16))]
        // Ways that have met again are followed once.
        var seen: Set<State> = []
        var steps = 0
        while var state = waiting.popLast() {
            while true {
                steps += 1
                if steps > Self.maximumSteps { return true }
                let instruction = instructions[state.position]
                state.position += 1
                if instruction.code & 7 == 6 {
                    guard let answer = instruction.code == 0x06 ? instruction.k : state.a else { return true }
                    if Self.reachesKernel(answer) { return true }
                    break
                }
                if instruction.code & 7 == 5 {
                    let ways = Self.targets(instruction, state)
                    if ways.count == 2 {
                        var other = state
                        other.position += ways[1]
                        if seen.insert(other).inserted { waiting.append(other) }
                    }
                    state.position += ways[0]
                    continue
                }
                Self.step(instruction, call, &state)
            }
        }
        return false
    }

    private static let maximumSteps = 20_000

    /// SECCOMP_RET_ALLOW, _LOG, _TRACE and _USER_NOTIF: the others refuse. KILL_PROCESS is the largest as an unsigned number.
    private static func reachesKernel(_ answer: UInt32) -> Bool { (0x7FC0_0000..<0x8000_0000).contains(answer) }

    /// How far the jump goes: one distance, or two where it depends on something open.
    private static func targets(_ instruction: Instruction, _ state: State) -> [Int] {
        if instruction.code == 0x05 { return [Int(instruction.k)] }
        let ways = [Int(instruction.jumpTrue), Int(instruction.jumpFalse)]
        guard let a = state.a, let other = instruction.code & 8 == 0 ? instruction.k : state.x else { return ways[0] == ways[1] ? [ways[0]] : ways }
        let holds =
            switch instruction.code & 0xF0 {
            case 0x10: a == other
            case 0x20: a > other
            case 0x30: a >= other
            default: a & other != 0
            }
        return [holds ? ways[0] : ways[1]]
    }

    private static func step(_ instruction: Instruction, _ call: Call, _ state: inout State) {
        let k = instruction.k
        switch instruction.code {
        case 0x20: state.a = call.word(k)
        case 0x00: state.a = k
        case 0x01: state.x = k
        case 0x80: state.a = 64  // sizeof(struct seccomp_data)
        case 0x81: state.x = 64
        case 0x60: state.a = state.memory[Int(k)]
        case 0x61: state.x = state.memory[Int(k)]
        case 0x02: state.memory[Int(k)] = state.a
        case 0x03: state.memory[Int(k)] = state.x
        case 0x07: state.x = state.a
        case 0x87: state.a = state.x
        case 0x84: state.a = state.a.map { 0 &- $0 }
        default:
            guard let a = state.a, let other = instruction.code & 8 == 0 ? k : state.x else {
                state.a = nil
                return
            }
            state.a = arithmetic(instruction.code & 0xF0, a, other)
        }
    }

    private static func arithmetic(_ operation: UInt16, _ a: UInt32, _ b: UInt32) -> UInt32? {
        switch operation {
        case 0x00: a &+ b
        case 0x10: a &- b
        case 0x20: a &* b
        // The kernel answers 0, which ends the filter, when it divides by nothing.
        case 0x30: b == 0 ? nil : a / b
        case 0x40: a | b
        case 0x50: a & b
        case 0x60: a << (b & 31)
        case 0x70: a >> (b & 31)
        case 0xA0: a ^ b
        default: nil
        }
    }
}

/// The filters of one process: of their answers the strictest counts, so a call gets in when every one of them lets it.
public struct LoadedFilters: Sendable, Equatable {
    public let programs: [FilterProgram]

    public init(_ programs: [FilterProgram]) { self.programs = programs }

    func mayReach(_ call: FilterProgram.Call) -> Bool { programs.allSatisfy { $0.mayReach(call) } }

    /// Whether calls of the other architectures that the kernel runs programs of get in.
    var letsForeignIn: Bool {
        Architecture.current.foreignAuditNumbers.contains { other in
            (UInt32(0)..<500).contains { mayReach(.init(number: $0 | other.bit, architecture: other.architecture)) }
        }
    }
}

extension Architecture {
    /// AUDIT_ARCH_* of linux/audit.h.
    var auditNumber: UInt32 {
        switch self {
        case .x86_64: 0xC000_003E
        case .aarch64: 0xC000_00B7
        }
    }

    /// Those whose programs its kernel runs as well; x32 has x86_64's number and a bit in the call's.
    var foreignAuditNumbers: [(architecture: UInt32, bit: UInt32)] {
        switch self {
        case .x86_64: [(0x4000_0003, 0), (0xC000_003E, 0x4000_0000)]
        case .aarch64: [(0x4000_0028, 0)]
        }
    }
}
