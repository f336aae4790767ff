/// Durations, sizes and identifiers as Docker's listings print them.
public enum HumanUnits {
    /// A duration in words: "Less than a second", "3 seconds", "About a minute", "About an hour", "2 days".
    /// - Parameter seconds: seconds, fractions count; a negative duration reads as none.
    public static func duration(seconds: Double) -> String {
        let whole = Int(max(0, seconds))
        let minutes = whole / 60
        let hours = Int((max(0, seconds) / 3600 + 0.5).rounded(.down))
        // The tiers of the field: the unit changes once its count would say little.
        switch (whole, minutes, hours) {
        case (..<1, _, _): return "Less than a second"
        case (1, _, _): return "1 second"
        case (..<60, _, _): return "\(whole) seconds"
        case (_, 1, _): return "About a minute"
        case (_, ..<60, _): return "\(minutes) minutes"
        case (_, _, 1): return "About an hour"
        case (_, _, ..<48): return "\(hours) hours"
        case (_, _, ..<(24 * 14)): return "\(hours / 24) days"
        case (_, _, ..<(24 * 60)): return "\(hours / 24 / 7) weeks"
        case (_, _, ..<(24 * 365 * 2)): return "\(hours / 24 / 30) months"
        default: return "\(whole / 3600 / 24 / 365) years"
        }
    }

    /// The time since a moment: "2 minutes ago".
    public static func since(_ moment: Timestamp, now: Timestamp = .now) -> String {
        duration(seconds: now.seconds(since: moment)) + " ago"
    }

    /// A size in decimal units: "1.2MB".
    /// - Parameter precision: significant digits; Docker uses 3 for images and 4 elsewhere.
    public static func size(_ bytes: UInt64, precision: Int = 3) -> String {
        scaled(bytes, base: 1000, units: ["B", "kB", "MB", "GB", "TB", "PB", "EB"], precision: precision)
    }

    /// A size in binary units: "1.172MiB".
    public static func binarySize(_ bytes: UInt64, precision: Int = 4) -> String {
        scaled(bytes, base: 1024, units: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], precision: precision)
    }

    private static func scaled(_ bytes: UInt64, base: Double, units: [String], precision: Int) -> String {
        var size = Double(bytes)
        var unit = 0
        while size >= base, unit < units.count - 1 {
            size /= base
            unit += 1
        }
        return GoNumber.format(size, verb: "g", precision: precision) + units[unit]
    }

    /// The first twelve digits of an identifier, without its `sha256:`.
    public static func shortID(_ id: String) -> String {
        let bare = id.firstIndex(of: ":").map { id[id.index(after: $0)...] } ?? Substring(id)
        return String(bare.prefix(12))
    }

    /// A text cut to a number of characters, the last of them "…", as Docker shortens commands.
    public static func ellipsis(_ text: String, width: Int) -> String {
        text.count <= width ? text : String(text.prefix(max(0, width - 1))) + "…"
    }

    /// A text with what a terminal would obey, escape sequences above all, made visible. Names, labels and messages of
    /// images and registries are hostile input.
    public static func printable(_ text: some StringProtocol) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return String(text) }
        var result = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar) {
                result += scalar.escaped(asASCII: true)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        // Line ends, and what turns the direction of writing (CVE-2021-42574), too.
        case 0..<0x20, 0x7f...0x9f, 0x2028...0x202e, 0x2066...0x2069: true
        default: false
        }
    }
}
