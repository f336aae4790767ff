import CLinux
import Glibc

/// A kind of namespace (namespaces(7)).
public enum NamespaceKind: String, Sendable, CaseIterable {
    case user, mount = "mnt", pid, network = "net", ipc, uts, cgroup, time

    /// The CLONE_NEW* flag.
    public var cloneFlag: UInt64 {
        switch self {
        case .user: 0x1000_0000
        case .mount: 0x0002_0000
        case .pid: 0x2000_0000
        case .network: 0x4000_0000
        case .ipc: 0x0800_0000
        case .uts: 0x0400_0000
        case .cgroup: 0x0200_0000
        case .time: 0x0000_0080
        }
    }

    /// The name of the file in /proc/PID/ns.
    public var fileName: String { rawValue }
}

extension [NamespaceKind] {
    /// All CLONE_NEW* flags in one word.
    public var cloneFlags: UInt64 {
        // Not `reduce`: Swift's runtime would look for the generic function's types in each process that asks.
        var flags: UInt64 = 0
        for kind in self { flags |= kind.cloneFlag }
        return flags
    }
}

public enum Namespaces {
    /// unshare(2).
    public static func unshare(_ kinds: [NamespaceKind]) throws(KernelError) {
        try retrying("unshare", kinds.map(\.rawValue).joined(separator: ",")) { cl_unshare(kinds.cloneFlags) }
    }

    /// setns(2) with a namespace file or a pidfd.
    public static func join(_ descriptor: borrowing FileDescriptor, _ kinds: [NamespaceKind]) throws(KernelError) {
        let raw = descriptor.rawValue
        try retrying("setns", kinds.map(\.rawValue).joined(separator: ",")) {
            cl_setns(raw, Int32(truncatingIfNeeded: Int64(kinds.cloneFlags)))
        }
    }
}

/// Which namespace it is: what the kernel tells apart (namespaces(7), "The /proc/pid/ns/ directory").
public struct NamespaceIdentity: Sendable, Hashable {
    let device: UInt
    let inode: UInt
}

extension Namespaces {
    /// The namespace of a process.
    ///
    /// - Parameter process: a PID, or "self".
    public static func identity(_ kind: NamespaceKind, of process: String) throws(KernelError) -> NamespaceIdentity {
        let path = "/proc/\(process)/ns/\(kind.fileName)"
        var status = stat()
        try retrying("stat", path) { stat(path, &status) }
        return NamespaceIdentity(device: UInt(status.st_dev), inode: UInt(status.st_ino))
    }
}

/// The caller's user namespace.
public enum UserNamespaces {
    /// Whether it maps every ID to itself, as the host's does. Where that cannot be read, the smaller claim: it is another one.
    public static let isInitial: Bool = {
        do {
            let map = String(decoding: try readFile("/proc/self/uid_map", limit: 4096), as: UTF8.self)
            return map.split(whereSeparator: { $0 == " " || $0 == "\n" }) == ["0", "0", "4294967295"]
        } catch {
            return false
        }
    }()
}
