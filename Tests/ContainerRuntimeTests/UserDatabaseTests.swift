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

    private func refuses(_ text: String, _ root: borrowing RootDirectory) -> Bool {
        do {
            _ = try UserDatabase.resolve(text, additionalGroups: [], in: root)
            return false
        } catch {
            return error is LaunchFailure
        }
    }

    private let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\n"
    private let group = "root:x:0:\nweb:x:34:\nadm:x:4:web,other\n"

    @Test("Names and numbers, with groups")
    func resolution() throws {
        try withRoot(passwd, group) { root in
            let web = try UserDatabase.resolve("web", additionalGroups: [], in: root)
            #expect(web == ResolvedIdentity(uid: 33, gid: 34, additionalGroups: [4], home: "/var/www", umask: nil))
            let byNumber = try UserDatabase.resolve("33", additionalGroups: [], in: root)
            #expect(byNumber.gid == 34)
            let withGroup = try UserDatabase.resolve("web:adm", additionalGroups: [], in: root)
            #expect(withGroup.gid == 4)
            let unknown = try UserDatabase.resolve("1234:5678", additionalGroups: [], in: root)
            #expect(unknown.uid == 1234 && unknown.gid == 5678)
            let added = try UserDatabase.resolve("0:0", additionalGroups: [7], groupNames: ["adm", "web", "adm"], in: root)
            #expect(added.additionalGroups == [7, 4, 34])
            #expect(throws: LaunchFailure.self) {
                try UserDatabase.resolve("0:0", additionalGroups: [], groupNames: ["nogroup"], in: root)
            }
        }
    }

    @Test(
        "What is no user is refused (CVE-2016-3697, CVE-2024-40635)",
        arguments: ["4294967295", "4294967296", "-1", "+0", "0x0", "1:", ":1", "1 ", "root\n", "nobody-here", "99999999999999999999"])
    func refused(_ text: String) throws {
        try withRoot(passwd, group) { root in
            do {
                let refused = refuses(text, root)
                #expect(refused == true)
            }
        }
    }

    @Test("A passwd that is a link is not followed for a name; a user given by number has a home where it leads to a file of the root")
    func linkedPasswd() throws {
        try directory.write("etc/real", "root:x:0:0::/found:/bin/sh\n")
        mkfifo(directory.path + "/etc/pipe", 0o644)
        defer { for name in ["real", "pipe"] { unlink("\(directory.path)/etc/\(name)") } }
        let homes = [
            "/etc/elsewhere": nil, "/etc/real": "/found", "../../../etc/real": "/found", "passwd": nil, "/etc/pipe": nil, "/etc": nil,
            "/etc/real/below": nil,
        ]
        for (target, expected) in homes {
            try withRoot(nil, nil) { root in
                symlink(target, directory.path + "/etc/passwd")
                let home = try UserDatabase.home(of: 0, in: root)
                let refused = refuses("web", root)
                #expect(home == expected, "a link to \(target)")
                #expect(refused)
            }
        }
    }

    @Test("A passwd that is a FIFO, a link or huge does not hang the start (CVE-2024-9676)")
    func hostileFiles() throws {
        try withRoot(nil, nil) { root in
            do {
                let refused = refuses("7", root)
                #expect(refused == false)
            }
            mkfifo(directory.path + "/etc/passwd", 0o644)
            do {
                let refused = refuses("7", root)
                #expect(refused == true)
            }
            unlink(directory.path + "/etc/passwd")
            symlink("/proc/kmsg", directory.path + "/etc/passwd")
            do {
                let refused = refuses("7", root)
                #expect(refused == true)
            }
            unlink(directory.path + "/etc/passwd")
            try directory.write("etc/passwd", "")
            truncate(directory.path + "/etc/passwd", 2 << 30)
            do {
                let refused = refuses("7", root)
                #expect(refused == true)
            }
        }
    }
}

/// O_PATH | O_DIRECTORY: Swift's Glibc module has no O_PATH.
private let O_PATH_DIRECTORY = RootDirectory.pathOnly | O_DIRECTORY
