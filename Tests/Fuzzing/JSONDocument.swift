import StrictJSON

/// A JSON document that is spoiled first as a tree, then as text.
public struct JSONDocument: Sendable {
    public var value: JSONValue
    /// Seeds of `ByteMutation`s of the text: what no tree can say (a key twice, half a string).
    private var damage: [UInt64] = []

    public init(_ value: JSONValue) { self.value = value }

    /// - Throws: for a corpus that is no JSON.
    public init(_ text: String) throws { value = try JSONParser().parse(text) }

    public var bytes: [UInt8] {
        var bytes = JSONWriter.compact.write(value)
        for seed in damage {
            var generator = SeededGenerator(seed)
            _ = ByteMutation.apply(&bytes, &generator)
        }
        return bytes
    }

    /// Changes the document once and says how.
    ///
    /// - Parameter words: strings that mean something to its reader.
    public mutating func mutate(_ generator: inout SeededGenerator, words: [String]) -> String {
        guard generator.once(in: 12) else {
            return JSONMutation(words: words).apply(&value, &generator)
        }
        var before = bytes
        let seed = generator.next()
        damage.append(seed)
        var described = SeededGenerator(seed)
        return "text: " + ByteMutation.apply(&before, &described)
    }

    /// Every string and key of a document.
    public static func words(of value: JSONValue) -> [String] {
        switch value {
        case .string(let text): [text]
        case .array(let elements): elements.flatMap(words)
        case .object(let object): object.flatMap { [$0.key] + words(of: $0.value) }
        default: []
        }
    }
}

/// Changes of a JSON tree that know what is a member, an element, a number, a string.
public struct JSONMutation: Sendable {
    private let words: [String]

    public init(words: [String]) { self.words = words }

    private static let whole: [Int64] = [
        0, 1, -1, 2, 7, 255, 256, 65535, 65536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x20_0000_0000_0000, Int64.max / 1000,
        Int64.max / 1000 + 1, Int64.max - 1, Int64.max, Int64.min, Int64.min + 1,
    ]
    private static let others: [String] = [
        "0.5", "1e3", "1e400", "-0.0", "18446744073709551616", "-9223372036854775809",
        String(repeating: "9", count: 400),
    ]
    private static let numbers: [JSONNumber] =
        whole.map { JSONNumber.signed($0) } + [JSONNumber.unsigned(1 << 63), JSONNumber.unsigned(UInt64.max)] + others.map { JSONNumber.text($0) }

    private static let short: [String] = [
        "", " ", "\0", "a\0b", "\n", "one\ntwo", "\u{1b}[2J", "\u{202e}", "é", "e\u{301}", "\u{fffd}", ".", "..", "/", "//", "/..", "../../../..",
        "a/../b", "/proc/self/fd/7", "rel/ative", "-1", "0", "00", "+1", " 1", "1 ", "4294967295", "4294967296", "0x10", ":", "=", "=x", "a=",
        "a=b=c",
        ",", "%s%n", "${x}", "$(id)", "*", "?", "max", "sha256:", "text/plain", "true", "null",
    ]
    private static let long: [String] = [
        "sha256:" + String(repeating: "0", count: 64), String(repeating: "x", count: 100), String(repeating: "x", count: 256),
        String(repeating: "x", count: 4096), String(repeating: "x", count: 70_000), String(repeating: "/x", count: 300),
        String(repeating: "/x", count: 5000),
    ]
    private static let strings = short + long

    /// Changes the tree once and says where and how.
    public func apply(_ value: inout JSONValue, _ generator: inout SeededGenerator) -> String {
        var target = generator.below(Self.nodes(value))
        return change(&value, &target, "", &generator) ?? "nothing"
    }

    private static func nodes(_ value: JSONValue) -> Int {
        switch value {
        case .array(let elements): elements.reduce(1) { $0 + nodes($1) }
        case .object(let object): object.reduce(1) { $0 + nodes($1.value) }
        default: 1
        }
    }

    /// Walks to node number `target`, in the document's order.
    private func change(_ value: inout JSONValue, _ target: inout Int, _ path: String, _ generator: inout SeededGenerator) -> String? {
        if target == 0 { return edit(&value, path.isEmpty ? "the document" : path, &generator) }
        target -= 1
        switch value {
        case .array(var elements):
            for position in elements.indices {
                if let told = change(&elements[position], &target, "\(path)[\(position)]", &generator) {
                    value = .array(elements)
                    return told
                }
            }
        case .object(var object):
            for key in object.keys {
                guard var member = object[key] else { continue }
                if let told = change(&member, &target, path.isEmpty ? key : "\(path).\(key)", &generator) {
                    object[key] = member
                    value = .object(object)
                    return told
                }
            }
        default: break
        }
        return nil
    }

    private func edit(_ value: inout JSONValue, _ path: String, _ generator: inout SeededGenerator) -> String {
        if generator.once(in: 6) {
            value = anything(&generator)
            return "\(path) is \(Self.shown(value))"
        }
        switch value {
        case .number:
            value = .number(generator.pick(Self.numbers))
        case .string:
            value = .string(text(&generator))
        case .bool(let flag):
            value = .bool(!flag)
        case .null:
            value = anything(&generator)
        case .array(var elements):
            let told = edit(&elements, &generator)
            value = .array(elements)
            return "\(path): \(told)"
        case .object(var object):
            let told = edit(&object, &generator)
            value = .object(object)
            return "\(path): \(told)"
        }
        return "\(path) is \(Self.shown(value))"
    }

    private func edit(_ elements: inout [JSONValue], _ generator: inout SeededGenerator) -> String {
        let position = generator.below(elements.count)
        switch generator.below(5) {
        case 0 where !elements.isEmpty:
            elements.remove(at: position)
            return "element \(position) is gone"
        case 1 where !elements.isEmpty:
            elements.append(elements[position])
            return "element \(position) again at the end"
        case 2 where elements.count > 1:
            elements.swapAt(position, generator.below(elements.count))
            return "elements change places"
        case 3 where !elements.isEmpty && generator.once(in: 4):
            let count = generator.pick([100, 3000])
            elements += [JSONValue](repeating: elements[position], count: count)
            return "element \(position) \(count) times more"
        default:
            let new = anything(&generator)
            elements.insert(new, at: position)
            return "new element \(Self.shown(new))"
        }
    }

    private func edit(_ object: inout JSONObject, _ generator: inout SeededGenerator) -> String {
        let keys = object.keys
        let key = keys.isEmpty ? "" : generator.pick(keys)
        switch generator.below(6) {
        case 0 where !keys.isEmpty, 1 where !keys.isEmpty:
            object[key] = nil
            return "no \(key)"
        case 2 where keys.count > 1:
            let other = generator.pick(keys)
            (object[key], object[other]) = (object[other], object[key])
            return "\(key) and \(other) change places"
        case 3 where !keys.isEmpty:
            let new = text(&generator)
            let member = object[key]
            object[key] = nil
            object[new] = member
            return "\(key) is called \(Self.shown(.string(new)))"
        default:
            let new = text(&generator)
            let member = anything(&generator)
            object[new] = member
            return "member \(Self.shown(.string(new))) is \(Self.shown(member))"
        }
    }

    private func text(_ generator: inout SeededGenerator) -> String {
        words.isEmpty || generator.once(in: 3) ? generator.pick(Self.strings) : generator.pick(words)
    }

    private func anything(_ generator: inout SeededGenerator) -> JSONValue {
        switch generator.below(9) {
        case 0: return .null
        case 1: return .bool(generator.once(in: 2))
        case 2, 3: return .number(generator.pick(Self.numbers))
        case 4, 5: return .string(text(&generator))
        case 6: return .array([])
        case 7: return .object([text(&generator): .string(text(&generator))])
        default:
            // Around the parser's own bound.
            var nested: JSONValue = .array([])
            for _ in 0..<generator.pick([3, 120, 130]) { nested = generator.once(in: 2) ? .array([nested]) : .object(["a": nested]) }
            return nested
        }
    }

    /// Short, on one line.
    static func shown(_ value: JSONValue) -> String {
        let text = String(decoding: JSONWriter.compact.write(value).prefix(70), as: UTF8.self)
        return text.unicodeScalars.count < 60 ? text : "\(String(text.unicodeScalars.prefix(40)))… (\(JSONWriter.compact.write(value).count) bytes)"
    }
}
