/// What a registry demands in `WWW-Authenticate` (RFC 9110 section 11.6.1).
struct AuthenticationChallenge: Sendable, Equatable {
    /// Lower case: "bearer", "basic".
    let scheme: String
    /// Names in lower case.
    let parameters: [String: String]

    /// Every challenge of one header field; what cannot be read is left out.
    static func parse(_ header: String) -> [AuthenticationChallenge] {
        var scanner = Scanner(rest: Substring(header))
        var challenges: [AuthenticationChallenge] = []
        while let scheme = scanner.token() {
            var parameters: [String: String] = [:]
            while let (name, value) = scanner.parameter() { parameters[name.lowercased()] = value }
            challenges.append(AuthenticationChallenge(scheme: scheme.lowercased(), parameters: parameters))
            scanner.skipSeparators()
        }
        return challenges
    }

    private struct Scanner {
        var rest: Substring

        mutating func skipSeparators() {
            rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "," }
        }

        mutating func token() -> String? {
            skipSeparators()
            let word = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "!#$%&'*+-.^_`|~".contains($0)) }
            rest = rest.dropFirst(word.count)
            return word.isEmpty ? nil : String(word)
        }

        /// `name=value` or `name="value"`; leaves everything as it was when the next word is another scheme.
        mutating func parameter() -> (String, String)? {
            let before = rest
            guard let name = token() else { return nil }
            rest = rest.drop { $0 == " " }
            guard rest.first == "=" else {
                rest = before
                return nil
            }
            rest = rest.dropFirst().drop { $0 == " " }
            if rest.first == "\"" {
                rest = rest.dropFirst()
                var value = ""
                while let character = rest.popFirst(), character != "\"" {
                    value.append(character == "\\" ? rest.popFirst() ?? "\\" : character)
                }
                return (name, value)
            }
            let value = rest.prefix { $0 != "," && $0 != " " }
            rest = rest.dropFirst(value.count)
            return (name, String(value))
        }
    }
}
