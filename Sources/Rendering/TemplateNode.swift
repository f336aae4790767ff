/// A place in a template's source, and the canonical text that Go prints for it in errors.
struct SourceNode: Sendable, Equatable {
    /// Bytes before it.
    let position: Int
    let text: String
}

/// One node of a parsed template.
indirect enum TemplateNode: Sendable {
    case text(String)
    /// `{{pipeline}}`; prints, unless it declares or assigns variables.
    case action(Pipeline)
    case `if`(Branch)
    case with(Branch)
    case range(Branch)
    case `break`
    case `continue`

    struct Branch: Sendable {
        let pipeline: Pipeline
        let body: [TemplateNode]
        let otherwise: [TemplateNode]
    }
}

/// `$a, $b := command | command | …`
struct Pipeline: Sendable {
    let source: SourceNode
    let variables: [String]
    /// `=` instead of `:=`.
    let assigns: Bool
    let commands: [Command]
}

/// One command of a pipeline: an operand, or a function with its arguments.
struct Command: Sendable {
    let source: SourceNode
    let operands: [Operand]
}

struct Operand: Sendable {
    let source: SourceNode
    let kind: Kind

    indirect enum Kind: Sendable {
        case dot
        case `nil`
        case bool(Bool)
        case number(TemplateValue)
        case string(String)
        /// `.A.B`
        case field([String])
        /// `$x.A.B`
        case variable(String, fields: [String])
        case function(TemplateFunction)
        case pipeline(Pipeline)
        /// An operand with fields behind it, such as `(index .A 0).B`.
        case chain(Operand, fields: [String])
    }
}
