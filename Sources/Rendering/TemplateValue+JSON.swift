import StrictJSON

extension TemplateValue {
    /// A JSON document as a Go program would hold it: objects as structs, except those that the hints call maps.
    public init(_ json: JSONValue, hints: TypeHints = .inspect) {
        self = Self.convert(json, key: nil, hints: hints)
    }

    private static func convert(_ json: JSONValue, key: String?, hints: TypeHints) -> TemplateValue {
        switch json {
        case .null:
            guard let key else { return .null }
            if hints.maps.contains(key) { return .null(.map) }
            return .null(hints.lists.contains(key) ? .list : .interface)
        case .bool(let value): return .bool(value)
        case .number(.signed(let value)): return .int(value)
        case .number(.unsigned(let value)): return .uint(value)
        case .number(let value): return .float(value.double)
        case .string(let value): return .string(value)
        case .array(let values): return .list(values.map { convert($0, key: nil, hints: hints) })
        case .object(let members):
            if let key, hints.maps.contains(key) {
                var map: [String: TemplateValue] = [:]
                // A member of a map has a name that somebody chose; it says nothing about the type.
                for member in members { map[member.key] = convert(member.value, key: nil, hints: hints) }
                return .map(map)
            }
            var fields = Fields()
            for member in members { fields[member.key] = convert(member.value, key: member.key, hints: hints) }
            return .object(fields)
        }
    }

    /// The value as JSON; keys of maps are sorted, fields of structs keep their order.
    public var jsonValue: JSONValue {
        switch self {
        case .missing, .null: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .number(.signed(value))
        case .uint(let value): return .number(JSONNumber(value))
        case .float(let value): return JSONNumber(value).map(JSONValue.number) ?? .null
        case .string(let value): return .string(value)
        case .list(let values): return .array(values.map(\.jsonValue))
        case .map:
            var object = JSONObject()
            for (key, value) in sortedPairs { object[key] = value.jsonValue }
            return .object(object)
        case .object(let fields):
            var object = JSONObject()
            for (name, value) in fields.pairs { object[name] = value.jsonValue }
            return .object(object)
        }
    }

    /// Compact JSON on one line, as `docker ps --format json` and the template function `json` print it.
    public var json: String { JSONWriter.compact.text(jsonValue) }

    /// JSON over several lines, indented by four spaces, as `docker inspect` prints it.
    public var prettyJSON: String { JSONWriter.docker.text(jsonValue) }
}
