import CLinux
import CProbing
import Glibc
import LinuxKernel
import Probe

/// Where the attempts find themselves: what they were told, and what the program saw when it started.
public final class Situation {
    let request: ProbeRequest
    var facts: ProbeFacts { request.facts }
    var limits: ProbeLimits { request.limits }
    /// Descriptors that were open at the start.
    let descriptors: [OpenDescriptor]
    /// "NAME=value" of the program's own environment.
    let environment: [String]
    /// Whether some filter of system calls is in force; unknown counts as one.
    let isFiltered: Bool
    /// Whether a mount namespace of its own can be made, in which changes are nobody else's.
    let canMakeMounts: Bool
    /// The mounts as they were at the start; nil where /proc shows none.
    let mounts: [MountEntry]?
    /// Effective, permitted, inheritable.
    let capabilities: CapabilitySets

    /// Looks around. To be called first of all, before the program opens anything.
    ///
    /// - Parameters:
    ///   - descriptors: `OpenDescriptor.all()` at the program's start.
    ///   - environment: "NAME=value" each.
    public init(_ request: ProbeRequest, descriptors: [OpenDescriptor], environment: [String]) {
        self.request = request
        self.descriptors = descriptors
        self.environment = environment
        isFiltered = cl_prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0
        canMakeMounts = runInChild { privateMounts() ? 0 : 1 } == .exited(0)
        mounts = MountEntry.own()
        capabilities = CapabilitySets.own()
    }

    /// Runs what changes mounts where the change is nobody else's, if that can be made. The caller undoes it nevertheless.
    func withOwnMounts<T>(_ body: () -> T) -> T {
        if canMakeMounts && !privateMounts() { _exit(99) }
        return body()
    }
}

/// Makes a mount namespace whose changes reach no other.
private func privateMounts() -> Bool {
    guard cl_unshare(UInt64(CLONE_NEWNS)) == 0 else { return false }
    return cl_mount("none", "/", nil, UInt(MS_REC | MS_PRIVATE), nil) == 0
}

/// linux/sched.h and linux/mount.h, whose macros Swift sees as other types or not at all.
/// Resources whose numbers Swift does not see.
let RLIMIT_MEMLOCK: Int32 = 8
let CLONE_NEWNS: Int = 0x20000
let CLONE_NEWCGROUP: Int = 0x0200_0000
let CLONE_NEWUTS: Int = 0x0400_0000
let CLONE_NEWIPC: Int = 0x0800_0000
let CLONE_NEWUSER: Int = 0x1000_0000
let CLONE_NEWPID: Int = 0x2000_0000
let CLONE_NEWNET: Int = 0x4000_0000
let CLONE_NEWTIME: Int = 0x80
let MS_RDONLY = 1
let MS_NOSUID = 2
let MS_NODEV = 4
let MS_NOEXEC = 8
let MS_REMOUNT = 32
let MS_NOATIME = 1024
let MS_NODIRATIME = 2048
let MS_BIND = 4096
let MS_REC = 16384
let MS_PRIVATE = 1 << 18
let MS_RELATIME = 1 << 21
let MNT_DETACH: Int32 = 2
let MNT_EXPIRE: Int32 = 4
let UMOUNT_NOFOLLOW: Int32 = 8

/// How a forked attempt ended.
enum ChildEnd: Equatable {
    case exited(Int32)
    case signalled(Int32)
    case notMade(Int32)
}

/// Forks, runs `body` in the child and waits; the child's exit code is what it returns, 0 to 255.
func runInChild(_ body: () -> Int32) -> ChildEnd {
    let pid = cl_fork()
    if pid < 0 { return .notMade(errno) }
    if pid == 0 { _exit(body()) }
    return awaitChild(pid)
}

func awaitChild(_ pid: Int32) -> ChildEnd {
    var status: Int32 = 0
    while waitpid(pid, &status, Int32(bitPattern: 0x4000_0000)) == -1 {  // __WALL
        if errno != EINTR { return .notMade(errno) }
    }
    return switch ProcessEnd(waitStatus: status) {
    case .exited(let code): .exited(code)
    case .signalled(let number): .signalled(number)
    }
}

/// Runs `body` with the number of a child that does nothing; it is gone afterwards.
///
/// - Parameter closedToOthers: it shows itself to nobody without CAP_SYS_PTRACE (PR_SET_DUMPABLE).
func withIdleChild<T>(closedToOthers: Bool = false, _ body: (Int32) -> T) -> Result<T, KernelError> {
    var ready: [Int32] = [-1, -1]
    guard cl_pipe2(&ready, O_CLOEXEC) == 0 else { return .failure(.last("pipe2")) }
    defer { close(ready[0]) }
    let pid = cl_fork()
    if pid < 0 {
        close(ready[1])
        return .failure(.last("fork"))
    }
    if pid == 0 {
        if closedToOthers && cl_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 { _exit(1) }
        var byte: UInt8 = 1
        write(ready[1], &byte, 1)
        while true { pause() }
    }
    close(ready[1])
    var byte: UInt8 = 0
    while read(ready[0], &byte, 1) == -1 && errno == EINTR {}
    let result = body(pid)
    kill(pid, SIGKILL)
    if case .notMade(let number) = awaitChild(pid) { return .failure(KernelError(call: "waitpid", errno: number)) }
    return .success(result)
}

/// The capability sets of the calling thread, as bit masks (capget(2)).
struct CapabilitySets {
    var effective: UInt64 = 0
    var permitted: UInt64 = 0
    var inheritable: UInt64 = 0

    static func own() -> CapabilitySets {
        var header: [UInt32] = [0x2008_0522, 0]
        var data = [UInt32](repeating: 0, count: 6)
        let reply = header.withUnsafeMutableBufferPointer { head in
            data.withUnsafeMutableBufferPointer { body in
                systemCall(Int(SYS_capget), UInt(bitPattern: head.baseAddress), UInt(bitPattern: body.baseAddress))
            }
        }
        guard reply.succeeded else { return CapabilitySets() }
        func joined(_ index: Int) -> UInt64 { UInt64(data[index]) | UInt64(data[index + 3]) << 32 }
        return CapabilitySets(effective: joined(0), permitted: joined(1), inheritable: joined(2))
    }
}
