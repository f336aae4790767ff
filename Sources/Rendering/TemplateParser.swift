/// Builds the tree of a template from its tokens, with the error messages of Go's text/template/parse.
struct TemplateParser {
    private let tokens: [TemplateToken]
    private var next = 0
    /// The variables in scope; a name is checked where it is used.
    private var variables = ["$"]
    private var rangeDepth = 0
    /// Nesting of control structures and parentheses, bounded because each level is a level of the call stack.
    private var depth = 0
    private static let maximumDepth = 100

    init(tokens: [TemplateToken], source: [UInt8]) {
        self.tokens = tokens
    }

    mutating func parse() throws(TemplateError) -> [TemplateNode] {
        let (nodes, ending) = try list()
        switch ending {
        case .endOfText: return nodes
        case .end(let line): throw .parsing(line: line, "unexpected {{end}}")
        case .otherwise(let line): throw .parsing(line: line, "unexpected {{else}}")
        }
    }

    // MARK: Control structures

    private enum Ending {
        case endOfText
        case end(line: Int)
        case otherwise(line: Int)
    }

    private mutating func list() throws(TemplateError) -> (nodes: [TemplateNode], ending: Ending) {
        var nodes: [TemplateNode] = []
        while true {
            let token = take()
            switch token.kind {
            case .end: return (nodes, .endOfText)
            case .text: nodes.append(.text(token.text))
            case .leftDelimiter:
                skipSpace()
                let keyword = peek
                guard keyword.kind == .keyword else {
                    nodes.append(.action(try pipeline("command", until: .rightDelimiter)))
                    continue
                }
                advance()
                switch keyword.text {
                case "end":
                    try close("end")
                    return (nodes, .end(line: keyword.line))
                case "else": return (nodes, .otherwise(line: keyword.line))
                default: nodes.append(try control(keyword))
                }
            default: throw unexpected(token, in: "input")
            }
        }
    }

    private mutating func control(_ keyword: TemplateToken) throws(TemplateError) -> TemplateNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw .parsing(line: keyword.line, "template nests too deeply") }
        switch keyword.text {
        case "if": return .if(try branch("if"))
        case "with": return .with(try branch("with"))
        case "range":
            return .range(try branch("range"))
        case "break", "continue":
            guard rangeDepth > 0 else { throw .parsing(line: keyword.line, "{{\(keyword.text)}} outside {{range}}") }
            try close("{{\(keyword.text)}}")
            return keyword.text == "break" ? .break : .continue
        default:
            throw .parsing(line: keyword.line, "{{\(keyword.text)}} is not supported")
        }
    }

    private mutating func branch(_ context: String) throws(TemplateError) -> TemplateNode.Branch {
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        let condition = try pipeline(context, until: .rightDelimiter)
        if context == "range" { rangeDepth += 1 }
        let (body, ending) = try list()
        if context == "range" { rangeDepth -= 1 }
        switch ending {
        case .end: return TemplateNode.Branch(pipeline: condition, body: body, otherwise: [])
        case .endOfText: throw .parsing(line: peek.line, "unexpected EOF")
        case .otherwise(let line):
            return TemplateNode.Branch(
                pipeline: condition, body: body, otherwise: try alternative(of: context, line: line))
        }
    }

    /// What follows `{{else`: the rest of the action and the nodes up to the end.
    private mutating func alternative(of context: String, line: Int) throws(TemplateError) -> [TemplateNode] {
        skipSpace()
        // {{else if …}} and {{else with …}} share the {{end}} of the outer one.
        if peek.kind == .keyword, peek.text == context, context != "range" {
            let keyword = take()
            return [try control(keyword)]
        }
        try close("else")
        let (nodes, ending) = try list()
        switch ending {
        case .end: return nodes
        case .endOfText: throw .parsing(line: peek.line, "unexpected EOF")
        case .otherwise(let line): throw .parsing(line: line, "expected end; found {{else}}")
        }
    }

    private mutating func close(_ context: String) throws(TemplateError) {
        skipSpace()
        let token = take()
        guard token.kind == .rightDelimiter else { throw unexpected(token, in: context) }
    }

    // MARK: Pipelines

    private mutating func pipeline(
        _ context: String, until end: TemplateToken.Kind
    ) throws(TemplateError) -> Pipeline {
        skipSpace()
        let start = peek.position
        let (names, assigns) = try declarations(context)
        var commands: [Command] = []
        while true {
            skipSpace()
            let token = peek
            if token.kind == end {
                advance()
                try check(commands, context: context, line: token.line)
                let left = names.isEmpty ? "" : names.joined(separator: ", ") + (assigns ? " = " : " := ")
                return Pipeline(
                    source: SourceNode(
                        position: start, text: left + commands.map(\.source.text).joined(separator: " | ")),
                    variables: names, assigns: assigns, commands: commands)
            }
            switch token.kind {
            case .bool, .character, .dot, .field, .identifier, .number, .nil, .rawString, .string, .variable,
                .leftParenthesis:
                commands.append(try command())
            default: throw unexpected(token, in: context)
            }
        }
    }

    private func check(_ commands: [Command], context: String, line: Int) throws(TemplateError) {
        guard !commands.isEmpty else { throw .parsing(line: line, "missing value for \(context)") }
        for (index, command) in commands.dropFirst().enumerated() {
            switch command.operands[0].kind {
            case .bool, .dot, .nil, .number, .string:
                throw .parsing(line: line, "non executable command in pipeline stage \(index + 2)")
            default: break
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    private mutating func declarations(_ context: String) throws(TemplateError) -> (names: [String], assigns: Bool) {
        var names: [String] = []
        while peek.kind == .variable {
            let start = next
            let variable = take()
            skipSpace()
            switch peek.kind {
            case .declare, .assign:
                let assigns = take().kind == .assign
                names.append(variable.text)
                if assigns {
                    for name in names { try checkDefined(name, line: variable.line) }
                } else {
                    variables.append(contentsOf: names)
                }
                return (names, assigns)
            case .comma where context == "range" && names.isEmpty:
                advance()
                skipSpace()
                names.append(variable.text)
                guard peek.kind == .variable else { throw .parsing(line: peek.line, "range can only initialize variables") }
            case .comma:
                throw .parsing(line: variable.line, "too many declarations in \(context)")
            default:
                next = start
                guard names.isEmpty else { throw unexpected(peek, in: context) }
                return ([], false)
            }
        }
        return (names, false)
    }

    private mutating func command() throws(TemplateError) -> Command {
        let start = peek.position
        var operands: [Operand] = []
        while true {
            skipSpace()
            if let operand = try operand() { operands.append(operand) }
            let token = take()
            switch token.kind {
            case .space: continue
            case .rightDelimiter, .rightParenthesis: next -= 1
            case .pipe:
                skipSpace()
                if peek.kind == .rightDelimiter || peek.kind == .rightParenthesis {
                    throw .parsing(line: token.line, "missing value for command")
                }
            default: throw unexpected(token, in: "operand")
            }
            break
        }
        guard !operands.isEmpty else { throw .parsing(line: peek.line, "empty command") }
        return Command(
            source: SourceNode(position: start, text: operands.map(\.source.text).joined(separator: " ")),
            operands: operands)
    }

    private mutating func operand() throws(TemplateError) -> Operand? {
        guard let base = try term() else { return nil }
        guard peek.kind == .field else { return base }
        let position = peek.position
        var fields: [String] = []
        while peek.kind == .field { fields.append(String(take().text.dropFirst())) }
        let source = SourceNode(position: position, text: base.source.text + fields.map { "." + $0 }.joined())
        switch base.kind {
        case .field(let names): return Operand(source: source, kind: .field(names + fields))
        case .variable(let name, let names):
            return Operand(source: source, kind: .variable(name, fields: names + fields))
        case .bool, .string, .number, .nil, .dot:
            throw .parsing(line: peek.line, "unexpected . after term \(GoText.quote(base.source.text))")
        case .function, .pipeline, .chain: return Operand(source: source, kind: .chain(base, fields: fields))
        }
    }

    private mutating func term() throws(TemplateError) -> Operand? {
        let token = take()
        func operand(_ kind: Operand.Kind) -> Operand {
            Operand(source: SourceNode(position: token.position, text: token.text), kind: kind)
        }
        switch token.kind {
        case .identifier:
            guard let function = TemplateFunction(rawValue: token.text) else {
                throw .parsing(line: token.line, "function \(GoText.quote(token.text)) not defined")
            }
            return operand(.function(function))
        case .dot: return operand(.dot)
        case .nil: return operand(.nil)
        case .bool: return operand(.bool(token.text == "true"))
        case .variable:
            try checkDefined(token.text, line: token.line)
            return operand(.variable(token.text, fields: []))
        case .field: return operand(.field([String(token.text.dropFirst())]))
        case .number:
            guard let number = GoText.number(token.text) else {
                throw .parsing(line: token.line, "bad number syntax: \(GoText.quote(token.text))")
            }
            return operand(.number(number))
        case .character:
            guard let text = GoText.unquote(token.text), let scalar = text.unicodeScalars.first,
                text.unicodeScalars.count == 1
            else { throw .parsing(line: token.line, "malformed character constant: \(token.text)") }
            return operand(.number(.int(Int64(scalar.value))))
        case .string, .rawString:
            guard let text = GoText.unquote(token.text) else { throw .parsing(line: token.line, "invalid syntax") }
            return operand(.string(text))
        case .leftParenthesis:
            depth += 1
            defer { depth -= 1 }
            guard depth <= Self.maximumDepth else { throw .parsing(line: token.line, "template nests too deeply") }
            let inner = try pipeline("parenthesized pipeline", until: .rightParenthesis)
            return Operand(
                source: SourceNode(position: token.position, text: "(\(inner.source.text))"), kind: .pipeline(inner))
        default:
            next -= 1
            return nil
        }
    }

    // MARK: Tokens

    private func checkDefined(_ name: String, line: Int) throws(TemplateError) {
        guard variables.contains(name) else { throw .parsing(line: line, "undefined variable \(GoText.quote(name))") }
    }

    /// The last token is `.end`, and is never passed.
    private var peek: TemplateToken { tokens[min(next, tokens.count - 1)] }

    private mutating func advance() { next += 1 }

    private mutating func take() -> TemplateToken {
        defer { next += 1 }
        return peek
    }

    private mutating func skipSpace() {
        while peek.kind == .space { next += 1 }
    }

    private func unexpected(_ token: TemplateToken, in context: String) -> TemplateError {
        let shown =
            switch token.kind {
            case .end: "EOF"
            case .keyword: "<\(token.text)>"
            case _ where token.text.count > 10: GoText.quote(String(token.text.prefix(10))) + "..."
            default: GoText.quote(token.text)
            }
        return .parsing(line: token.line, "unexpected \(shown) in \(context)")
    }
}
