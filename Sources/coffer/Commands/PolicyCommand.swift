import ArgumentParser
import ContainerEngine
import Exposure
import Rendering
import StrictJSON

/// `coffer policy`: what may be run here.
struct PolicyGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Say what may be run here.",
        discussion: "Files: /etc/coffer/policy.json, ~/.config/coffer/policy.json, $COFFER_POLICY. Each can only add to what the others refuse.",
        subcommands: [PolicyShowCommand.self, PolicyCheckCommand.self])
}

/// `coffer policy show`.
struct PolicyShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show what the policy files together refuse.")

    func run() throws {
        let found = try PolicyFiles(environment: Invocation.environment)
        var document = found.policy.json.object ?? [:]
        document["files"] = .array(found.files.map { .string($0) })
        Terminal.write(JSONWriter.pretty.text(.object(document)) + "\n", to: 1)
    }
}

/// `coffer policy check`.
struct PolicyCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check the policy files, and whether targets would be let through.",
        discussion: "TARGET is what 'coffer exposure' takes. Ends with 125 when the policy refuses one.")

    @Argument(help: "What to check.") var targets: [String] = []

    func run() throws {
        let found = try PolicyFiles(environment: Invocation.environment)
        if targets.isEmpty {
            Terminal.write(found.files.isEmpty ? "no policy file\n" : found.files.map { HumanUnits.printable($0) + ": ok\n" }.joined(), to: 1)
            return
        }
        var scored = try ExposureTargets(environment: Invocation.environment) { () throws(EngineError) in try Invocation.engine() }
        var isRefused = false
        for target in targets {
            for (name, objections) in try scored.objections(target, found.policy) {
                if objections.isEmpty { Terminal.write("\(HumanUnits.printable(name)): ok\n", to: 1) }
                for objection in objections {
                    isRefused = true
                    Invocation.tell(["\(name): \(objection.reason); \(objection.remedy)"])
                }
            }
        }
        if isRefused { throw ContainedExit(code: 125) }
    }
}
