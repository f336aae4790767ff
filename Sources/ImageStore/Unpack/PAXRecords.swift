/// The records of a PAX extended header (POSIX.1-2017 pax): "LENGTH KEY=VALUE\n", LENGTH counting the whole record.
struct PAXRecords {
    private(set) var path: [UInt8]?
    private(set) var linkPath: [UInt8]?
    private(set) var size: Int64?
    private(set) var user: Int64?
    private(set) var group: Int64?
    private(set) var modified: (seconds: Int, nanoseconds: Int)?
    private(set) var attributes: [(name: [UInt8], value: [UInt8])] = []

    private static let attributePrefix = Array("SCHILY.xattr.".utf8)

    init(_ bytes: [UInt8]) throws {
        for (key, value) in try Self.records(bytes) { try store(key, value) }
    }

    /// Checks a header for all that follows. It may say nothing that changes what is extracted: readers differ on what it
    /// then applies to. (`git archive` writes one with a comment.)
    static func checkGlobal(_ bytes: [UInt8]) throws {
        for (key, _) in try records(bytes) {
            let name = String(decoding: key, as: UTF8.self)
            if ["path", "linkpath", "size", "uid", "gid"].contains(name) || key.starts(with: attributePrefix)
                || name.hasPrefix("GNU.sparse.")
            {
                throw UnpackFailure("a global extended header sets \(printable(key)), which is not supported")
            }
        }
    }

    private static func records(_ bytes: [UInt8]) throws -> [(ArraySlice<UInt8>, ArraySlice<UInt8>)] {
        var records: [(ArraySlice<UInt8>, ArraySlice<UInt8>)] = []
        var seen = Set<ArraySlice<UInt8>>()
        var rest = bytes[...]
        while !rest.isEmpty {
            let (key, value) = try record(&rest)
            // A second record of the same key: readers differ on which one counts.
            guard seen.insert(key).inserted else {
                throw UnpackFailure("an extended header has the key \(printable(key)) twice")
            }
            records.append((key, value))
        }
        return records
    }

    private static func record(_ rest: inout ArraySlice<UInt8>) throws -> (ArraySlice<UInt8>, ArraySlice<UInt8>) {
        let bad = UnpackFailure("an extended header is malformed")
        let digits = rest.prefix(8).prefix { $0 != 0x20 }
        guard !digits.isEmpty, digits.count < 8, let length = decimal(digits), Int(length) <= rest.count,
            Int(length) > digits.count + 1
        else { throw bad }
        let record = rest.prefix(Int(length))
        rest = rest.dropFirst(Int(length))
        guard record.last == 0x0a, record[record.startIndex + digits.count] == 0x20 else { throw bad }
        let body = record.dropFirst(digits.count + 1).dropLast()
        guard let equals = body.firstIndex(of: UInt8(ascii: "=")), equals > body.startIndex else { throw bad }
        return (body[..<equals], body[(equals + 1)...])
    }

    private mutating func store(_ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) throws {
        if key.starts(with: Self.attributePrefix) {
            attributes.append((Array(key.dropFirst(Self.attributePrefix.count)), Array(value)))
            return
        }
        let name = String(decoding: key, as: UTF8.self)
        if name.hasPrefix("GNU.sparse.") { throw UnpackFailure("sparse files are not supported in a layer") }
        switch name {
        case "path": path = try Self.text(value, "path")
        case "linkpath": linkPath = try Self.text(value, "linkpath")
        case "size": size = try Self.number(value, "size")
        case "uid": user = try Self.number(value, "uid")
        case "gid": group = try Self.number(value, "gid")
        case "mtime": modified = try Self.time(value)
        default: break  // atime, ctime, comment, charset, names of users: not extracted.
        }
    }

    /// An empty value takes the key back, as POSIX says.
    private static func text(_ value: ArraySlice<UInt8>, _ key: String) throws -> [UInt8]? {
        if value.contains(0) { throw UnpackFailure("the \(key) of an extended header contains a NUL byte") }
        return value.isEmpty ? nil : Array(value)
    }

    private static func number(_ value: ArraySlice<UInt8>, _ key: String) throws -> Int64? {
        if value.isEmpty { return nil }
        guard let number = decimal(value) else { throw UnpackFailure("the \(key) \(printable(value)) of an extended header is not valid") }
        return number
    }

    /// Digits only; nil on overflow.
    private static func decimal(_ digits: ArraySlice<UInt8>) -> Int64? {
        var value: Int64 = 0
        for digit in digits {
            guard digit >= 0x30, digit <= 0x39 else { return nil }
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int64(digit - 0x30))
            if overflow || carry { return nil }
            value = sum
        }
        return digits.isEmpty ? nil : value
    }

    /// "-12.5": seconds with a decimal fraction, rounded down to nanoseconds.
    private static func time(_ value: ArraySlice<UInt8>) throws -> (seconds: Int, nanoseconds: Int)? {
        if value.isEmpty { return nil }
        let bad = UnpackFailure("the mtime \(printable(value)) of an extended header is not valid")
        let isNegative = value.first == UInt8(ascii: "-")
        let parts = (isNegative ? value.dropFirst() : value).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard let first = parts.first, parts.count <= 2, let whole = decimal(first), whole < 1 << 40 else { throw bad }
        var nanoseconds: Int64 = 0
        if parts.count == 2 {
            let digits = Array(parts[1].prefix(9)) + [UInt8](repeating: 0x30, count: max(0, 9 - parts[1].count))
            guard parts[1].allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let fraction = decimal(digits[...]) else { throw bad }
            nanoseconds = fraction
        }
        if !isNegative { return (Int(whole), Int(nanoseconds)) }
        return nanoseconds == 0 ? (Int(-whole), 0) : (Int(-whole) - 1, Int(1_000_000_000 - nanoseconds))
    }
}
