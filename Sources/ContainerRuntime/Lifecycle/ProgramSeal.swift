import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// Keeps the runtime's own file out of a container's reach (rule R1, CVE-2019-5736).
///
/// A container can have this very program executed inside: the kernel resolves a script's interpreter /proc/self/exe while
/// the runtime is the process that executes. Who then holds a descriptor of it writes the file as soon as nobody runs it.
/// An ordinary container has no ID that may. Where one has (no user namespace, or one that maps the file's owner), the
/// runtime goes on from an overlay that has no upper layer and so can never be written, or, where it may not mount, from a
/// sealed copy in memory.
public enum ProgramSeal {
    private static let ownProgram = "/proc/self/exe"
    private static let addSeals: Int32 = 1033  // F_ADD_SEALS, not in Glibc's module
    private static let getSeals: Int32 = 1034
    private static let writeSeal = 0x8
    private static let allSeals = 0xf  // SEAL, SHRINK, GROW, WRITE
    /// A directory that every machine has and that no program lies in: overlay without an upper layer wants two lower ones.
    private static let secondLayer = "/sys"

    /// Executes this program anew, sealed, when the container could reach its file; returns when there is no need.
    ///
    /// - Parameters:
    ///   - arguments: of the program that goes on.
    ///   - descriptors: what it inherits although it is close-on-exec now.
    public static func apply(
        for spec: RuntimeSpec, arguments: [String] = CommandLine.arguments, keeping descriptors: [Int32] = []
    ) throws {
        let program = try FileDescriptor.open(ownProgram, O_RDONLY)
        if try !isExposed(program, to: spec) {
            if DebugLog.isOn { try noteSeal(of: program) }
            return
        }
        let sealed = try sealedProgram(program)
        for descriptor in descriptors { try retrying("fcntl") { cl_fcntl(descriptor, F_SETFD, 0) } }
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        fexecve(sealed.rawValue, argv, environ)
        throw KernelError.last("execve", "the sealed runtime")
    }

    /// Says whether this program is a copy that `sealedProgram` or the room CEarlySeal made: one in memory, or one that lies in no directory.
    private static func noteSeal(of program: borrowing FileDescriptor) throws(KernelError) {
        let raw = program.rawValue
        let seals = cl_fcntl(raw, getSeals, 0)
        let inMemory = seals >= 0 && Int(seals) & writeSeal != 0
        let magic = try retrying("fstatfs", ownProgram) { cl_filesystem_magic(raw) }
        let place = try path()
        let onOverlay = magic == overlayMagic && !place.dropFirst().contains("/")
        if onOverlay { DebugLog.note("as runc exeseal: using overlayfs for sealed /proc/self/exe") }
        if inMemory || onOverlay { DebugLog.note("as runc exeseal: using /proc/self/exe clone") }
    }

    private static let overlayMagic = 0x794c_7630  // OVERLAYFS_SUPER_MAGIC

    /// Where this program lies, for those who look for it by name; of a sealed one that is its name alone.
    static func path() throws(KernelError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = try retrying("readlink", ownProgram) { readlink(ownProgram, &buffer, 4095) }
        return String(decoding: buffer[0..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func isExposed(_ program: borrowing FileDescriptor, to spec: RuntimeSpec) throws -> Bool {
        let raw = program.rawValue
        // EACCES: its owner has no ID in this user namespace, so none in one below. EROFS: nobody writes it. A kernel that does not know the call says nothing.
        if cl_faccessat2(raw, "", W_OK, AT_EACCESS | 0x1000) != 0, errno == EACCES || errno == EROFS { return false }
        let seals = cl_fcntl(raw, getSeals, 0)
        if seals >= 0, Int(seals) & writeSeal != 0 { return false }
        guard let namespace = spec.linux?.namespaces?.first(where: { $0.type == .user }), namespace.path?.isEmpty ?? true else { return true }
        // Without maps the caller is root inside (`LaunchPlanner.identityMaps`).
        if spec.linux?.uidMappings?.isEmpty ?? true { return true }
        let status = try program.status()
        if status.st_mode & 0o002 != 0 { return true }
        let groupWrites = status.st_mode & 0o020 != 0
        return isMapped(status.st_uid, own: geteuid(), spec.linux?.uidMappings)
            || groupWrites && isMapped(status.st_gid, own: getegid(), spec.linux?.gidMappings)
    }

    /// Maps of a user's container count from the owner namespace's 0, which is the user.
    private static func isMapped(_ id: UInt32, own: UInt32, _ maps: [RuntimeSpec.IDMapping]?) -> Bool {
        let numbers = id == own ? [id, 0] : [id]
        return (maps ?? []).contains { map in numbers.contains { $0 >= map.hostID && $0 - map.hostID < map.size } }
    }

    private static func sealedProgram(_ program: borrowing FileDescriptor) throws -> FileDescriptor {
        do {
            let sealed = try overlay(of: program)
            return sealed
        } catch {
            // An ordinary user may not mount: the copy is as safe and costs memory.
            return try copy(of: program)
        }
    }

    private static func overlay(of program: borrowing FileDescriptor) throws -> FileDescriptor {
        let path = try path()
        guard let slash = path.lastIndex(of: "/"), !path.contains(where: { ":\\,".contains($0) }) else {
            throw KernelError(call: "fsconfig", errno: EINVAL, subject: path)
        }
        let context = try FileSystemContext("overlay")
        try context.set("lowerdir", "\(path[..<slash]):\(secondLayer)")
        let tree = try context.mount([.readOnly, .noSetuid, .noDevices])
        let sealed = try tree.open(at: String(path[path.index(after: slash)...]), O_RDONLY | O_NOFOLLOW)
        // What lies there may be another version by now.
        guard try sealed.status().st_ino == program.status().st_ino else { throw KernelError(call: "openat", errno: ESTALE, subject: path) }
        return sealed
    }

    private static func copy(of program: borrowing FileDescriptor) throws -> FileDescriptor {
        // CLOEXEC, ALLOW_SEALING and, since Linux 6.3, EXEC.
        var made = cl_memfd_create("coffer-runtime", 0x13)
        if made < 0, errno == EINVAL { made = cl_memfd_create("coffer-runtime", 0x3) }
        if made < 0 { throw KernelError.last("memfd_create") }
        let memory = FileDescriptor(owning: made)
        while true {
            let part = try program.read(upTo: 1 << 20)
            if part.isEmpty { break }
            try memory.writeAll(part)
        }
        try retrying("fcntl", "F_ADD_SEALS") { cl_fcntl(made, addSeals, allSeals) }
        return memory
    }
}
