/// The functions that templates may call: Go's own and those that Docker adds.
enum TemplateFunction: String, CaseIterable, Sendable {
    case and, or, not, len, index, slice, print, printf, println, html, urlquery
    case eq, ne, lt, le, gt, ge
    case json, join, split, lower, upper, title, pad, truncate

    enum Failure: Error {
        /// An argument of a type that the function does not take.
        case argument(String)
        /// Go's "error calling".
        case failure(String)
    }

    /// How many arguments it takes.
    var arity: ClosedRange<Int> {
        switch self {
        case .and, .or, .index, .slice, .printf: 1...Int.max
        case .eq: 1...Int.max
        case .not, .len, .json, .lower, .upper, .title: 1...1
        case .ne, .lt, .le, .gt, .ge, .join, .split, .truncate: 2...2
        case .pad: 3...3
        case .print, .println, .html, .urlquery: 0...Int.max
        }
    }

    var arityText: String { arity.upperBound == Int.max ? "at least \(arity.lowerBound)" : "\(arity.lowerBound)" }

    /// Whether it leaves a header as it is: everything that only changes how a value looks.
    var leavesHeaders: Bool {
        switch self {
        case .json, .join, .split, .lower, .upper, .title, .pad, .truncate, .index, .slice, .len: true
        default: false
        }
    }

    /// The header that a function which leaves headers was given: Docker's `join` and `split` take it first, pipes give it last.
    func header(of arguments: [TemplateValue]) -> TemplateValue { arguments.first ?? .missing }

    func apply(_ arguments: [TemplateValue]) throws(Failure) -> TemplateValue {
        switch self {
        case .and, .or: return arguments[arguments.count - 1]
        case .not: return .bool(!arguments[0].isTrue)
        case .len: return try length(arguments[0])
        case .index: return try index(arguments[0], arguments.dropFirst())
        case .slice: return try slice(arguments[0], arguments.dropFirst())
        case .print: return .string(GoFormat.print(arguments))
        case .println: return .string(GoFormat.println(arguments))
        case .printf: return .string(GoFormat.printf(try text(arguments[0]), Array(arguments.dropFirst())))
        case .html: return .string(Self.escapeHTML(GoFormat.print(arguments)))
        case .urlquery: return .string(Self.escapeQuery(GoFormat.print(arguments)))
        case .eq, .ne, .lt, .le, .gt, .ge: return .bool(try compare(arguments))
        case .json: return .string(arguments[0].json)
        case .join: return .string(try list(arguments[0]).joined(separator: try text(arguments[1])))
        case .split: return .list(Self.split(try text(arguments[0]), by: try text(arguments[1])))
        case .lower: return .string(try text(arguments[0]).lowercased())
        case .upper: return .string(try text(arguments[0]).uppercased())
        case .title: return .string(Self.title(try text(arguments[0])))
        case .pad:
            let value = try text(arguments[0])
            // An empty value stays empty, as in Docker.
            guard !value.isEmpty else { return .string("") }
            let left = String(repeating: " ", count: try bounded(arguments[1]))
            return .string(left + value + String(repeating: " ", count: try bounded(arguments[2])))
        case .truncate:
            return .string(String(try text(arguments[0]).prefix(try bounded(arguments[1]))))
        }
    }

    // MARK: Arguments

    private func text(_ value: TemplateValue) throws(Failure) -> String {
        guard case .string(let text) = value else { throw wrongType(value, expected: "string") }
        return text
    }

    private func bounded(_ value: TemplateValue) throws(Failure) -> Int {
        guard case .int(let number) = value else { throw wrongType(value, expected: "int") }
        return Int(min(max(0, number), 1 << 16))
    }

    private func list(_ value: TemplateValue) throws(Failure) -> [String] {
        switch value {
        case .null(.list): return []
        case .list(let values):
            var result: [String] = []
            for value in values { result.append(try text(value)) }
            return result
        default: throw wrongType(value, expected: "[]string")
        }
    }

    private func wrongType(_ value: TemplateValue, expected: String) -> Failure {
        switch value {
        case .missing, .null: .argument("invalid value; expected \(expected)")
        default: .argument("wrong type for value; expected \(expected); got \(value.typeName)")
        }
    }

    // MARK: Collections

    private func length(_ value: TemplateValue) throws(Failure) -> TemplateValue {
        switch value {
        case .string(let text): return .int(Int64(text.utf8.count))
        case .list(let values): return .int(Int64(values.count))
        case .map(let values): return .int(Int64(values.count))
        case .null(.list), .null(.map): return .int(0)
        case .missing, .null(.interface): throw .failure("len of nil pointer")
        default: throw .failure("len of type \(value.typeName)")
        }
    }

    private func index(_ value: TemplateValue, _ keys: ArraySlice<TemplateValue>) throws(Failure) -> TemplateValue {
        var value = value
        for key in keys {
            switch value {
            case .map(let members):
                guard case .string(let name) = key else { throw .failure("value has type \(key.typeName); should be string") }
                // Go answers the element type's zero value; for an interface that prints as <no value>.
                value = members[name] ?? .missing
            case .object(let fields):
                // A struct in Go; Docker's fallback to the raw document finds a map here.
                guard case .string(let name) = key else { throw .failure("value has type \(key.typeName); should be string") }
                value = fields[name] ?? .missing
            case .null(.map): value = .missing
            case .list(let values):
                let position = try offset(key, limit: values.count)
                guard position < values.count else { throw .failure("index out of range: \(position)") }
                value = values[position]
            case .null(.list): throw .failure("index out of range: \(GoFormat.value(key, at: .top))")
            case .string(let text):
                let bytes = Array(text.utf8)
                let position = try offset(key, limit: bytes.count)
                guard position < bytes.count else { throw .failure("index out of range: \(position)") }
                value = .int(Int64(bytes[position]))
            case .missing, .null: throw .failure("index of nil pointer")
            default: throw .failure("can't index item of type \(value.typeName)")
            }
        }
        return value
    }

    private func offset(_ key: TemplateValue, limit: Int) throws(Failure) -> Int {
        switch key {
        case .int(let number):
            guard number >= 0, number <= Int64(limit) else { throw .failure("index out of range: \(number)") }
            return Int(number)
        case .missing, .null: throw .failure("cannot index slice/array with nil")
        default: throw .failure("cannot index slice/array with type \(key.typeName)")
        }
    }

    private func slice(_ value: TemplateValue, _ bounds: ArraySlice<TemplateValue>) throws(Failure) -> TemplateValue {
        guard bounds.count <= 3 else { throw .failure("too many slice indexes: \(bounds.count)") }
        func range(_ count: Int) throws(Failure) -> Range<Int> {
            var numbers: [Int] = []
            for bound in bounds { numbers.append(try offset(bound, limit: count)) }
            let start = numbers.first ?? 0
            let end = numbers.count > 1 ? numbers[1] : count
            guard start <= end else { throw .failure("invalid slice index: \(start) > \(end)") }
            return start..<end
        }
        switch value {
        case .string(let text):
            guard bounds.count < 3 else { throw .failure("cannot 3-index slice a string") }
            let bytes = Array(text.utf8)
            return .string(String(decoding: bytes[try range(bytes.count)], as: UTF8.self))
        case .list(let values): return .list(Array(values[try range(values.count)]))
        case .null(.list): return value
        case .missing, .null: throw .failure("slice of untyped nil")
        default: throw .failure("can't slice item of type \(value.typeName)")
        }
    }

    // MARK: Comparison

    private func compare(_ arguments: [TemplateValue]) throws(Failure) -> Bool {
        switch self {
        case .eq:
            guard arguments.count > 1 else { throw .failure("missing argument for comparison") }
            for other in arguments.dropFirst() where try isEqual(arguments[0], other) { return true }
            return false
        case .ne: return try !isEqual(arguments[0], arguments[1])
        case .lt: return try isLess(arguments[0], arguments[1])
        case .ge: return try !isLess(arguments[0], arguments[1])
        case .gt: return try isLess(arguments[1], arguments[0])
        default: return try !isLess(arguments[1], arguments[0])
        }
    }

    private func isEqual(_ left: TemplateValue, _ right: TemplateValue) throws(Failure) -> Bool {
        switch (left, right) {
        case (.bool(let left), .bool(let right)): return left == right
        case (.string(let left), .string(let right)): return left == right
        case (.int(let left), .int(let right)): return left == right
        case (.uint(let left), .uint(let right)): return left == right
        case (.int(let left), .uint(let right)), (.uint(let right), .int(let left)):
            return left >= 0 && UInt64(left) == right
        case (.float(let left), .float(let right)): return left == right
        case (.missing, .missing), (.missing, .null), (.null, .missing), (.null, .null): return true
        case (.missing, _), (.null, _), (_, .missing), (_, .null): return false
        case (.list, .list), (.map, .map), (.object, .object):
            throw .failure("non-comparable type \(left): \(left.typeName)")
        default: throw .failure("incompatible types for comparison")
        }
    }

    private func isLess(_ left: TemplateValue, _ right: TemplateValue) throws(Failure) -> Bool {
        switch (left, right) {
        case (.string(let left), .string(let right)): return left.utf8.lexicographicallyPrecedes(right.utf8)
        case (.int(let left), .int(let right)): return left < right
        case (.uint(let left), .uint(let right)): return left < right
        case (.int(let left), .uint(let right)): return left < 0 || UInt64(left) < right
        case (.uint(let left), .int(let right)): return right >= 0 && left < UInt64(right)
        case (.float(let left), .float(let right)): return left < right
        case (.bool, .bool), (.missing, _), (.null, _), (.list, _), (.map, _), (.object, _):
            throw .failure("invalid type for comparison")
        default: throw .failure("incompatible types for comparison")
        }
    }

    // MARK: Text

    /// Go's strings.Split: an empty separator gives every character.
    private static func split(_ text: String, by separator: String) -> [TemplateValue] {
        guard !separator.isEmpty else { return text.unicodeScalars.map { .string(String($0)) } }
        let bytes = Array(text.utf8)
        let mark = Array(separator.utf8)
        var parts: [TemplateValue] = []
        var start = 0
        var position = 0
        while position + mark.count <= bytes.count {
            if bytes[position..<position + mark.count].elementsEqual(mark) {
                parts.append(.string(String(decoding: bytes[start..<position], as: UTF8.self)))
                position += mark.count
                start = position
            } else {
                position += 1
            }
        }
        parts.append(.string(String(decoding: bytes[start...], as: UTF8.self)))
        return parts
    }

    /// The first letter of every word in upper case.
    private static func title(_ text: String) -> String {
        var result = ""
        var startsWord = true
        for character in text {
            result += startsWord ? character.uppercased() : String(character)
            startsWord = !(character.isLetter || character.isNumber || character == "_" || character == "'")
        }
        return result
    }

    private static func escapeHTML(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&#34;"
            case "'": result += "&#39;"
            default: result.append(character)
            }
        }
        return result
    }

    private static func escapeQuery(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case 0x20: result += "+"
            default: result += "%" + GoText.hex(byte, width: 2).uppercased()
            }
        }
        return result
    }
}
