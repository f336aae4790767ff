/// What a listing such as `ps` or `images` can show, and how `--format` chooses from it.
///
///     let listing = Listing(
///         columns: [.init("ID", "CONTAINER ID"), .init("Image", "IMAGE"), …],
///         defaultColumns: ["ID", "Image", …], rowType: "*formatter.ContainerContext")
///     print(try listing.render(rows, format: options.format), terminator: "")
public struct Listing: Sendable {
    /// A field of the rows and its header in tables.
    public struct Column: Sendable {
        public let field: String
        public let header: String

        public init(_ field: String, _ header: String) {
            self.field = field
            self.header = header
        }
    }

    /// Every field that a template or `--format json` may show.
    public let columns: [Column]
    /// The fields of the table without `--format`, in order.
    public let defaultColumns: [String]
    /// The type that error messages name for an unknown field, as Docker does.
    public let rowType: String

    public init(columns: [Column], defaultColumns: [String], rowType: String) {
        self.columns = columns
        self.defaultColumns = defaultColumns
        self.rowType = rowType
    }

    /// The rows as text that ends with a newline, or empty when there is nothing to print.
    /// - Parameters:
    ///   - rows: One struct per row, with a field for each column. Other fields are for templates only.
    ///   - format: nil or `table`: the default table · `json`: one object per line · `table TEMPLATE` · `TEMPLATE`.
    /// - Throws: `TemplateError` when the template is not one or names an unknown field.
    public func render(_ rows: [TemplateValue], format: String?) throws(TemplateError) -> String {
        let format = format.map(trimmed) ?? "table"
        if format.isEmpty || format == "table" { return defaultTable(rows) }
        if format == "json" {
            return rows.map { row(selecting: $0).json + "\n" }.joined()
        }
        let isTable = format.hasPrefix("table ") || format.hasPrefix("table\\t") || format.hasPrefix("table\t")
        let body = isTable ? trimmed(String(format.dropFirst(5))) : format
        let template = try Template(body, escapesInText: true, unknownField: .field(type: rowType))
        var lines: [String] = []
        for row in rows { lines.append(try template.render(row)) }
        guard isTable else { return lines.map { $0 + "\n" }.joined() }
        lines.insert(try template.renderHeader(headers), at: 0)
        return Table.layOut(lines.map(cells))
    }

    private func defaultTable(_ rows: [TemplateValue]) -> String {
        let headers = defaultColumns.map { name in columns.first { $0.field == name }?.header ?? name.uppercased() }
        let cells = rows.map { row in
            defaultColumns.map { name in HumanUnits.printable(text(of: row, name)) }
        }
        return Table.layOut([headers] + cells)
    }

    private func text(of row: TemplateValue, _ name: String) -> String {
        guard case .object(let fields) = row, let value = fields[name] else { return "" }
        return GoFormat.value(value, at: .nested)
    }

    /// The row with the listing's fields only, sorted by name as Docker prints them.
    private func row(selecting row: TemplateValue) -> TemplateValue {
        guard case .object(let fields) = row else { return row }
        return .object(columns.map(\.field).sorted().compactMap { name in fields[name].map { (name, $0) } })
    }

    private var headers: TemplateValue {
        var fields = TemplateValue.Fields(columns.map { ($0.field, .string($0.header)) })
        if columns.contains(where: { $0.field == "Labels" }) { fields["Label"] = .map([:]) }
        return .object(fields)
    }

    private func cells(_ line: String) -> [String] {
        line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }

    private func trimmed(_ text: String) -> String {
        var text = Substring(text)
        while text.first == " " { text = text.dropFirst() }
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}

/// What `inspect` prints for `--format`.
public enum InspectOutput {
    /// The documents as text that ends with a newline.
    /// - Parameters:
    ///   - documents: One struct per object that was asked for.
    ///   - format: nil or empty: an array of all, indented by four spaces · `json`: the same on one line · a template,
    ///     run over each.
    /// - Throws: `TemplateError` when the template is not one or names an unknown field.
    public static func render(_ documents: [TemplateValue], format: String?) throws(TemplateError) -> String {
        switch format {
        case nil, "": return TemplateValue.list(documents).prettyJSON + "\n"
        case "json": return TemplateValue.list(documents).json + "\n"
        case let source?:
            let template = try Template(source)
            var text = ""
            for document in documents { text += try template.render(document) + "\n" }
            return text
        }
    }
}
