import Glibc

/// Numbers as Go's strconv and fmt print them.
enum GoNumber {
    /// `%v` of a float64: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e21 on.
    static func value(_ number: Double) -> String {
        shortest(number)
    }

    private static func shortest(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Inf" : "+Inf" }
        if number == 0 { return number.sign == .minus ? "-0" : "0" }
        let (digits, exponent) = decimal(abs(number))
        let sign = number < 0 ? "-" : ""
        if exponent < -4 || exponent >= 21 {
            let fraction = digits.dropFirst()
            let size = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
            return sign + digits.prefix(1) + (fraction.isEmpty ? "" : "." + fraction)
                + "e" + (exponent < 0 ? "-" : "+") + size
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        if digits.count <= exponent + 1 {
            return sign + digits + String(repeating: "0", count: exponent + 1 - digits.count)
        }
        return sign + digits.prefix(exponent + 1) + "." + digits.dropFirst(exponent + 1)
    }

    /// The shortest significant digits of a positive number and the power of ten of the first one.
    private static func decimal(_ number: Double) -> (digits: String, exponent: Int) {
        // Swift's description is already the shortest round-trip form; only its layout differs from Go's.
        var text = number.description
        var exponent = 0
        if let e = text.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            exponent = Int(text[text.index(after: e)...]) ?? 0
            text = String(text[..<e])
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let whole = parts.first.map(String.init) ?? ""
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        exponent += whole.count - 1
        var digits = Substring(whole + fraction)
        while digits.first == "0", digits.count > 1 {
            digits = digits.dropFirst()
            exponent -= 1
        }
        while digits.last == "0", digits.count > 1 { digits = digits.dropLast() }
        return (String(digits), exponent)
    }

    /// C's `%.*f`, `%.*e` or `%.*g`, which agree with Go's for these verbs.
    static func format(_ number: Double, verb: Character, precision: Int) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Inf" : "+Inf" }
        var buffer = [CChar](repeating: 0, count: 400 + precision)
        let written = withVaList([Int32(clamping: precision), number]) {
            vsnprintf(&buffer, buffer.count, "%.*\(verb)", $0)
        }
        let bytes = buffer.prefix(Int(max(0, written))).map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
