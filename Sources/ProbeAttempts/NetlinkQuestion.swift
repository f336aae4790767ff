import CLinux
import Glibc
import LinuxKernel

/// One message to the kernel over netlink(7), and whether it was refused.
struct NetlinkQuestion {
    /// NETLINK_*.
    var number: Int32
    var type: UInt16
    /// NLM_F_*: 5 asks for an acknowledgement, 0x301 for a table.
    var flags: UInt16
    var body: [UInt8]

    /// - Parameter denials: errors that are a refusal as well.
    func ask(_ what: String, also denials: Set<Int32>) -> Finding {
        let file = socket(16, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), number)
        // Nothing was asked yet: a filter may answer with any number (Podman's says EINVAL for the audit system).
        if file < 0 { return .denied(errno, "a netlink socket for \(what)") }
        return answer(file).whenItIsLookedAt(what, also: denials)
    }

    private func answer(_ file: Int32) -> Reply {
        defer { close(file) }
        let message = NetlinkMessage(type: type, flags: NetlinkMessage.Flags(rawValue: flags), fixedPart: body).encoded(sequence: 1)
        let sent = Reply(send(file, message, message.count, 0))
        if !sent.succeeded { return sent }
        var waiting = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
        // A subsystem that is not there says nothing.
        guard poll(&waiting, 1, 1000) == 1 else { return Reply(errno: EPROTONOSUPPORT) }
        var buffer = [UInt8](repeating: 0, count: 65536)
        let length = recv(file, &buffer, buffer.count, 0)
        if length < 0 { return Reply(length) }
        // struct nlmsghdr has 16 bytes with the type at 4; an error number follows where the type is NLMSG_ERROR.
        guard length >= 20, buffer[4] == 2, buffer[5] == 0 else { return Reply(0) }
        return Reply(errno: -buffer[16..<20].withUnsafeBytes { $0.loadUnaligned(as: Int32.self) })
    }
}
