import Glibc
import LaunchPlan
import LinuxKernel

/// What `--debug` shows: one sentence for each thing that was done, once it is done. Some sentences have words that tools for runc look for.
///
/// Single-threaded, as everything here; nothing is said, and no sentence made, while it is off.
public enum DebugLog {
    nonisolated(unsafe) private static var sink: ((String) -> Void)?

    public static var isOn: Bool { sink != nil }

    /// From now on every sentence goes to `sink`.
    public static func turnOn(_ sink: @escaping (String) -> Void) { self.sink = sink }

    public static func note(_ sentence: @autoclosure () -> String) {
        guard let sink else { return }
        sink(sentence())
    }

    /// The container's first process has no log of its own: what it says travels with its other messages, to whoever follows its start.
    static func speak(through channel: borrowing FileDescriptor) {
        if sink == nil { return }
        let raw = channel.rawValue
        sink = { sentence in
            do {
                let packet = try InitMessage.log(ErrorSentence.of(sentence)).encoded()
                // write, not send: every filter allows it.
                try retrying("write") { packet.withUnsafeBytes { Glibc.write(raw, $0.baseAddress, $0.count) } }
            } catch {
                fallSilent()
            }
        }
    }

    /// Nobody follows any more.
    static func fallSilent() { if sink != nil { sink = { _ in } } }
}
