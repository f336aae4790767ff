import Confinement
import ContainerRuntime
import Glibc
import LaunchPlan
import LinuxKernel
import OCISpec

extension Engine {
    /// `run --explain`: what would be done to start the container, in order. Nothing is made and nothing runs.
    ///
    /// - Returns: the plan, what the flags loosened, and lines for the user.
    public func explain(_ request: RunRequest, image: ResolvedImage) throws(EngineError) -> LaunchExplanation {
        let id = Self.newID()
        let details = try details(request, image, id: id)
        var record = ContainerRecord(
            id: id, name: request.name ?? "", image: request.image, imageID: image.id, created: 0, phase: .creating,
            autoRemove: false, rangeStart: nil, details: "")
        if let pool = try rangePool(request) {
            record.rangeStart = try database.read { pool.firstFree(used: try StateDatabase.startsInUse($0)) }
        }
        let assembly = ContainerAssembly(engine: self, record: record, image: image, details: details)
        do {
            let (bundle, resolution) = try assembly.resolve(try NetworkFiles(details))
            let groups = try GroupManager.choose(rootless: !root.isRootful, user: geteuid())
            let facts = LaunchFacts(hasControlGroups: groups.countsProcesses, bundle: root.container(id).path)
            let plan = try LaunchPlanner.plan(bundle.spec, bundle.extension, facts: facts)
            return LaunchExplanation(
                plan: plan, relaxations: resolution.relaxations.map(ContainerAssembly.text), notes: resolution.notes)
        } catch let error as EngineError {
            throw error
        } catch {
            throw EngineError("\(error)")
        }
    }
}

/// What `run --explain` shows.
public struct LaunchExplanation: Sendable {
    public let plan: LaunchPlan
    public let relaxations: [String]
    public let notes: [String]

    /// One line per step, in order of execution.
    public var lines: [String] {
        let numbered = plan.steps.enumerated().map { index, step in
            let number = String(index + 1)
            let kind = step.kind.rawValue
            let mark = plan.preferred.contains(step.kind) ? " (where possible)" : ""
            return String(repeating: " ", count: max(0, 3 - number.count)) + number + "  "
                + kind + String(repeating: " ", count: max(1, 18 - kind.count)) + "\(step)" + mark
        }
        return numbered + relaxations.map { "loosened: " + $0 } + notes.map { "note: " + $0 }
    }
}
