/// A parsed template in the language of Go's text/template, as far as users of Docker type it: fields, `range`, `if`, `with`,
/// variables, pipelines, comparison, and Docker's own functions (`json`, `join`, `split`, `lower`, `upper`, `title`, …).
///
///     let template = try Template("{{range .Mounts}}{{.Source}}{{end}}")
///     print(try template.render(TemplateValue(document)))
///
/// Not supported, with an error that says so: `define`, `template`, `block`, complex numbers and methods.
public struct Template: Sendable {
    let source: String
    let nodes: [TemplateNode]
    /// How an unknown field of a struct is reported.
    let unknownField: UnknownField

    /// What an unknown field of a struct is called in the error message.
    public enum UnknownField: Sendable, Equatable {
        /// `map has no entry for key "X"`, as `docker inspect` says.
        case mapEntry
        /// `can't evaluate field X in type T`, as Docker's listings say.
        case field(type: String)
    }

    /// - Parameter escapesInText: Read `\t` and `\n` outside of actions as tab and newline, as Docker's listings do.
    /// - Throws: `TemplateError` with Go's own wording.
    public init(
        _ source: String, escapesInText: Bool = false, unknownField: UnknownField = .mapEntry
    ) throws(TemplateError) {
        var lexer = TemplateLexer(source, escapesInText: escapesInText)
        var parser = TemplateParser(tokens: try lexer.tokens(), source: lexer.bytes)
        self.source = source
        self.nodes = try parser.parse()
        self.unknownField = unknownField
    }

    /// Runs the template over a value.
    /// - Throws: `TemplateError` with Go's own wording.
    public func render(_ value: TemplateValue) throws(TemplateError) -> String {
        var executor = TemplateExecutor(source: Array(source.utf8), unknownField: unknownField, isHeader: false)
        return try executor.run(nodes, over: value)
    }

    /// Runs the template over the headers of a listing: Docker's functions leave headers as they are.
    func renderHeader(_ headers: TemplateValue) throws(TemplateError) -> String {
        var executor = TemplateExecutor(source: Array(source.utf8), unknownField: unknownField, isHeader: true)
        return try executor.run(nodes, over: headers)
    }
}

/// A template that cannot be parsed or run. The message is Go's, e.g. `template: :1: unclosed action`.
public struct TemplateError: Error, Sendable, Equatable, CustomStringConvertible {
    public let message: String

    /// The sentence that Docker prints.
    public var description: String { "template parsing error: " + message }

    /// An error of the parser.
    static func parsing(line: Int, _ reason: String) -> TemplateError {
        TemplateError(message: "template: :\(line): \(reason)")
    }

    /// An error while running: where, at which expression, and why.
    static func executing(_ node: SourceNode, in source: [UInt8], _ reason: String) -> TemplateError {
        let before = source.prefix(node.position)
        let line = before.count { $0 == 0x0a } + 1
        let column = before.lastIndex(of: 0x0a).map { node.position - $0 - 1 } ?? node.position
        return TemplateError(
            message: "template: :\(line):\(column): executing \"\" at <\(node.text)>: \(reason)")
    }
}
