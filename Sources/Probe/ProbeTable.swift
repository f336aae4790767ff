import StrictJSON

/// What the probes try, as data (`Data/probes.json`): one row each. The attempt itself is a function of ProbeAttempts with the same id.
public struct ProbeTable: Sendable {
    /// In the order in which they are tried and shown.
    public let rows: [ProbeRow]
    private let byID: [String: Int]

    /// Throws when an id occurs twice.
    init(rows: [ProbeRow]) throws(ProbeError) {
        var byID: [String: Int] = [:]
        for (index, row) in rows.enumerated() where byID.updateValue(index, forKey: row.id) != nil {
            throw ProbeError("probes.json has two rows with the id “\(row.id)”")
        }
        self.rows = rows
        self.byID = byID
    }

    public subscript(id: String) -> ProbeRow? { byID[id].map { rows[$0] } }

    /// The built-in table.
    public static func builtIn() throws(ProbeError) -> ProbeTable {
        let document: Document
        do {
            let text = EmbeddedText.probes_json.withUTF8Buffer { Array($0) }
            document = try StrictJSONDecoder.rejectUnknownKeys.decode(Document.self, from: text)
        } catch {
            throw ProbeError("the built-in probes.json cannot be read: \(error)")
        }
        return try ProbeTable(rows: document.probes)
    }

    private struct Document: Decodable {
        let about: String
        let probes: [ProbeRow]
    }
}

/// One probe.
public struct ProbeRow: Codable, Sendable, Equatable {
    /// "ns-user-unshare": never changed once published, because reports and policies name it.
    public let id: String
    public let group: ProbeGroup
    /// The row of the catalogue that it belongs to, 1 to 89; several probes may share one.
    public let number: Int
    /// What it tries, in plain words, as the end of "tries to …".
    public let title: String
    /// What a contained answer is.
    public let contained: String
    /// The layers that are expected to hold it. One suffices; which one does is found by peeling.
    public let layers: [ProbeLayer]
    /// CVEs and sources.
    public let references: [String]
    public let kind: ProbeKind
    /// Facts that a request must carry; without them the answer is `inconclusive`.
    public let needs: [ProbeFact]
    /// The weakest loose setting in which the probe must find the hole.
    public let control: ProbeControl
    /// The capability whose absence holds it, as "CAP_SYS_ADMIN".
    public let capability: String?
    /// What mends it where it is reachable.
    public let remedy: ProbeRemedy
    /// Whether it says something about a host too, tried by an ordinary user outside any container.
    public let host: Bool
}

/// A problem with the table or a message.
public struct ProbeError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
