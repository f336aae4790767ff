import Confinement
import OCISpec
import StrictJSON

/// What of a process the model has no field for, and a comparison asks all the same.
public struct KernelView: Sendable {
    /// All limits of setrlimit(2), as /proc/PID/limits has them.
    public let processLimits: [RuntimeSpec.ResourceLimit]
    /// Whether the process has such a path, covered or not.
    let hasPath: @Sendable (String) -> Bool

    public init(processLimits: [RuntimeSpec.ResourceLimit], hasPath: @escaping @Sendable (String) -> Bool) {
        self.processLimits = processLimits
        self.hasPath = hasPath
    }
}

/// What was asked for beside what the kernel says of the running process, field by field of `Confinement`.
public struct Comparison: Sendable {
    public struct Difference: Sendable, Equatable {
        public let field: String
        public let asked: String
        public let applied: String
        /// More about it, or what explains it; "" for neither.
        public let note: String

        public init(field: String, asked: String, applied: String, note: String = "") {
            self.field = field
            self.asked = asked
            self.applied = applied
            self.note = note
        }
    }

    /// A field that the kernel did not show, and why.
    public struct Unseen: Sendable, Equatable {
        public let field: String
        public let reason: String
    }

    public let differences: [Difference]
    /// Fields that stay as asked in `applied`.
    public let unseen: [Unseen]
    /// The asked confinement with the kernel's answer in the place of each field that differs.
    public let applied: Subject

    init(asked: Subject, live: Subject, view: KernelView, askedCalls: KernelCalls, liveCalls: KernelCalls) {
        var differences: [Difference] = []
        var unseen: [Unseen] = []
        var applied = asked
        let sides = ComparedField.Sides(asked: asked, live: live, view: view, askedCalls: askedCalls, liveCalls: liveCalls)
        for field in ComparedField.all {
            switch field.sight {
            case .hidden(let why): unseen.append(Unseen(field: field.name, reason: why))
            case .shown(let aspect, let compare, let adopt):
                // Of a filter that cannot be read it is known all the same whether there is one.
                if let why = live.unknown[aspect] { unseen.append(Unseen(field: field.name, reason: why)) }
                if live.unknown[aspect] != nil, aspect != .syscalls { continue }
                let found = compare(sides)
                if !found.isEmpty || asked.unknown[aspect] != nil, live.unknown[aspect] == nil {
                    adopt(&applied, live)
                    applied.unknown[aspect] = nil
                }
                differences += found
            }
        }
        self.differences = differences
        self.unseen = unseen
        self.applied = applied
    }
}

extension ExposureScore {
    /// Compares what was asked with the process that runs.
    public mutating func comparison(asked: Subject, live: Subject, view: KernelView) -> Comparison {
        Comparison(asked: asked, live: live, view: view, askedCalls: calls(of: asked), liveCalls: calls(of: live))
    }
}

extension Comparison.Difference {
    var json: JSONValue {
        var object: JSONObject = ["field": .string(field), "asked": .string(asked), "applied": .string(applied)]
        if !note.isEmpty { object["note"] = .string(note) }
        return .object(object)
    }

    var words: String { "asked \(field) \(asked), applied \(applied)" + (note.isEmpty ? "" : " (\(note))") }
}
