/// Runs the nodes of a template over a value, by the rules of Go's text/template.
struct TemplateExecutor {
    private let source: [UInt8]
    private let unknownField: Template.UnknownField
    /// Docker's functions leave the headers of a listing as they are.
    private let isHeader: Bool
    private var variables: [(name: String, value: TemplateValue)] = []
    private var output = ""
    /// Guards against a short template that writes without end, such as nested ranges over a large number.
    private static let maximumOutput = 64 << 20

    init(source: [UInt8], unknownField: Template.UnknownField, isHeader: Bool) {
        self.source = source
        self.unknownField = unknownField
        self.isHeader = isHeader
    }

    mutating func run(_ nodes: [TemplateNode], over value: TemplateValue) throws(TemplateError) -> String {
        variables = [("$", value)]
        output = ""
        _ = try walk(nodes, dot: value)
        return output
    }

    // MARK: Nodes

    private enum Flow { case goOn, breaks, continues }

    private mutating func walk(_ nodes: [TemplateNode], dot: TemplateValue) throws(TemplateError) -> Flow {
        for node in nodes {
            var flow = Flow.goOn
            switch node {
            case .text(let text): output += text
            case .action(let pipeline):
                let value = try evaluate(pipeline, dot: dot)
                if pipeline.variables.isEmpty { output += GoFormat.value(value, at: .top) }
                guard output.utf8.count < Self.maximumOutput else {
                    throw fail(pipeline.source, "template writes more than \(Self.maximumOutput >> 20) MiB")
                }
            case .if(let branch): flow = try choose(branch, dot: dot, rebinds: false)
            case .with(let branch): flow = try choose(branch, dot: dot, rebinds: true)
            case .range(let branch): flow = try iterate(branch, dot: dot)
            case .break: return .breaks
            case .continue: return .continues
            }
            guard flow == .goOn else { return flow }
        }
        return .goOn
    }

    private mutating func choose(
        _ branch: TemplateNode.Branch, dot: TemplateValue, rebinds: Bool
    ) throws(TemplateError) -> Flow {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        let value = try evaluate(branch.pipeline, dot: dot)
        if value.isTrue { return try walk(branch.body, dot: rebinds ? value : dot) }
        return try walk(branch.otherwise, dot: dot)
    }

    private mutating func iterate(_ branch: TemplateNode.Branch, dot: TemplateValue) throws(TemplateError) -> Flow {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        // The variables of a range are set for each element, not to the whole.
        let value = try evaluate(commands: branch.pipeline, dot: dot)
        let pairs: [(key: TemplateValue, value: TemplateValue)]
        switch value {
        case .list(let values): pairs = values.enumerated().map { (.int(Int64($0.offset)), $0.element) }
        case .map: pairs = value.sortedPairs.map { (.string($0.key), $0.value) }
        case .int(let count): pairs = try counted(count, branch)
        case .null, .missing: pairs = []
        default: throw fail(branch.pipeline.source, "range can't iterate over \(GoFormat.value(value, at: .top))")
        }
        guard !pairs.isEmpty else { return try walk(branch.otherwise, dot: dot) }
        for (key, element) in pairs {
            let mark = variables.count
            defer { variables.removeLast(variables.count - mark) }
            let names = branch.pipeline.variables
            if names.count == 1 { bind(names[0], element, assigns: branch.pipeline.assigns) }
            if names.count == 2 {
                bind(names[0], key, assigns: branch.pipeline.assigns)
                bind(names[1], element, assigns: branch.pipeline.assigns)
            }
            if try walk(branch.body, dot: element) == .breaks { break }
        }
        return .goOn
    }

    private func counted(
        _ count: Int64, _ branch: TemplateNode.Branch
    ) throws(TemplateError) -> [(key: TemplateValue, value: TemplateValue)] {
        guard count <= 1 << 20 else { throw fail(branch.pipeline.source, "range over \(count) is too long") }
        return (0..<max(0, count)).map { (.int($0), .int($0)) }
    }

    private mutating func bind(_ name: String, _ value: TemplateValue, assigns: Bool) {
        if assigns, let index = variables.lastIndex(where: { $0.name == name }) {
            variables[index].value = value
        } else {
            variables.append((name, value))
        }
    }

    // MARK: Pipelines

    private mutating func evaluate(_ pipeline: Pipeline, dot: TemplateValue) throws(TemplateError) -> TemplateValue {
        let value = try evaluate(commands: pipeline, dot: dot)
        for name in pipeline.variables { bind(name, value, assigns: pipeline.assigns) }
        return value
    }

    private mutating func evaluate(
        commands pipeline: Pipeline, dot: TemplateValue
    ) throws(TemplateError) -> TemplateValue {
        var final: TemplateValue?
        for command in pipeline.commands { final = try evaluate(command, dot: dot, final: final) }
        return final ?? .missing
    }

    private mutating func evaluate(
        _ command: Command, dot: TemplateValue, final: TemplateValue?
    ) throws(TemplateError) -> TemplateValue {
        let first = command.operands[0]
        if case .function(let function) = first.kind {
            return try call(function, command, dot: dot, final: final)
        }
        if command.operands.count == 2, final == nil, case .field(let names) = first.kind,
            let found = try method(names, command, dot: dot)
        {
            return found
        }
        guard command.operands.count == 1, final == nil else {
            switch first.kind {
            case .nil: throw fail(command.source, "nil is not a command")
            case .field(let names), .variable(_, fields: let names), .chain(_, fields: let names):
                // Go calls a method with arguments; no value here has one.
                if let name = names.last {
                    throw fail(first.source, "\(name) has arguments but cannot be invoked as function")
                }
                throw fail(command.source, "can't give argument to non-function \(first.source.text)")
            default: throw fail(command.source, "can't give argument to non-function \(first.source.text)")
            }
        }
        if case .nil = first.kind { throw fail(first.source, "nil is not a command") }
        return try evaluate(first, dot: dot)
    }

    private mutating func evaluate(_ operand: Operand, dot: TemplateValue) throws(TemplateError) -> TemplateValue {
        switch operand.kind {
        case .dot: return dot
        case .nil: return .null
        case .bool(let value): return .bool(value)
        case .number(let value): return value
        case .string(let value): return .string(value)
        case .field(let names): return try lookUp(names, in: dot, operand.source)
        case .variable(let name, let names):
            let value = variables.last { $0.name == name }?.value ?? .missing
            return try lookUp(names, in: value, operand.source)
        case .pipeline(let pipeline): return try evaluate(pipeline, dot: dot)
        case .chain(let base, let names):
            return try lookUp(names, in: try evaluate(base, dot: dot), operand.source)
        case .function(let function):
            let command = Command(source: operand.source, operands: [operand])
            return try call(function, command, dot: dot, final: nil)
        }
    }

    /// Docker's one method with an argument, `{{.Label "name"}}`: a field that holds a map. Nil when it is no such call.
    private mutating func method(
        _ names: [String], _ command: Command, dot: TemplateValue
    ) throws(TemplateError) -> TemplateValue? {
        guard case .object(let fields) = dot, names.count == 1, case .map(let members)? = fields[names[0]],
            case .string(let key) = try evaluate(command.operands[1], dot: dot)
        else { return nil }
        if isHeader {
            let word = key.split(separator: ".").last.map(String.init) ?? key
            return .string(String(word.map { $0 == "-" || $0 == "_" ? " " : $0 }))
        }
        return members[key] ?? .string("")
    }

    private func lookUp(
        _ names: [String], in value: TemplateValue, _ source: SourceNode
    ) throws(TemplateError) -> TemplateValue {
        var value = value
        for name in names {
            switch value {
            case .map(let members): value = members[name] ?? .missing
            case .null(.map): value = .missing
            case .object(let fields):
                guard let field = fields[name] else {
                    switch unknownField {
                    case .mapEntry: throw fail(source, "map has no entry for key \(GoText.quote(name))")
                    case .field(let type): throw fail(source, "can't evaluate field \(name) in type \(type)")
                    }
                }
                value = field
            case .missing: throw fail(source, "nil data; no entry for key \(GoText.quote(name))")
            case .null: throw fail(source, "nil pointer evaluating interface {}.\(name)")
            default: throw fail(source, "can't evaluate field \(name) in type \(value.typeName)")
            }
        }
        return value
    }

    // MARK: Functions

    private mutating func call(
        _ function: TemplateFunction, _ command: Command, dot: TemplateValue, final: TemplateValue?
    ) throws(TemplateError) -> TemplateValue {
        let operands = command.operands.dropFirst()
        let count = operands.count + (final == nil ? 0 : 1)
        guard function.arity.contains(count) else {
            throw fail(
                command.operands[0].source,
                "wrong number of args for \(function.rawValue): want \(function.arityText) got \(count)")
        }
        var arguments: [TemplateValue] = []
        for operand in operands {
            let value = try evaluate(operand, dot: dot)
            arguments.append(value)
            // `and` and `or` do not evaluate what cannot matter any more.
            if function == .and, !value.isTrue { return value }
            if function == .or, value.isTrue { return value }
        }
        if let final { arguments.append(final) }
        if isHeader, function.leavesHeaders { return function.header(of: arguments) }
        do {
            return try function.apply(arguments)
        } catch {
            switch error {
            case .argument(let reason): throw fail(command.source, reason)
            case .failure(let reason):
                throw fail(command.source, "error calling \(function.rawValue): \(reason)")
            }
        }
    }

    private func fail(_ node: SourceNode, _ reason: String) -> TemplateError {
        .executing(node, in: source, reason)
    }
}
