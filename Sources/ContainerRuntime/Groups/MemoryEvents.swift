import Glibc
import LinuxKernel

/// How often the out-of-memory killer has struck in a container's v2 group, kept for when the group is gone: systemd removes a scope as soon
/// as its last process has ended, and with it the file that says why. A class, so that there can be none.
final class MemoryEvents {
    private let file: FileDescriptor
    private(set) var kills = 0

    /// - Parameter groups: the container's groups; nil without a v2 group that counts memory.
    init?(groups: [String]) {
        guard let group = groups.first, groups.count == 1 else { return nil }
        let raw = open(group + "/memory.events", O_RDONLY | O_CLOEXEC)
        if raw < 0 { return nil }
        file = FileDescriptor(owning: raw)
        update()  // a change is announced to who has read before
    }

    /// Becomes ready for POLLPRI with every change.
    var descriptor: Int32 { file.rawValue }

    /// Reads the count, as long as the group is there.
    func update() {
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = pread(file.rawValue, &buffer, buffer.count, 0)
        if count <= 0 { return }
        for line in String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n") where line.hasPrefix("oom_kill ") {
            kills = max(kills, Int(line.dropFirst(9)) ?? 0)
        }
    }
}
