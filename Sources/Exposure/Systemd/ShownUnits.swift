/// What `systemctl show` prints of services: their settings as the manager has them, one property a line, units parted by an empty line.
public enum ShownUnits {
    /// Whether a text looks like it: assignments alone, the unit's name among them.
    public static func accepts(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first, (0x41...0x5A).contains(first), bytes.count <= maximumSize else { return false }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        return lines.contains { $0.hasPrefix("Id=") } && lines.contains { $0.hasPrefix("LoadState=") }
    }

    /// Bytes of the longest output that is read: a few hundred properties for each of many services.
    public static let maximumSize = 8 << 20

    /// One subject a service, named as the unit.
    ///
    /// - Throws: for a text without a service, and for a unit that is not loaded.
    public static func subjects(_ bytes: [UInt8], name: String) throws(ExposureError) -> [Subject] {
        var subjects: [Subject] = []
        for block in blocks(String(decoding: bytes, as: UTF8.self)) {
            let state = block.last { $0.key == "LoadState" }?.value ?? ""
            guard let unit = block.last(where: { $0.key == "Id" })?.value, unit.hasSuffix(".service") else { continue }
            if state != "loaded" { throw ExposureError("the unit \(unit) is \(state.isEmpty ? "not loaded" : state), and has no settings to score") }
            subjects.append(try UnitSettings(name: unit, assignments: block.compactMap(assignment)).subject(unit))
        }
        if subjects.isEmpty { throw ExposureError("\(name) shows no service") }
        return subjects
    }

    private static func blocks(_ text: String) -> [[(key: String, value: String)]] {
        var blocks: [[(key: String, value: String)]] = [[]]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if trimmed(line).isEmpty {
                blocks.append([])
            } else if let equals = line.utf8.firstIndex(of: UInt8(ascii: "=")) {
                blocks[blocks.count - 1].append((String(line[..<equals]), String(trimmed(line[line.utf8.index(after: equals)...]))))
            }
        }
        return blocks.filter { !$0.isEmpty }
    }

    /// A property in the words of a unit file, where they part from each other.
    private static func assignment(_ property: (key: String, value: String)) -> UnitFile.Assignment? {
        let (key, value) = property
        switch key {
        case "DefaultDependencies": return UnitFile.Assignment(section: "Unit", key: key, value: value)
        // A deny-list of nothing: no list was set.
        case "SystemCallFilter", "RestrictAddressFamilies":
            return value.isEmpty || value == "~" ? nil : UnitFile.Assignment(section: "Service", key: key, value: value)
        // Settings that the manager prints resolved: what they were written as is not shown.
        case "DelegateControllers": return nil
        default: return UnitFile.Assignment(section: "Service", key: key, value: value)
        }
    }
}
