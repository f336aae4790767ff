import Glibc
import Synchronization

/// Progress of several transfers at once, on standard error: one line each, redrawn in place on a terminal. Elsewhere, in a
/// log say, only what is worth keeping gets a line. Safe to use from several threads.
public final class ProgressBars: Sendable {
    /// One line: a transfer, and where it is.
    public struct Line: Sendable, Equatable {
        /// What is transferred, usually a short digest.
        public var label: String
        /// What happens to it: "Downloading", "Pull complete".
        public var state: String
        /// Bytes done and in all; nil draws no bar, a total of nil draws the bytes done only.
        public var done: UInt64?
        public var total: UInt64?
    }

    private struct State {
        var lines: [Line] = []
        var drawn = 0
        var lastDraw = Timestamp(seconds: 0)
    }

    private let state = Mutex(State())
    private let descriptor: Int32
    private let isInPlace: Bool
    private let isQuiet: Bool
    private static let redrawInterval = 0.08

    /// - Parameters:
    ///   - descriptor: Where to draw; 2 is standard error.
    ///   - isQuiet: Draws nothing at all.
    ///   - isInPlace: Overrides the detection of a terminal.
    public init(descriptor: Int32 = 2, isQuiet: Bool = false, isInPlace: Bool? = nil) {
        self.descriptor = descriptor
        self.isQuiet = isQuiet
        self.isInPlace = isInPlace ?? Terminal.acceptsControl(descriptor)
    }

    /// Says what happens to a transfer now; a new label gets a line of its own.
    ///
    /// - Parameter isPassing: Other states will follow: nothing for a log.
    public func set(_ label: String, _ text: String, isPassing: Bool = false) {
        change(label, isPassing: isPassing, always: true) { line in
            line.state = text
            line.done = nil
            line.total = nil
        }
    }

    /// Moves the bar of a transfer.
    /// - Parameters:
    ///   - done: bytes so far.
    ///   - total: bytes in all, nil when unknown.
    public func advance(_ label: String, _ text: String, done: UInt64, total: UInt64?) {
        change(label, isPassing: true, always: false) { line in
            line.state = text
            line.done = done
            line.total = total
        }
    }

    /// Draws the last state; the cursor is then below all lines.
    public func finish() {
        state.withLock { state in if isInPlace { draw(&state) } }
    }

    private func change(_ label: String, isPassing: Bool, always: Bool, _ body: (inout Line) -> Void) {
        guard !isQuiet else { return }
        let label = HumanUnits.printable(label)
        state.withLock { state in
            let index = state.lines.firstIndex { $0.label == label } ?? state.lines.count
            if index == state.lines.count { state.lines.append(Line(label: label, state: "")) }
            let before = state.lines[index].state
            body(&state.lines[index])
            guard isInPlace else {
                let text = state.lines[index].state
                if !isPassing, before != text { Terminal.write("\(label): \(text)\n", to: descriptor) }
                return
            }
            let now = Timestamp.now
            guard always || now.seconds(since: state.lastDraw) >= Self.redrawInterval else { return }
            state.lastDraw = now
            draw(&state)
        }
    }

    private func draw(_ state: inout State) {
        let width = Terminal.width(descriptor) ?? 80
        var text = state.drawn > 0 ? "\u{1b}[\(state.drawn)A" : ""
        for line in state.lines { text += "\r" + Self.text(of: line, width: width) + "\u{1b}[K\n" }
        state.drawn = state.lines.count
        Terminal.write(text, to: descriptor)
    }

    /// One line, never wider than the terminal: a wrapped line would put every later one out of place.
    static func text(of line: Line, width: Int) -> String {
        var text = "\(line.label): \(line.state)"
        guard let done = line.done else { return String(text.prefix(width)) }
        let sizes = HumanUnits.size(done, precision: 4) + (line.total.map { "/" + HumanUnits.size($0, precision: 4) } ?? "")
        if let total = line.total, total > 0 {
            let room = min(50, width - text.count - sizes.count - 5)
            if room >= 10 {
                let filled = Int(Double(room) * min(1, Double(done) / Double(total)))
                let head = filled < room ? ">" : ""
                let bar = String(repeating: "=", count: filled) + head
                text += " [" + bar + String(repeating: " ", count: room - bar.count) + "]"
            }
        }
        return String((text + " " + sizes).prefix(width))
    }
}
