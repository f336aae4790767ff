import Fuzzing

/// What every refusal must be: a sentence for a user, and nothing of the program's inside.
enum Refusal {
    private static let inside = ["Optional(", "Swift.", "Fatal", "DecodingError", "EncodingError", "CodingKeys", "rawValue", "Error("]

    static func check(_ error: any Error) throws {
        let text = "\(error)"
        guard text.utf8.count >= 12 else { throw FuzzFinding("a refusal that says nothing: \(text.debugDescription)") }
        // The document's own words may be anything: what is looked for must be the program's.
        let type = String(describing: type(of: error))
        guard !text.hasPrefix(type + "("), !text.hasPrefix("(") else { throw FuzzFinding("a refusal that is a dump: \(text.prefix(200))") }
        if let word = inside.first(where: { text.contains($0) }) { throw FuzzFinding("\(word.debugDescription) in a refusal: \(text.prefix(200))") }
    }
}
