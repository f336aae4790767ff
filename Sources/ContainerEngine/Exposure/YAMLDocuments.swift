import CYAML
import StrictJSON

/// Documents of a YAML stream as JSON values (libyaml; YAML 1.1 as compose and Kubernetes read it).
///
/// Bounded for hostile input: bytes, depth, documents, and nodes counted as they are when aliases are followed, so that a few lines of anchors
/// that stand for a billion nodes are refused before anything walks them.
struct YAMLDocuments {
    struct Failure: Error { let reason: String }

    static let maximumBytes = 4 << 20
    private static let maximumDepth = 64
    private static let maximumNodes = 200_000
    private static let maximumDocuments = 1000

    private var parser = yaml_parser_t()
    private var anchors: [String: (value: JSONValue, nodes: Int)] = [:]
    private var nodes = 0

    /// Reads every document of the stream.
    static func parse(_ bytes: [UInt8]) throws(Failure) -> [JSONValue] {
        guard bytes.count <= maximumBytes else { throw Failure(reason: "it is longer than \(maximumBytes) bytes") }
        let result = bytes.withUnsafeBufferPointer { buffer in
            Result { () throws(Failure) in
                var documents = YAMLDocuments()
                return try documents.read(buffer)
            }
        }
        return try result.get()
    }

    private mutating func read(_ buffer: UnsafeBufferPointer<UInt8>) throws(Failure) -> [JSONValue] {
        guard yaml_parser_initialize(&parser) == 1 else { throw Failure(reason: "no memory") }
        defer { yaml_parser_delete(&parser) }
        yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
        var documents: [JSONValue] = []
        while true {
            let event = try next()
            switch event {
            case .streamEnd: return documents
            case .documentStart:
                if documents.count == Self.maximumDocuments { throw Failure(reason: "it has more than \(Self.maximumDocuments) documents") }
                anchors = [:]
                documents.append(try value(try next(), depth: 0).value)
            default: break
            }
        }
    }

    private enum Event {
        case streamEnd, documentStart, other, sequenceEnd, mappingEnd
        case alias(String)
        case scalar(String, isPlain: Bool, anchor: String)
        case sequence(anchor: String)
        case mapping(anchor: String)
    }

    private mutating func next() throws(Failure) -> Event {
        var event = yaml_event_t()
        guard yaml_parser_parse(&parser, &event) == 1 else {
            let problem = parser.problem.map { String(cString: $0) } ?? "it cannot be read"
            throw Failure(reason: "line \(parser.problem_mark.line + 1): \(problem)")
        }
        defer { yaml_event_delete(&event) }
        func name(_ text: UnsafeMutablePointer<yaml_char_t>?) -> String { text.map { String(cString: $0) } ?? "" }
        switch event.type {
        case YAML_STREAM_END_EVENT: return .streamEnd
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
        case YAML_MAPPING_END_EVENT: return .mappingEnd
        case YAML_ALIAS_EVENT: return .alias(name(event.data.alias.anchor))
        case YAML_SEQUENCE_START_EVENT: return .sequence(anchor: name(event.data.sequence_start.anchor))
        case YAML_MAPPING_START_EVENT: return .mapping(anchor: name(event.data.mapping_start.anchor))
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            return .scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE && scalar.plain_implicit == 1, anchor: name(scalar.anchor))
        default: return .other
        }
    }

    private mutating func count(_ more: Int) throws(Failure) {
        nodes += more
        if nodes > Self.maximumNodes { throw Failure(reason: "it has more than \(Self.maximumNodes) values when its aliases are followed") }
    }

    /// The value that begins with `event`, and how many nodes it has.
    private mutating func value(_ event: Event, depth: Int) throws(Failure) -> (value: JSONValue, nodes: Int) {
        if depth > Self.maximumDepth { throw Failure(reason: "it is nested deeper than \(Self.maximumDepth) levels") }
        let before = nodes
        switch event {
        case .alias(let anchor):
            guard let known = anchors[anchor] else { throw Failure(reason: "the alias *\(anchor) has no anchor before it") }
            try count(known.nodes)
            return known
        case .scalar(let text, let isPlain, let anchor):
            try count(1)
            return keep(isPlain ? Self.plain(text) : .string(text), 1, anchor)
        case .sequence(let anchor):
            try count(1)
            var elements: [JSONValue] = []
            while true {
                let event = try next()
                if case .sequenceEnd = event { break }
                elements.append(try value(event, depth: depth + 1).value)
            }
            return keep(.array(elements), nodes - before, anchor)
        case .mapping(let anchor):
            try count(1)
            return keep(.object(try members(depth)), nodes - before, anchor)
        case .streamEnd, .documentStart, .other, .sequenceEnd, .mappingEnd: return (.null, 0)
        }
    }

    private mutating func members(_ depth: Int) throws(Failure) -> JSONObject {
        var object = JSONObject()
        var merged = JSONObject()
        while true {
            let event = try next()
            if case .mappingEnd = event { break }
            let isPlain: Bool
            if case .scalar(_, let plain, _) = event { isPlain = plain } else { isPlain = false }
            let key: String
            switch try value(event, depth: depth + 1).value {
            case .string(let text): key = text
            case .number(let number): key = number.text
            case .bool(let flag): key = flag ? "true" : "false"
            case .null: key = ""
            case .array, .object: throw Failure(reason: "a key is a list or a mapping")
            }
            let content = try value(try next(), depth: depth + 1).value
            if key == "<<", isPlain {
                for source in content.array ?? [content] {
                    for entry in source.object ?? [:] where merged[entry.key] == nil { merged[entry.key] = entry.value }
                }
                continue
            }
            if object[key] != nil { throw Failure(reason: "the key “\(key)” is written twice in one mapping") }
            object[key] = content
        }
        for entry in merged where object[entry.key] == nil { object[entry.key] = entry.value }
        return object
    }

    private mutating func keep(_ value: JSONValue, _ count: Int, _ anchor: String) -> (value: JSONValue, nodes: Int) {
        if !anchor.isEmpty { anchors[anchor] = (value, count) }
        return (value, count)
    }

    private static func plain(_ text: String) -> JSONValue {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .bool(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .bool(false)
        default: break
        }
        if let integer = Int64(text) { return .number(.signed(integer)) }
        guard let first = text.utf8.first, (0x30...0x39).contains(first) || first == UInt8(ascii: "-") || first == UInt8(ascii: ".") else {
            return .string(text)
        }
        // "8080:80" and "1.2.3" are no numbers.
        if text.contains("."), let number = Double(text), let json = JSONNumber(number) { return .number(json) }
        return .string(text)
    }
}
