/// The keys that leave a container running and return to the shell: ctrl-p ctrl-q unless the user chose others.
public struct DetachKeys: Sendable, Equatable {
    let sequence: [UInt8]
    private var matched = 0

    /// Docker's default.
    public static let standard = DetachKeys(sequence: [0x10, 0x11])

    init(sequence: [UInt8]) { self.sequence = sequence }

    /// Accepts "ctrl-p,ctrl-q", "ctrl-a,d", "" (no keys).
    ///
    /// - Throws: `EngineError` that names the key.
    public init(parsing text: String) throws(EngineError) {
        var keys: [UInt8] = []
        for key in text.split(separator: ",") {
            let lower = key.lowercased()
            if lower.hasPrefix("ctrl-"), let byte = lower.utf8.last, lower.utf8.count == 6, let code = Self.control(byte) {
                keys.append(code)
            } else if key.utf8.count == 1, let byte = key.utf8.first {
                keys.append(byte)
            } else {
                throw EngineError("invalid detach keys: unknown character '\(key)'", remedy: "write for example ctrl-p,ctrl-q")
            }
        }
        sequence = keys
    }

    private static func control(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 1
        case UInt8(ascii: "@"): 0
        case UInt8(ascii: "["): 27
        case UInt8(ascii: "\\"): 28
        case UInt8(ascii: "]"): 29
        case UInt8(ascii: "^"): 30
        case UInt8(ascii: "_"): 31
        default: nil
        }
    }

    /// What of `input` goes to the container, and whether the sequence is complete. Keys that begin the sequence are held
    /// back until the next one shows whether they belong to it.
    mutating func filter(_ input: ArraySlice<UInt8>) -> (output: [UInt8], isComplete: Bool) {
        if sequence.isEmpty { return (Array(input), false) }
        var output: [UInt8] = []
        for byte in input {
            if byte == sequence[matched] {
                matched += 1
                if matched == sequence.count { return (output, true) }
                continue
            }
            output += sequence[..<matched]
            matched = 0
            if byte == sequence[0] { matched = 1 } else { output.append(byte) }
            if matched == sequence.count { return (output, true) }
        }
        return (output, false)
    }
}
