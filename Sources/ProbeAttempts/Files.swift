import CProbing
import Glibc
import LinuxKernel

/// What a file is: device and inode.
struct FileIdentity: Equatable {
    var device: UInt64
    var inode: UInt64

    init(_ found: stat) {
        device = UInt64(found.st_dev)
        inode = UInt64(found.st_ino)
    }
}

/// stat(2); nil with errno set on failure.
func status(of path: String) -> stat? {
    var found = stat()
    return stat(path, &found) == 0 ? found : nil
}

/// lstat(2).
func linkStatus(of path: String) -> stat? {
    var found = stat()
    return lstat(path, &found) == 0 ? found : nil
}

func fileIdentity(of path: String) -> FileIdentity? { status(of: path).map(FileIdentity.init) }

extension stat {
    func isKind(_ kind: mode_t) -> Bool { st_mode & S_IFMT == kind }
    /// The null device, which masks a file.
    var isNullDevice: Bool { isKind(S_IFCHR) && cl_major(UInt64(st_rdev)) == 1 && cl_minor(UInt64(st_rdev)) == 3 }
}

/// Opens and closes again; what open(2) answered.
func tryOpen(_ path: String, _ flags: Int32) -> Reply {
    let file = open(path, flags | O_CLOEXEC | O_NOCTTY)
    let reply = Reply(file)
    if file >= 0 { close(file) }
    return reply
}

/// The first bytes of a file, or why it cannot be read.
func head(of path: String, _ count: Int = 4096) -> Result<[UInt8], KernelError> {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
    if file < 0 { return .failure(.last("open", path)) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: count)
    let length = read(file, &bytes, count)
    if length < 0 { return .failure(.last("read", path)) }
    return .success(Array(bytes[..<length]))
}

/// A whole small file as text; nil when it cannot be read. Files of /proc give a part at each read.
func text(of path: String, limit: Int = 1 << 20) -> String? {
    do {
        return String(decoding: try readFile(path, limit: limit), as: UTF8.self)
    } catch {
        return nil
    }
}

func link(at path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let length = buffer.withUnsafeMutableBytes { raw in
        raw.baseAddress.map { readlink(path, $0.assumingMemoryBound(to: CChar.self), 4096) } ?? -1
    }
    return length < 0 ? nil : String(decoding: buffer[..<length], as: UTF8.self)
}

/// The names in a directory, or nothing where it cannot be listed.
func names(in directory: String) -> [String] {
    do {
        return try DirectoryListing.names(of: directory).sorted()
    } catch {
        return []
    }
}

/// The paths that a pattern stands for: a component "*" or one that ends with "*" is any name, 64 at each level at the most.
func paths(matching pattern: String) -> [String] {
    guard pattern.contains("*") else { return [pattern] }
    var found = [""]
    for component in pattern.split(separator: "/") {
        if component.hasSuffix("*") {
            let start = component.dropLast()
            found = found.flatMap { parent in
                names(in: parent.isEmpty ? "/" : parent).filter { $0.hasPrefix(start) }.prefix(64).map { "\(parent)/\($0)" }
            }
        } else {
            found = found.map { "\($0)/\(component)" }
        }
    }
    return found
}

/// Directories in which files may perhaps be made, likeliest first.
let writableDirectories = ["/tmp", "/dev/shm", "/var/tmp", "/run", "/", "."]

/// Makes a directory of its own in each place where that works, runs `body` there until it answers, and removes it. nil: nowhere.
func inScratchDirectories<T>(_ places: [String] = writableDirectories, _ body: (String) -> T?) -> T? {
    for place in places {
        let directory = "\(place == "/" ? "" : place)/coffer-probe-\(getpid())"
        guard mkdir(directory, 0o700) == 0 else { continue }
        defer { rmdir(directory) }
        if let answer = body(directory) { return answer }
    }
    return nil
}

/// One line of /proc/self/mountinfo (proc(5)).
struct MountEntry: Equatable {
    var device: String
    /// The directory of the file system that is mounted.
    var root: String
    var target: String
    var options: Set<Substring>
    /// "shared:N", "master:N" and the like.
    var tags: [Substring]
    var type: String
    var source: String
    var superOptions: [Substring]

    var isReadOnly: Bool { options.contains("ro") }
    /// Flags that mount(2) must be given again, so that only the read-only one changes.
    var keptFlags: Int {
        let words: [(Substring, Int)] = [
            ("nosuid", MS_NOSUID), ("nodev", MS_NODEV), ("noexec", MS_NOEXEC), ("noatime", MS_NOATIME), ("nodiratime", MS_NODIRATIME),
            ("relatime", MS_RELATIME),
        ]
        return words.reduce(0) { options.contains($1.0) ? $0 | $1.1 : $0 }
    }

    init?(line: Substring) {
        let fields = line.split(separator: " ")
        // A hyphen alone ends the optional fields (proc_pid_mountinfo(5)); spaces of paths are written as octal digits.
        guard let hyphen = fields.firstIndex(of: "-") else { return nil }
        let (first, second) = (Array(fields[..<hyphen]), Array(fields[(hyphen + 1)...]))
        guard first.count >= 6, second.count >= 3 else { return nil }
        device = String(first[2])
        root = Self.unescaped(first[3])
        target = Self.unescaped(first[4])
        options = Set(first[5].split(separator: ","))
        tags = Array(first[6...])
        type = String(second[0])
        source = Self.unescaped(second[1])
        superOptions = second[2].split(separator: ",")
    }

    static func parse(_ text: String) -> [MountEntry] { text.split(separator: "\n").compactMap(MountEntry.init) }
    static func own() -> [MountEntry]? { text(of: "/proc/self/mountinfo", limit: 4 << 20).map(parse) }

    /// Space, tab, line feed and backslash are written as three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        guard text.contains("\\") else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3).map { Int($0) - 48 }
            if byte == 0x5C && digits.count == 3 && digits.allSatisfy((0...7).contains) {
                bytes.append(UInt8(truncatingIfNeeded: digits[0] * 64 + digits[1] * 8 + digits[2]))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A descriptor that was open when the program started.
public struct OpenDescriptor {
    let number: Int32
    let found: stat

    /// Every open descriptor. To be called before the program opens one itself.
    public static func all() -> [OpenDescriptor] {
        (0..<4096).compactMap { number in
            var found = stat()
            return fstat(Int32(number), &found) == 0 ? OpenDescriptor(number: Int32(number), found: found) : nil
        }
    }
}
