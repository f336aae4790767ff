import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ImageStore

/// Strange archives that are extracted, with a result that stays inside the layer.
@Suite(.serialized, .enabled(if: geteuid() == 0, "extraction gives files to other users"))
struct SafeArchiveTests {
    private func extracted(_ build: (inout TarBuilder) -> Void) throws -> ExtractionFixture {
        let fixture = try ExtractionFixture()
        try fixture.extract(TarBuilder.archive(build))
        try fixture.expectCanaryUntouched()
        return fixture
    }

    @Test("2 an absolute path is inside the layer") func absolutePath() throws {
        let fixture = try extracted { $0.file("/etc/passwd-of-the-layer", "x") }
        #expect(try fixture.content("etc/passwd-of-the-layer") == "x")
    }

    @Test("4 5 6 links are resolved inside the layer") func links() throws {
        let fixture = try extracted {
            $0.directory("real")
            $0.symbolicLink("absolute", to: "/real")
            $0.symbolicLink("chain", to: "absolute")
            $0.symbolicLink("root", to: "/")
            $0.symbolicLink("up", to: "../../../../real")
            $0.file("absolute/a", "1")
            $0.file("chain/b", "2")
            $0.file("root/c", "3")
            $0.file("up/d", "4")
        }
        #expect(try fixture.names("real") == ["a", "b", "d"])
        #expect(try fixture.content("c") == "3")
    }

    @Test("6 a link to / with the canary's own path") func linkToHostPath() throws {
        let fixture = try ExtractionFixture()
        let archive = TarBuilder.archive {
            $0.symbolicLink("link", to: fixture.canary)
            $0.directory(fixture.canary)
            $0.file("link/marker", "evil")
        }
        try fixture.extract(archive)
        try fixture.expectCanaryUntouched()
        #expect(try fixture.content(fixture.canary + "/marker") == "evil")
    }

    @Test("4 a file over a symbolic link replaces the link") func fileOverLink() throws {
        let fixture = try ExtractionFixture()
        try fixture.extract(
            TarBuilder.archive {
                $0.symbolicLink("x", to: fixture.canary + "/marker")
                $0.file("x", "new")
            })
        try fixture.expectCanaryUntouched()
        #expect(try fixture.content("x") == "new")
        #expect((fixture.status("x")?.st_mode ?? 0) & S_IFMT == S_IFREG)
    }

    @Test("11 a whiteout becomes a character device 0:0") func whiteout() throws {
        let fixture = try extracted { $0.file("etc/.wh.gone") }
        #expect(fixture.isWhiteout("etc/gone"))
        #expect(try fixture.names("etc") == ["gone"])
    }

    @Test("12 an opaque marker in a linked directory stays inside") func opaqueThroughLink() throws {
        let fixture = try extracted {
            $0.directory("real")
            $0.symbolicLink("link", to: "/real")
            $0.file("link/.wh..wh..opq")
        }
        #expect(try fixture.attribute("user.overlay.opaque", of: "real") == [UInt8(ascii: "y")])
        #expect(try fixture.names("real").isEmpty)
    }

    @Test("13 a whiteout does not delete what its own layer brings", arguments: [false, true])
    func whiteoutAndFile(whiteoutFirst: Bool) throws {
        let fixture = try extracted {
            if whiteoutFirst { $0.file(".wh.f") }
            $0.file("f", "kept")
            if !whiteoutFirst { $0.file(".wh.f") }
        }
        #expect(try fixture.content("f") == "kept")
    }

    @Test("13 a whiteout and a directory of one name make it opaque", arguments: [false, true])
    func whiteoutAndDirectory(whiteoutFirst: Bool) throws {
        let fixture = try extracted {
            if whiteoutFirst { $0.file(".wh.d") }
            $0.directory("d")
            $0.file("d/f", "kept")
            if !whiteoutFirst { $0.file(".wh.d") }
        }
        #expect(try fixture.content("d/f") == "kept")
        #expect(try fixture.attribute("user.overlay.opaque", of: "d") == [UInt8(ascii: "y")])
    }

    @Test("14 AUFS's bookkeeping is left out") func aufs() throws {
        let fixture = try extracted {
            $0.file(".wh..wh.plnk")
            $0.file(".wh..wh.aufs")
            $0.file("kept")
        }
        #expect(try fixture.names() == ["kept"])
    }

    @Test("15 16 no device is made, not even a forged whiteout") func devices() throws {
        let fixture = try ExtractionFixture()
        let report = try fixture.extract(
            TarBuilder.archive {
                $0.add(.init(name: Array("forged".utf8), type: "3"))
                $0.add(.init(name: Array("mem".utf8), type: "3", rawFields: [(329, Array("0000001".utf8)), (337, Array("0000001".utf8))]))
                $0.add(.init(name: Array("sda".utf8), type: "4", rawFields: [(329, Array("0000010".utf8))]))
            })
        #expect(try fixture.names().isEmpty)
        #expect(report.droppedDevices == 3)
    }

    @Test("17 a pipe is made, and does not block") func pipe() throws {
        let fixture = try extracted { $0.add(.init(name: Array("pipe".utf8), type: "6", mode: 0o620, user: 7)) }
        let status = try #require(fixture.status("pipe"))
        #expect(status.st_mode == S_IFIFO | 0o620)
        #expect(status.st_uid == 7)
    }

    @Test("18 attributes of overlayfs and of the host are stripped, user's kept") func attributes() throws {
        let fixture = try ExtractionFixture()
        let capability: [UInt8] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let report = try fixture.extract(
            TarBuilder.archive {
                $0.pax([
                    ("SCHILY.xattr.user.overlay.redirect", Array("/etc".utf8)), ("SCHILY.xattr.user.overlay.opaque", [0x79]),
                    ("SCHILY.xattr.user.overlay.metacopy", []), ("SCHILY.xattr.user.overlay.origin", [1]),
                    ("SCHILY.xattr.trusted.overlay.opaque", [0x79]), ("SCHILY.xattr.security.selinux", Array("evil_t".utf8)),
                    ("SCHILY.xattr.system.posix_acl_access", [2, 0, 0, 0]), ("SCHILY.xattr.user.note", Array("kept".utf8)),
                    ("SCHILY.xattr.security.capability", capability),
                ])
                $0.file("x")
            })
        #expect(report.droppedAttributes == 7)
        #expect(try fixture.attribute("user.note", of: "x") == Array("kept".utf8))
        #expect(try fixture.attribute("user.overlay.redirect", of: "x") == nil)
        #expect(try fixture.attribute("user.overlay.opaque", of: "x") == nil)
        #expect(try fixture.attribute("trusted.overlay.opaque", of: "x") == nil)
        // In the initial namespace the kernel shows revision 3 with root 0 as revision 2.
        #expect(try fixture.attribute("security.capability", of: "x").map { Array($0[4..<20]) } == Array(capability[4...]))
    }

    @Test("18 file capabilities are bound to the container's root") func capabilityRoot() throws {
        let capability: [UInt8] = [1, 0, 0, 2] + [UInt8](repeating: 7, count: 16)
        let value = try LayerAttribute.value(Array("security.capability".utf8), capability, rootID: 100_000, path: [])
        #expect(value == [1, 0, 0, 3] + [UInt8](repeating: 7, count: 16) + [0xa0, 0x86, 0x01, 0x00])
    }

    @Test("19 set-ID and sticky bits, owners and times are kept") func metadata() throws {
        let fixture = try extracted {
            $0.add(.init(name: Array("suid".utf8), mode: 0o6755, user: 33, group: 44, modified: 1_234_567), content: [0x41])
            $0.add(.init(name: Array("tmp/".utf8), type: "5", mode: 0o1777, modified: 42))
            $0.add(.init(name: Array("sgid/".utf8), type: "5", mode: 0o2755, group: 55))
            $0.file("tmp/later")
            $0.file("sgid/inherits-no-group")
            $0.pax([("mtime", "-1.5")])
            $0.file("old")
        }
        let suid = try #require(fixture.status("suid"))
        #expect(suid.st_mode == S_IFREG | 0o6755)
        #expect(suid.st_uid == 33 && suid.st_gid == 44 && suid.st_mtim.tv_sec == 1_234_567)
        let tmp = try #require(fixture.status("tmp"))
        #expect(tmp.st_mode == S_IFDIR | 0o1777 && tmp.st_mtim.tv_sec == 42)
        #expect(fixture.status("sgid")?.st_mode == S_IFDIR | 0o2755)
        #expect(fixture.status("sgid/inherits-no-group")?.st_gid == 0)
        let old = try #require(fixture.status("old"))
        #expect(old.st_mtim.tv_sec == -2 && old.st_mtim.tv_nsec == 500_000_000)
    }

    @Test("20 a directory and a link replace each other") func replacement() throws {
        let fixture = try ExtractionFixture()
        try fixture.extract(
            TarBuilder.archive {
                $0.directory("d")
                $0.file("d/sub/old", "old")
                $0.symbolicLink("d", to: fixture.canary)
                $0.symbolicLink("e", to: fixture.canary)
                $0.directory("e")
                $0.file("e/marker", "inside")
            })
        try fixture.expectCanaryUntouched()
        #expect((fixture.status("d")?.st_mode ?? 0) & S_IFMT == S_IFLNK)
        #expect(fixture.isDirectory("e"))
        #expect(try fixture.content("e/marker") == "inside")
    }

    @Test("20 a parent replaced by a link is resolved anew") func replacedParent() throws {
        let fixture = try ExtractionFixture()
        // The descriptor of "d/sub" is in the cache when "d" goes; "up" leads out unless the root holds.
        let archive = TarBuilder.archive {
            $0.file("d/sub/a")
            $0.symbolicLink("d", to: "../..")
            $0.directory("sub")
            $0.file("d/sub/b", "inside")
        }
        try fixture.extract(archive)
        try fixture.expectCanaryUntouched()
        #expect(try fixture.content("sub/b") == "inside")
    }

    @Test("21 of two entries with one name the last one counts") func duplicates() throws {
        let fixture = try extracted {
            $0.file("x", "first, and longer")
            $0.file("x", "second")
            $0.directory("d", mode: 0o700)
            $0.file("d/kept")
            $0.directory("d", mode: 0o711)
        }
        #expect(try fixture.content("x") == "second")
        #expect(fixture.status("d")?.st_mode == S_IFDIR | 0o711)
        #expect(try fixture.names("d") == ["kept"])
    }

    @Test("22 strange names are names") func names() throws {
        let name = String(repeating: "n", count: 255)
        let fixture = try extracted {
            $0.file("new\nline")
            $0.file("es\u{1b}[2Jcape")
            $0.file(bytes: [0xff, 0xfe, 0x78], "latin")
            $0.longName(Array(name.utf8))
            $0.file("x", "long")
        }
        #expect(try fixture.content(name) == "long")
        #expect(try fixture.names().count == 4)
        #expect(fixture.status("new\nline") != nil)
    }

    @Test("22 names in messages carry no control characters") func printableNames() {
        #expect(printable(Array("a\u{1b}[31m\u{202e}\"\n".utf8)) == "\"a\\u{1b}[31m\\u{202e}\\u{22}\\u{a}\"")
        #expect(printable([0xff]) == "\"\\u{fffd}\"")
    }

    @Test("23 extended headers override the header") func extendedHeaders() throws {
        let fixture = try extracted {
            $0.pax([("comment", "0123abcd")], type: "g")
            $0.pax([("path", "real-name"), ("uid", "1000"), ("gid", "1001"), ("mtime", "100.25")])
            $0.file("other", "x")
            $0.longName(Array("target-of-link".utf8), type: "K")
            $0.symbolicLink("link", to: "short")
        }
        let status = try #require(fixture.status("real-name"))
        #expect(status.st_uid == 1000 && status.st_gid == 1001 && status.st_mtim.tv_nsec == 250_000_000)
        #expect(fixture.status("other") == nil)
        #expect(fixture.status("link")?.st_size == 14)
    }

    @Test("24 base-256 numbers are numbers") func base256() throws {
        let fixture = try extracted {
            $0.add(.init(name: Array("x".utf8), rawFields: [(108, [0x80, 0, 0, 0, 0, 0, 0x12, 0x34]), (136, [UInt8](repeating: 0xff, count: 12))]))
        }
        let status = try #require(fixture.status("x"))
        #expect(status.st_uid == 0x1234)
        #expect(status.st_mtim.tv_sec == -1)
    }

    @Test("32 a mode for a link changes nothing else") func linkMode() throws {
        let fixture = try ExtractionFixture()
        try fixture.extract(
            TarBuilder.archive {
                $0.symbolicLink("x", to: fixture.canary + "/marker")
                $0.add(.init(name: Array("x".utf8), type: "2", link: Array((fixture.canary + "/marker").utf8), mode: 0o777, user: 12))
            })
        try fixture.expectCanaryUntouched()
        #expect(fixture.status("x")?.st_uid == 12)
    }

    @Test("33 a hard link whose target is replaced keeps the first content") func replacedTarget() throws {
        let fixture = try extracted {
            $0.file("a", "first")
            $0.hardLink("b", to: "a")
            $0.hardLink("b", to: "b")
            $0.file("a", "second")
        }
        #expect(try fixture.content("a") == "second")
        #expect(try fixture.content("b") == "first")
    }

    @Test("34 names that differ in case or form are different files") func collisions() throws {
        let fixture = try extracted {
            $0.file("README", "1")
            $0.file("readme", "2")
            $0.file("\u{e9}", "3")
            $0.file("e\u{301}", "4")
        }
        #expect(try fixture.content("README") == "1")
        #expect(try fixture.content("\u{e9}") == "3")
        #expect(try ImageStore.entries(of: fixture.layer).count == 4)
    }

    @Test("35 /proc, /sys and /dev as links stay links of the layer") func systemDirectories() throws {
        let fixture = try ExtractionFixture()
        try fixture.extract(
            TarBuilder.archive {
                for name in ["proc", "sys", "dev"] { $0.symbolicLink(name, to: fixture.canary) }
                $0.directory(fixture.canary)
                $0.file("dev/null", "inside")
            })
        try fixture.expectCanaryUntouched()
        #expect(try fixture.content(fixture.canary + "/null") == "inside")
    }

    @Test("a tree deeper than any path is removed") func deepRemoval() throws {
        let fixture = try ExtractionFixture()
        var current = try FileDescriptor.open(fixture.layer, O_RDONLY | O_DIRECTORY)
        for _ in 0..<3000 {
            let raw = current.rawValue
            try retrying("mkdirat") { mkdirat(raw, "d", 0o700) }
            current = try current.open(at: "d", O_RDONLY | O_DIRECTORY)
        }
        try TreeProgram.perform(.remove(path: fixture.layer))
        #expect(fixture.status("") == nil)
        try retrying("mkdir") { mkdir(fixture.layer, 0o755) }
        try fixture.expectCanaryUntouched()
    }

    @Test("removal does not follow links") func removalOfLinks() throws {
        let fixture = try extracted { $0.symbolicLink("d/link", to: "../../canary") }
        try retrying("symlink") { symlink(fixture.canary, fixture.layer + "/top") }
        try TreeProgram.perform(.remove(path: fixture.layer + "/top"))
        try TreeProgram.perform(.remove(path: fixture.layer + "/d"))
        #expect(try fixture.names().isEmpty)
        try fixture.expectCanaryUntouched()
    }
}
