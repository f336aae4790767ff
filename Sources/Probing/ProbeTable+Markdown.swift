import Probe

extension ProbeTable {
    /// The table of probes, controls and layers in docs/PROBES.md, which is this one's output.
    public var markdown: String {
        var text = "| probe | tries to | held by | control |\n|---|---|---|---|\n"
        for row in rows {
            let layers = row.layers.map(\.title).joined(separator: ", ")
            text += "| `\(row.id)` | \(row.title) | \(layers) | \(row.control.rawValue) |\n"
        }
        return text
    }
}
