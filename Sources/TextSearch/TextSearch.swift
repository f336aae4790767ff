// Swift's own search for a text in a text comes with its regular-expression engine: 450 protocol conformances in every program that says `contains`
// once, which the Swift runtime looks through whenever a type is asked for one for the first time (docs/decisions/0006-what-a-start-costs.md).

extension StringProtocol {
    /// Whether `other` stands somewhere in this text, byte by byte as UTF-8; the empty text stands everywhere.
    public func contains(_ other: some StringProtocol) -> Bool { offset(of: Array(other.utf8)) != nil }

    /// Where `pattern` begins first, in bytes.
    fileprivate func offset(of pattern: [UInt8]) -> Int? {
        let bytes = Array(utf8)
        if pattern.count > bytes.count { return nil }
        return (0...(bytes.count - pattern.count)).first { start in
            bytes[start..<(start + pattern.count)].elementsEqual(pattern)
        }
    }
}
