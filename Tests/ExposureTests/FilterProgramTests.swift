import Confinement
import LinuxKernel
import Testing

@testable import Exposure

/// Filters as the kernel has them: what they let in, and what no kernel would have loaded.
@Suite struct FilterProgramTests {
    private typealias Words = (code: UInt16, jt: UInt8, jf: UInt8, k: UInt32)

    private func bytes(_ instructions: [Words]) -> [UInt8] {
        var result: [UInt8] = []
        for instruction in instructions {
            result += [UInt8(instruction.code & 0xFF), UInt8(instruction.code >> 8), instruction.jt, instruction.jf]
            for shift in 0..<4 { result.append(UInt8(truncatingIfNeeded: instruction.k >> UInt32(8 * shift))) }
        }
        return result
    }

    private let allow: Words = (0x06, 0, 0, 0x7FFF_0000)
    private let refuse: Words = (0x06, 0, 0, 0x0005_0001)
    private let number: Words = (0x20, 0, 0, 0)

    private func call(_ number: UInt32, _ arguments: [UInt64] = []) -> FilterProgram.Call {
        .init(number: number, architecture: Architecture.current.auditNumber, arguments: arguments)
    }

    @Test func whatNoKernelLoadsIsRefused() throws {
        let bad: [[Words]] = [
            [], [number], [allow, number], [(0x20, 0, 0, 2), allow], [(0x20, 0, 0, 64), allow], [(0x28, 0, 0, 12), allow], [(0x05, 0, 0, 7), allow],
            [(0x15, 9, 0, 0), allow], [(0x34, 0, 0, 0), allow], [(0x64, 0, 0, 32), allow], [(0x60, 0, 0, 16), allow], [(0xFFFF, 0, 0, 0), allow],
            Array(repeating: number, count: 4096) + [allow],
        ]
        for program in bad { #expect(throws: ExposureError.self) { try FilterProgram(bytes(program)) } }
        #expect(throws: ExposureError.self) { try FilterProgram(Array(bytes([allow]).dropLast())) }
    }

    /// Bytes by chance: refused or read, and whatever was read can be asked without end or harm.
    @Test func chanceIsBounded() {
        var dice = SystemRandomNumberGenerator()
        let codes: [UInt16] = [
            0x20, 0x00, 0x01, 0x80, 0x81, 0x07, 0x87, 0x06, 0x16, 0x84, 0x60, 0x61, 0x02, 0x03, 0x04, 0x3C, 0x34, 0x64, 0x6C, 0x05, 0x15, 0x2D, 0x45,
        ]
        var read = 0
        for _ in 0..<3000 {
            var program: [Words] = (0..<Int.random(in: 1...40, using: &dice)).map { _ in
                (
                    codes.randomElement(using: &dice) ?? 0, UInt8.random(in: 0...3, using: &dice), UInt8.random(in: 0...3, using: &dice),
                    UInt32.random(in: 0...20, using: &dice)
                )
            }
            program.append(allow)
            guard let filter = try? FilterProgram(bytes(program)) else { continue }
            read += 1
            _ = filter.mayReach(call(1))
            // What some arguments get past is got past by arguments that are open.
            if filter.mayReach(call(1, [1, 2, 3, 4, 5, 6])) { #expect(filter.mayReach(call(1))) }
        }
        #expect(read > 100)
    }

    /// Sixty questions about arguments, each of which doubles the ways: they meet again, and are followed once.
    @Test func waysThatMeetAreFollowedOnce() throws {
        var program: [Words] = []
        for argument in 0..<60 { program += [(0x20, 0, 0, UInt32(16 + argument % 6 * 8)), (0x15, 0, 1, UInt32(argument)), (0x20, 0, 0, 16)] }
        let filter = try FilterProgram(bytes(program + [refuse]))
        #expect(!filter.mayReach(call(1)))
        // Sums of open words never meet: too many ways count as let in.
        var sums: [Words] = []
        for bit in UInt32(0)..<31 { sums += [(0x20, 0, 0, 16), (0x15, 0, 3, 1), (0x60, 0, 0, 0), (0x04, 0, 0, 1 << bit), (0x02, 0, 0, 0)] }
        #expect(try FilterProgram(bytes(sums + [refuse])).mayReach(call(1)))
    }

    @Test func theStrictestOfSeveralCounts() throws {
        let all = try FilterProgram(bytes([allow]))
        let notOne = try FilterProgram(bytes([number, (0x15, 0, 1, 1), refuse, allow]))
        let filters = LoadedFilters([all, notOne])
        #expect(filters.mayReach(call(0)) && !filters.mayReach(call(1)))
        #expect(LoadedFilters([all]).letsForeignIn)
        for answer: UInt32 in [0x8000_0000, 0, 0x0003_0000, 0x0005_0026] {
            #expect(!(try FilterProgram(bytes([(0x06, 0, 0, answer)])).mayReach(call(0))))
        }
        for answer: UInt32 in [0x7FC0_0000, 0x7FF0_0000, 0x7FFC_0000] { #expect(try FilterProgram(bytes([(0x06, 0, 0, answer)])).mayReach(call(0))) }
    }

    /// What libseccomp makes of a level's filter says what the filter said, arguments included.
    @Test(arguments: [LevelName.standard, .strict, .compat]) func compiledFiltersSayTheSame(_ level: LevelName) throws {
        guard case .filtered(var filter) = try coffer(level).confinement.syscalls else {
            Issue.record("the level has no filter")
            return
        }
        let (compiled, unknown) = try ReachableKernelTests.compiled(filter)
        for index in filter.rules.indices { filter.rules[index].names.removeAll(where: Set(unknown).contains) }
        let loaded = LoadedFilters([try FilterProgram(compiled.instructions)])
        let table = try SyscallTable.current()
        var subject = try coffer(level)
        subject.confinement.syscalls = .filtered(filter)
        let asked = KernelCalls(subject, table)
        subject.loadedFilters = loaded
        let applied = KernelCalls(subject, table)
        #expect(applied.reachable == asked.reachable)
        #expect(applied.makesUserNamespaces == asked.makesUserNamespaces)
        #expect(applied.rareFamilies == asked.rareFamilies)
        #expect(!applied.letsForeignIn)
    }
}
