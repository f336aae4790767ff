/// A property that did not hold.
public struct FuzzFinding: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// What the program made of a case.
public enum FuzzVerdict: Sendable { case accepted, refused }

/// A target of the fuzzer: documents that are right, a way to spoil them, and what must hold of every one of them.
///
/// A case is a document of the corpus and a few mutations, each with a seed of its own, so that it can be told in a few lines, told again from its
/// number, and made smaller by leaving mutations out. Environment:
///
///     COFFER_FUZZ_SEED     the seed; 1 where there is none, so that `make test` says the same everywhere
///     COFFER_FUZZ_FACTOR   so many times the usual number of cases
///     COFFER_FUZZ_CASE     this case alone
public struct Fuzzer<Input> {
    public let name: String
    private let corpus: [(name: String, input: Input)]
    private let mostMutations: Int
    private let mutate: (inout Input, inout SeededGenerator) -> String

    /// - Parameter mutate: changes a document once, and says in a few words how.
    public init(
        _ name: String, corpus: [(name: String, input: Input)], mostMutations: Int = 4,
        mutate: @escaping (inout Input, inout SeededGenerator) -> String
    ) {
        self.name = name
        self.corpus = corpus
        self.mostMutations = mostMutations
        self.mutate = mutate
    }

    /// One case: which document, and the seeds of what is done to it.
    private struct Plan {
        var base: Int
        var mutations: [UInt64]
    }

    /// Checks that many cases and prints one line.
    ///
    /// - Parameter check: throws for a property that does not hold; any error but the program's own refusals is such a one.
    /// - Returns: how many were accepted and refused, and what was found, each as small as it could be made.
    public func run(_ cases: Int, settings: FuzzSettings = .current, check: (Input) throws -> FuzzVerdict) -> FuzzResult {
        var result = FuzzResult()
        let range = settings.onlyCase.map { $0..<($0 + 1) } ?? 0..<(cases * settings.factor)
        CrashReport.install()
        defer { CrashReport.finish() }
        for index in range {
            let plan = plan(index, settings.seed)
            let (input, history) = make(plan)
            CrashReport.begin(told(index, settings.seed, plan, history))
            do {
                switch try check(input) {
                case .accepted: result.accepted += 1
                case .refused: result.refused += 1
                }
            } catch {
                result.findings.append(smallest(index, settings.seed, plan, error, check))
                if result.findings.count == 5 { break }
            }
        }
        print(
            "fuzz \(name): seed \(settings.seed), \(range.count) cases: \(result.accepted) accepted, \(result.refused) refused, "
                + "\(result.findings.count) findings")
        return result
    }

    private func plan(_ index: Int, _ seed: UInt64) -> Plan {
        var generator = SeededGenerator(seed, target: name, case: index)
        let base = generator.below(corpus.count)
        return Plan(base: base, mutations: (0...generator.below(mostMutations)).map { _ in generator.next() })
    }

    private func make(_ plan: Plan) -> (Input, [String]) {
        var input = corpus[plan.base].input
        var history: [String] = []
        for seed in plan.mutations {
            var generator = SeededGenerator(seed)
            history.append(mutate(&input, &generator))
        }
        return (input, history)
    }

    private func told(_ index: Int, _ seed: UInt64, _ plan: Plan, _ history: [String]) -> String {
        let head = "fuzz \(name): COFFER_FUZZ_SEED=\(seed) COFFER_FUZZ_CASE=\(index): \(corpus[plan.base].name)"
        return ([head] + history).joined(separator: "\n    ")
    }

    /// Leaves out mutations that the finding does not need.
    private func smallest(_ index: Int, _ seed: UInt64, _ plan: Plan, _ error: any Error, _ check: (Input) throws -> FuzzVerdict) -> String {
        var (plan, error) = (plan, error)
        var position = plan.mutations.count - 1
        while position >= 0 {
            var fewer = plan
            fewer.mutations.remove(at: position)
            let (input, history) = make(fewer)
            CrashReport.begin(told(index, seed, fewer, history))
            do {
                _ = try check(input)
            } catch let other {
                (plan, error) = (fewer, other)
            }
            position -= 1
        }
        return told(index, seed, plan, make(plan).1) + "\n  → \("\(error)".prefix(300))"
    }
}

/// How the fuzzer is run.
public struct FuzzSettings: Sendable {
    public var seed: UInt64
    public var factor: Int
    public var onlyCase: Int?

    public init(seed: UInt64, factor: Int = 1, onlyCase: Int? = nil) {
        self.seed = seed
        self.factor = factor
        self.onlyCase = onlyCase
    }

    /// By the environment.
    public static let current = FuzzSettings(
        seed: number("COFFER_FUZZ_SEED") ?? 1, factor: number("COFFER_FUZZ_FACTOR") ?? 1, onlyCase: number("COFFER_FUZZ_CASE"))

    private static func number<Number: FixedWidthInteger>(_ name: String) -> Number? { environment(name).flatMap { Number($0) } }
}

/// What became of a run.
public struct FuzzResult: Sendable {
    public var accepted = 0
    public var refused = 0
    public var findings: [String] = []
    public init() {}

    /// Damage that is always or never noticed would test nothing: so many of a thousand cases at least must be accepted, and refused.
    public func isTelling(perMille: Int = 20) -> Bool {
        let cases = accepted + refused
        return cases < 100 || min(accepted, refused) * 1000 >= cases * perMille
    }
}
