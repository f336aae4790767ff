import Glibc
import LaunchPlan
import LinuxKernel
import Testing

@testable import ContainerRuntime

@Suite("Users of an image (rule R9)")
struct UserDatabaseTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        mkdir(directory.path + "/etc", 0o755)
    }

    private func withRoot<T>(_ passwd: String?, _ group: String?, _ body: (borrowing RootDirectory) throws -> T) throws -> T {
        defer {
            unlink(directory.path + "/etc/passwd")
            unlink(directory.path + "/etc/group")
        }
        if let passwd { try directory.write("etc/passwd", passwd) }
        if let group { try directory.write("etc/group", group) }
        let root = RootDirectory(try FileDescriptor.open(directory.path, O_PATH_DIRECTORY))
        return try body(root)
    }

    private let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n"
    private let group = "root:x:0:\nweb:x:34:\nadm:x:4:web,other\n"

    @Test("Names and numbers, with groups")
    func resolution() throws {
        try withRoot(passwd, group) { root in
            #expect(
                try UserDatabase.resolve("web", additionalGroups: [], in: root)
                    == ResolvedIdentity(uid: 33, gid: 34, additionalGroups: [4], home: "/var/www", umask: nil))
            #expect(try UserDatabase.resolve("33", additionalGroups: [], in: root).gid == 34)
            #expect(try UserDatabase.resolve("web:adm", additionalGroups: [], in: root).gid == 4)
            #expect(try UserDatabase.resolve("1234", additionalGroups: [], in: root).uid == 1234)
            #expect(try UserDatabase.resolve("1234:5678", additionalGroups: [], in: root).gid == 5678)
        }
    }

    @Test(
        "What is no user is refused (CVE-2016-3697, CVE-2024-40635)",
        arguments: ["4294967295", "4294967296", "-1", "+0", "0x0", "1:", ":1", "1 ", "root\n", "nobody-here", "99999999999999999999"])
    func refused(_ text: String) throws {
        try withRoot(passwd, group) { root in
            #expect(throws: LaunchFailure.self) { try UserDatabase.resolve(text, additionalGroups: [], in: root) }
        }
    }

    @Test("A passwd that is a FIFO, a link or huge does not hang the start (CVE-2024-9676)")
    func hostileFiles() throws {
        try withRoot(nil, nil) { root in
            #expect(try UserDatabase.resolve("7", additionalGroups: [], in: root).uid == 7)
            mkfifo(directory.path + "/etc/passwd", 0o644)
            #expect(throws: LaunchFailure.self) { try UserDatabase.resolve("7", additionalGroups: [], in: root) }
            unlink(directory.path + "/etc/passwd")
            symlink("/proc/kmsg", directory.path + "/etc/passwd")
            #expect(throws: LaunchFailure.self) { try UserDatabase.resolve("7", additionalGroups: [], in: root) }
            unlink(directory.path + "/etc/passwd")
            try directory.write("etc/passwd", "")
            truncate(directory.path + "/etc/passwd", 2 << 30)
            #expect(throws: LaunchFailure.self) { try UserDatabase.resolve("7", additionalGroups: [], in: root) }
        }
    }
}

/// O_PATH | O_DIRECTORY: Swift's Glibc module has no O_PATH.
private let O_PATH_DIRECTORY = RootDirectory.pathOnly | O_DIRECTORY
