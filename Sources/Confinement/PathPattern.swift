/// A shell pattern for paths, as Podman's `unmask=` takes it: `*` is any number of characters and `?` is one, neither a slash.
struct PathPattern {
    private let pattern: [UInt8]

    init(_ text: String) { pattern = Array(text.utf8) }

    /// Whether the pattern describes the whole path.
    func matches(_ path: String) -> Bool {
        let text = Array(path.utf8)
        // Where the last star stood, and how much of the text it has swallowed: what fails later is tried again with one more.
        var (position, place) = (0, 0)
        var retry: (position: Int, place: Int)?
        while place < text.count {
            let isSlash = text[place] == UInt8(ascii: "/")
            if position < pattern.count, pattern[position] == UInt8(ascii: "*") {
                retry = (position, place)
                position += 1
            } else if position < pattern.count, pattern[position] == text[place] || (pattern[position] == UInt8(ascii: "?") && !isSlash) {
                position += 1
                place += 1
            } else if let last = retry, text[last.place] != UInt8(ascii: "/") {
                retry = (last.position, last.place + 1)
                position = last.position + 1
                place = last.place + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
