/// Values as Go's fmt prints them: `%v` of lists and maps, and the verbs of printf.
enum GoFormat {
    enum Place { case top, nested }

    /// `%v`; at the top of an action a missing value is `<no value>`, inside of another value `<nil>`.
    static func value(_ value: TemplateValue, at place: Place) -> String {
        switch value {
        case .missing, .null(.interface): return place == .top ? "<no value>" : "<nil>"
        case .null(.list): return "[]"
        case .null(.map): return "map[]"
        case .bool(let value): return value ? "true" : "false"
        case .int(let value): return String(value)
        case .uint(let value): return String(value)
        case .float(let value): return GoNumber.value(value)
        case .string(let value): return value
        case .list(let values):
            return "[" + values.map { self.value($0, at: .nested) }.joined(separator: " ") + "]"
        case .map:
            let pairs = value.sortedPairs.map { $0.key + ":" + self.value($0.value, at: .nested) }
            return "map[" + pairs.joined(separator: " ") + "]"
        case .object(let fields):
            return "{" + fields.pairs.map { self.value($0.value, at: .nested) }.joined(separator: " ") + "}"
        }
    }

    /// fmt.Sprint: a space between two operands when neither is a string.
    static func print(_ values: [TemplateValue]) -> String {
        var result = ""
        var wasString = true
        for (index, value) in values.enumerated() {
            var isString = false
            if case .string = value { isString = true }
            if index > 0, !isString, !wasString { result += " " }
            result += self.value(value, at: .nested)
            wasString = isString
        }
        return result
    }

    /// fmt.Sprintln: a space between all operands, a newline behind.
    static func println(_ values: [TemplateValue]) -> String {
        values.map { value($0, at: .nested) }.joined(separator: " ") + "\n"
    }

    /// fmt.Sprintf, with Go's own marks for wrong, missing and extra operands.
    static func printf(_ format: String, _ values: [TemplateValue]) -> String {
        var result = ""
        var operands = values[...]
        var rest = Substring(format)
        while let character = rest.popFirst() {
            guard character == "%" else {
                result.append(character)
                continue
            }
            var verb = FormatVerb(&rest, operands: &operands)
            guard let name = rest.popFirst() else {
                result += "%!(NOVERB)"
                break
            }
            if name == "%" {
                result += "%"
                continue
            }
            guard let value = operands.popFirst() else {
                result += "%!\(name)(MISSING)"
                continue
            }
            result += verb.format(value, as: name)
        }
        if !operands.isEmpty {
            let extra = operands.map { operand in
                if case .missing = operand { return "<nil>" }
                if case .null(.interface) = operand { return "<nil>" }
                return operand.typeName + "=" + value(operand, at: .nested)
            }
            result += "%!(EXTRA " + extra.joined(separator: ", ") + ")"
        }
        return result
    }
}

/// One verb of printf with its flags, width and precision.
private struct FormatVerb {
    private var flags: Set<Character> = []
    private var width: Int?
    private var precision: Int?
    /// Go refuses larger ones as well.
    private static let limit = 1_000_000

    /// Reads what stands between `%` and the verb.
    init(_ rest: inout Substring, operands: inout ArraySlice<TemplateValue>) {
        while let flag = rest.first, "+-# 0".contains(flag) { flags.insert(rest.removeFirst()) }
        width = Self.number(&rest, &operands)
        if let given = width, given < 0 {
            flags.insert("-")
            width = -given
        }
        if rest.first == "." {
            rest.removeFirst()
            precision = Self.number(&rest, &operands) ?? 0
        }
    }

    private static func number(_ rest: inout Substring, _ operands: inout ArraySlice<TemplateValue>) -> Int? {
        if rest.first == "*" {
            rest.removeFirst()
            guard case .int(let number)? = operands.popFirst() else { return nil }
            return Int(min(max(number, -Int64(limit)), Int64(limit)))
        }
        var result: Int?
        while let digit = rest.first?.wholeNumberValue, rest.first?.isASCII == true {
            rest.removeFirst()
            result = min((result ?? 0) * 10 + digit, limit)
        }
        return result
    }

    mutating func format(_ value: TemplateValue, as verb: Character) -> String {
        switch (verb, value) {
        case ("v", _): return pad(general(value))
        case ("T", _): return pad(value.typeName)
        case ("d", .list(let values)), ("s", .list(let values)), ("q", .list(let values)), ("x", .list(let values)),
            ("X", .list(let values)):
            var parts: [String] = []
            for value in values { parts.append(format(value, as: verb)) }
            return "[" + parts.joined(separator: " ") + "]"
        case ("s", .string(let text)): return pad(precision.map { String(text.prefix($0)) } ?? text)
        case ("q", .string(let text)): return pad(GoText.quote(precision.map { String(text.prefix($0)) } ?? text))
        case ("x", .string(let text)), ("X", .string(let text)):
            let digits = text.utf8.map { GoText.hex($0, width: 2) }.joined()
            return pad(verb == "X" ? digits.uppercased() : digits)
        case ("t", .bool(let value)): return pad(value ? "true" : "false")
        case (_, .int(let number)): return integer(number.magnitude, isNegative: number < 0, verb) ?? bad(verb, value)
        case (_, .uint(let number)): return integer(number, isNegative: false, verb) ?? bad(verb, value)
        case ("e", .float(let number)), ("f", .float(let number)), ("F", .float(let number)), ("g", .float(let number)),
            ("E", .float(let number)), ("G", .float(let number)):
            return float(number, verb)
        default: return bad(verb, value)
        }
    }

    private func general(_ value: TemplateValue) -> String {
        if flags.contains("#"), case .string(let text) = value { return GoText.quote(text) }
        if flags.contains("+"), case .int(let number) = value, number >= 0 { return "+\(number)" }
        if flags.contains("+"), case .object(let fields) = value {
            let parts = fields.pairs.map { $0.name + ":" + GoFormat.value($0.value, at: .nested) }
            return "{" + parts.joined(separator: " ") + "}"
        }
        return GoFormat.value(value, at: .nested)
    }

    private mutating func integer(_ magnitude: UInt64, isNegative: Bool, _ verb: Character) -> String? {
        let digits: String
        var prefix = ""
        switch verb {
        case "d": digits = String(magnitude)
        case "b": digits = String(magnitude, radix: 2)
        case "o": digits = (flags.contains("#") ? "0" : "") + String(magnitude, radix: 8)
        case "O": (prefix, digits) = ("0o", String(magnitude, radix: 8))
        case "x": (prefix, digits) = (flags.contains("#") ? "0x" : "", String(magnitude, radix: 16))
        case "X": (prefix, digits) = (flags.contains("#") ? "0X" : "", String(magnitude, radix: 16).uppercased())
        case "c", "q", "U":
            guard let value = UInt32(exactly: magnitude), let scalar = Unicode.Scalar(value), !isNegative else { return nil }
            if verb == "U" { return pad("U+" + GoText.hex(value, width: 4).uppercased()) }
            return pad(verb == "c" ? String(scalar) : "'\(scalar)'")
        default: return nil
        }
        let sign = isNegative ? "-" : flags.contains("+") ? "+" : flags.contains(" ") ? " " : ""
        let wanted = precision ?? 0
        let body = String(repeating: "0", count: max(0, wanted - digits.count)) + digits
        return padNumber(sign + prefix, body, zeros: precision == nil)
    }

    private func float(_ number: Double, _ verb: Character) -> String {
        let usesShortest = (verb == "g" || verb == "G") && precision == nil
        let verb: Character = verb == "F" ? "f" : verb
        var text = usesShortest ? GoNumber.value(abs(number)) : GoNumber.format(abs(number), verb: verb, precision: precision ?? 6)
        if verb == "G" { text = text.uppercased() }
        let sign = number < 0 ? "-" : flags.contains("+") ? "+" : flags.contains(" ") ? " " : ""
        return padNumber(sign, text, zeros: true)
    }

    private func padNumber(_ sign: String, _ digits: String, zeros: Bool) -> String {
        let missing = (width ?? 0) - sign.count - digits.count
        guard zeros, flags.contains("0"), !flags.contains("-"), missing > 0 else { return pad(sign + digits) }
        return sign + String(repeating: "0", count: missing) + digits
    }

    private func pad(_ text: String) -> String {
        let missing = (width ?? 0) - text.unicodeScalars.count
        guard missing > 0 else { return text }
        let space = String(repeating: " ", count: missing)
        return flags.contains("-") ? text + space : space + text
    }

    /// Go's mark for a verb that does not fit: `%!d(string=x)`.
    private func bad(_ verb: Character, _ value: TemplateValue) -> String {
        switch value {
        case .missing, .null(.interface): "%!\(verb)(<nil>)"
        default: "%!\(verb)(\(value.typeName)=\(GoFormat.value(value, at: .nested)))"
        }
    }
}
