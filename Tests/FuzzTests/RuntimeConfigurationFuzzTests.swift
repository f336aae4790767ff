import Fuzzing
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON
import Testing

@testable import ContainerRuntime

/// Spoiled config.json and coffer.json, from bytes to a plan: what a runtime does with them before it makes anything.
@Suite("Spoiled configurations of the runtime")
struct RuntimeConfigurationFuzzTests {
    private static let sysctls = ["kernel.msg", "kernel.sem", "kernel.shm", "kernel.hostname", "kernel.domainname", "fs.mqueue.", "net."]

    /// Plans, and looks whether the plan does what the configuration says.
    private func plan(_ spec: RuntimeSpec, _ ext: BundleExtension?) throws {
        var facts = LaunchFacts(hasControlGroups: true, bundle: "/bundle")
        facts.isPrivileged = ext == nil
        let plan = try LaunchPlanner.plan(spec, ext, facts: facts)
        func demand(_ holds: Bool, _ what: String) throws { if !holds { throw FuzzFinding(what) } }
        try demand(plan.violations.isEmpty, "a plan with violations: \(plan.violations)")
        for path in spec.linux?.maskedPaths ?? [] { try demand(plan.steps.contains(.mask(path: path)), "\(path) is not masked") }
        for path in spec.linux?.readonlyPaths ?? [] { try demand(plan.steps.contains(.readOnlyPath(path)), "\(path) is not read-only") }
        if spec.process?.noNewPrivileges == true { try demand(plan.steps.contains(.noNewPrivileges), "no_new_privs is lost") }
        if spec.linux?.seccomp != nil { try demand(plan.steps.contains { $0.kind == .systemCallFilter }, "the filter is lost") }
        if ext?.landlock != nil { try demand(plan.steps.contains { $0.kind == .landlock }, "Landlock is lost") }
        if ext?.lockMounts == true { try demand(plan.steps.contains { $0.kind == .lockedMounts }, "the mounts are not locked") }
        for namespace in spec.linux?.namespaces ?? [] where namespace.path?.isEmpty ?? true {
            try demand(plan.newNamespaces.count >= 1, "namespace \(namespace.type) is lost")
        }
        let moved = plan.steps.filter { $0.kind == .networkDevice }.count
        try demand(moved == spec.linux?.netDevices?.count ?? 0, "a network device is lost")
        for kind in [LaunchStep.Kind.capabilities, .identity, .verification, .pivot] {
            try demand(plan.steps.contains { $0.kind == kind }, "\(kind) is lost")
        }
        for step in plan.steps {
            try demand(!step.description.isEmpty, "\(step.kind) says nothing")
            if case .networkDevice(let device) = step {
                let names = [device.hostName, device.name].map { Array($0.utf8) }
                try demand(names.allSatisfy { (1...16).contains($0.count) && !$0.contains { $0 <= 32 || $0 == 47 } }, "\(device) is let through")
            }
            guard case .systemControl(let key, _) = step else { continue }
            try demand(Self.sysctls.contains { key.hasPrefix($0) }, "sysctl \(key) is let through")
        }
    }

    /// Limits as both kinds of control groups and the device program take them.
    private func limit(_ resources: RuntimeSpec.Resources) throws {
        let limits = try CgroupLimits(resources.withoutZeros)
        for setting in CgroupV2Setting.all(limits) where setting.file.contains("/") && !setting.file.hasPrefix("hugetlb.") {
            throw FuzzFinding("a limit outside of its group: \(setting.file)")
        }
        if V1Settings.of(resources).contains(where: { $0.file.contains("/") }) { throw FuzzFinding("a limit outside of its group") }
        guard let first = limits.devices.first, !first.allow, first.type == "a", first.major == nil, first.access == "rwm" else {
            throw FuzzFinding("devices do not begin with none")
        }
        _ = DeviceProgram(limits.devices).instructions.count
        _ = resources.limitsAnything
    }

    private func refusing(_ body: () throws -> Void) throws -> FuzzVerdict {
        do {
            try body()
            return .accepted
        } catch let finding as FuzzFinding {
            throw finding
        } catch {
            try Refusal.check(error)
            return .refused
        }
    }

    @Test func configurations() throws {
        let corpus = try Corpus.documents(Corpus.runtime)
        let words = Corpus.words(corpus)
        let result = Fuzzer("config.json", corpus: corpus) { $0.mutate(&$1, words: words) }.run(8000) { document in
            try refusing {
                let (spec, _) = try Bundle.parse(document.bytes, directory: "/nonexistent", configuration: "config.json")
                let again = try StrictJSONDecoder().decode(RuntimeSpec.self, from: try StrictJSONEncoder().encode(spec))
                if again != spec { throw FuzzFinding("what is written is not what was read") }
                if let resources = spec.linux?.resources { try limit(resources) }
                try plan(spec, nil)
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func filters() throws {
        let corpus = try Corpus.documents(Corpus.runtime).compactMap { document in
            document.input.value["linux"]?["seccomp"].map { (name: "seccomp", input: JSONDocument($0)) }
        }
        let words = Corpus.words(corpus)
        let result = Fuzzer("seccomp", corpus: corpus) { $0.mutate(&$1, words: words) }.run(3000) { document in
            try refusing {
                let profile = try StrictJSONDecoder().decode(RuntimeSpec.Seccomp.self, from: document.bytes)
                let compiled = try SystemCallFilterCompiler(cacheDirectory: nil).compile(profile)
                if compiled.filter.instructions.isEmpty { throw FuzzFinding("an empty filter") }
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func extensions() throws {
        let corpus = try Corpus.documents(Corpus.bundleExtension)
        let words = Corpus.words(corpus)
        let specs = try Corpus.runtime.map { try StrictJSONDecoder().decode(RuntimeSpec.self, from: Array($0.text.utf8)) }
        let result = Fuzzer("coffer.json", corpus: corpus, mostMutations: 2) { $0.mutate(&$1, words: words) }.run(4000) { document in
            try refusing {
                let ext = try StrictJSONDecoder(unknownKeys: .reject).decode(BundleExtension.self, from: document.bytes)
                for spec in specs { _ = try refusing { try plan(spec, ext) } }
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func processesAndLimits() throws {
        let processes = try Corpus.documents(Corpus.runtime).compactMap { document in
            document.input.value["process"].map { (name: "process of \(document.name)", input: JSONDocument($0)) }
        }
        let words = Corpus.words(processes)
        let spec = try StrictJSONDecoder().decode(RuntimeSpec.self, from: Array(Corpus.runtime[1].text.utf8))
        let ofProcesses = Fuzzer("exec --process", corpus: processes) { $0.mutate(&$1, words: words) }.run(4000) { document in
            try refusing {
                var changed = spec
                changed.process = try StrictJSONDecoder().decode(RuntimeSpec.Process.self, from: document.bytes)
                try plan(changed, nil)
            }
        }
        let resources = try Corpus.documents(Corpus.runtime).compactMap { document in
            document.input.value["linux"]?["resources"].map { (name: "resources of \(document.name)", input: JSONDocument($0)) }
        }
        let limitWords = Corpus.words(resources)
        let ofLimits = Fuzzer("update --resources", corpus: resources) { $0.mutate(&$1, words: limitWords) }.run(6000) { document in
            try refusing { try limit(try StrictJSONDecoder().decode(RuntimeSpec.Resources.self, from: document.bytes)) }
        }
        #expect(ofProcesses.findings + ofLimits.findings == [])
        #expect(ofProcesses.isTelling() && ofLimits.isTelling())
    }
}
