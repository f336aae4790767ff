import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ImageStore

/// Archives that must be refused with one clear reason, and touch nothing.
@Suite(.serialized, .enabled(if: geteuid() == 0, "extraction gives files to other users"))
struct RefusedArchiveTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let reason: String
        let archive: @Sendable () -> [UInt8]
        var testDescription: String { name }
    }

    static let long = String(repeating: "x", count: 256)

    static let cases: [Case] = [
        Case(name: "1 path that climbs out", reason: "contains \"..\"") { TarBuilder.archive { $0.file("../canary/x") } },
        Case(name: "3 path that climbs in the middle", reason: "contains \"..\"") { TarBuilder.archive { $0.file("a/../../canary/x") } },
        Case(name: "7 hard link out", reason: "contains \"..\"") { TarBuilder.archive { $0.hardLink("x", to: "../canary/marker") } },
        Case(name: "8 hard link to a symbolic link", reason: "not a regular file of this layer") {
            TarBuilder.archive {
                $0.symbolicLink("link", to: "../canary/marker")
                $0.hardLink("x", to: "link")
            }
        },
        Case(name: "8 hard link through a symbolic link", reason: "not a regular file of this layer") {
            TarBuilder.archive {
                $0.symbolicLink("up", to: "../canary")
                $0.hardLink("x", to: "up/marker")
            }
        },
        Case(name: "9 hard link to a file of a lower layer", reason: "not a regular file of this layer") {
            TarBuilder.archive { $0.hardLink("x", to: "usr/bin/sh") }
        },
        Case(name: "hard link to a directory", reason: "not a regular file of this layer") {
            TarBuilder.archive {
                $0.directory("d")
                $0.hardLink("x", to: "d")
            }
        },
        Case(name: "10 root as a symbolic link", reason: "root of the layer is not a directory") {
            TarBuilder.archive { $0.symbolicLink(".", to: "../canary") }
        },
        Case(name: "10 root as a link, written as a slash", reason: "root of the layer is not a directory") {
            TarBuilder.archive { $0.symbolicLink("/", to: "/") }
        },
        Case(name: "10 root as a file", reason: "root of the layer is not a directory") { TarBuilder.archive { $0.file("./") } },
        Case(name: "4 file through a dangling link", reason: "dangling link") {
            TarBuilder.archive {
                $0.symbolicLink("out", to: "../../canary/new")
                $0.file("out/x", "evil")
            }
        },
        Case(name: "5 chain of links without end", reason: "Too many levels of symbolic links") {
            TarBuilder.archive {
                $0.symbolicLink("a", to: "b")
                $0.symbolicLink("b", to: "a")
                $0.file("a/x")
            }
        },
        Case(name: "parent that is a file", reason: "Not a directory") {
            TarBuilder.archive {
                $0.file("a")
                $0.file("a/x")
            }
        },
        Case(name: "11 whiteout of nothing", reason: "names no file") { TarBuilder.archive { $0.file(".wh.") } },
        Case(name: "11 whiteout of .", reason: "names no file") { TarBuilder.archive { $0.file("d/.wh..") } },
        Case(name: "11 whiteout of ..", reason: "names no file") { TarBuilder.archive { $0.file("d/.wh...") } },
        Case(name: "11 path through a whiteout", reason: "leads through a whiteout") { TarBuilder.archive { $0.file(".wh./x") } },
        Case(name: "11 path through a whiteout's name", reason: "leads through a whiteout") { TarBuilder.archive { $0.file(".wh.a/b") } },
        Case(name: "whiteout that is a link", reason: "not an empty file") {
            TarBuilder.archive { $0.symbolicLink(".wh.a", to: "../canary") }
        },
        Case(name: "22 name of 256 bytes", reason: "longer than 255 bytes") {
            TarBuilder.archive {
                $0.longName(Array(long.utf8))
                $0.file("x")
            }
        },
        Case(name: "22 path of 4096 bytes", reason: "longer than 4095 bytes") {
            TarBuilder.archive {
                $0.longName(Array((String(repeating: "abcdefg/", count: 512)).utf8))
                $0.file("x")
            }
        },
        Case(name: "22 NUL in a PAX path", reason: "contains a NUL byte") {
            TarBuilder.archive {
                $0.pax([("path", [0x61, 0x00, 0x62])])
                $0.file("x")
            }
        },
        Case(name: "22 NUL in a long name", reason: "contains a NUL byte") {
            TarBuilder.archive {
                $0.longName([0x61, 0x00, 0x62])
                $0.file("x")
            }
        },
        Case(name: "23 PAX path that climbs", reason: "contains \"..\"") {
            TarBuilder.archive {
                $0.pax([("path", "../canary/x")])
                $0.file("harmless")
            }
        },
        Case(name: "23 PAX linkpath that climbs", reason: "contains \"..\"") {
            TarBuilder.archive {
                $0.pax([("linkpath", "../canary/marker")])
                $0.hardLink("x", to: "harmless")
            }
        },
        Case(name: "23 PAX size of more than there is", reason: "truncated") {
            TarBuilder.archive {
                $0.pax([("size", "1000000")])
                $0.file("x", "short")
            }
        },
        Case(name: "23 global header with a path", reason: "global extended header") {
            TarBuilder.archive {
                $0.pax([("path", "evil")], type: "g")
                $0.file("x")
            }
        },
        Case(name: "23 the same key twice", reason: "twice") {
            TarBuilder.archive {
                $0.pax([("path", "a"), ("path", "b")])
                $0.file("x")
            }
        },
        Case(name: "23 PAX and GNU name", reason: "both a PAX and a GNU name") {
            TarBuilder.archive {
                $0.pax([("path", "a")])
                $0.longName(Array("b".utf8))
                $0.file("x")
            }
        },
        Case(name: "23 two extended headers", reason: "two extended headers") {
            TarBuilder.archive {
                $0.pax([("path", "a")])
                $0.pax([("path", "b")])
                $0.file("x")
            }
        },
        Case(name: "23 record longer than the header", reason: "malformed") {
            TarBuilder.archive {
                $0.add(.init(name: Array("pax".utf8), type: "x"), content: Array("99 path=a\n".utf8))
                $0.file("x")
            }
        },
        Case(name: "23 record with a sign", reason: "malformed") {
            TarBuilder.archive {
                $0.add(.init(name: Array("pax".utf8), type: "x"), content: Array("+10 path=a\n".utf8))
                $0.file("x")
            }
        },
        Case(name: "23 extended header at the end", reason: "ends after an extended header") {
            TarBuilder.archive { $0.pax([("path", "a")]) }
        },
        Case(name: "24 negative size", reason: "is negative") {
            TarBuilder.archive {
                $0.add(.init(name: Array("x".utf8), rawFields: [(124, [UInt8](repeating: 0xff, count: 12))]))
            }
        },
        Case(name: "24 huge size", reason: "not a valid number") {
            TarBuilder.archive {
                $0.add(.init(name: Array("x".utf8), rawFields: [(124, [0x80, 0x7f] + [UInt8](repeating: 0xff, count: 10))]))
            }
        },
        Case(name: "24 size of Int64.max", reason: "truncated") {
            TarBuilder.archive {
                $0.add(.init(name: Array("x".utf8), rawFields: [(124, [0x80, 0, 0, 0, 0x7f] + [UInt8](repeating: 0xff, count: 7))]))
            }
        },
        Case(name: "24 size that is no number", reason: "not a valid number") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), rawFields: [(124, Array("0000000zzzz".utf8))])) }
        },
        Case(name: "24 negative user", reason: "not a valid ID") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), rawFields: [(108, [UInt8](repeating: 0xff, count: 8))])) }
        },
        Case(name: "24 user of 2^32", reason: "not a valid ID") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), rawFields: [(108, [0x80, 0, 0, 1, 0, 0, 0, 0])])) }
        },
        Case(name: "24 user of 2^32-1, which is no change to chown", reason: "not a valid ID") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), rawFields: [(108, [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])])) }
        },
        Case(name: "24 user of 65536", reason: "belongs to user 65536") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), user: 65536)) }
        },
        Case(name: "24 group of 100000", reason: "belongs to group 100000") {
            TarBuilder.archive { $0.add(.init(name: Array("d".utf8), type: "5", group: 100_000)) }
        },
        Case(name: "24 PAX user with a sign", reason: "not valid") {
            TarBuilder.archive {
                $0.pax([("uid", "+0")])
                $0.file("x")
            }
        },
        Case(name: "24 PAX mtime that is none", reason: "not valid") {
            TarBuilder.archive {
                $0.pax([("mtime", "99999999999999999999")])
                $0.file("x")
            }
        },
        Case(name: "25 GNU sparse", reason: "sparse") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), type: "S", size: 0, magic: "ustar  \u{0}")) }
        },
        Case(name: "25 PAX sparse", reason: "sparse") {
            TarBuilder.archive {
                $0.pax([("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "8000000000000")])
                $0.file("x")
            }
        },
        Case(name: "26 archive behind the archive", reason: "data after the end") {
            TarBuilder.archive { $0.file("a") } + TarBuilder.archive { $0.file("b") }
        },
        Case(name: "27 truncated content", reason: "truncated") {
            Array(TarBuilder.archive { $0.file("x", String(repeating: "y", count: 2000)) }.prefix(1024))
        },
        Case(name: "27 truncated header", reason: "truncated") { Array(TarBuilder.archive { $0.file("x") }.prefix(300)) },
        Case(name: "28 wrong checksum", reason: "wrong checksum") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), checksum: 12345)) }
        },
        Case(name: "31 depth of 10000", reason: "longer than 4095 bytes") {
            TarBuilder.archive {
                $0.longName(Array(String(repeating: "a/", count: 10_000).utf8))
                $0.file("x")
            }
        },
        Case(name: "31 depth of 1000", reason: "nested deeper than 256") {
            TarBuilder.archive {
                $0.longName(Array(String(repeating: "a/", count: 1000).utf8))
                $0.file("x")
            }
        },
        Case(name: "link with content", reason: "has content") {
            TarBuilder.archive { $0.add(.init(name: Array("x".utf8), type: "2", link: Array("y".utf8)), content: Array("evil".utf8)) }
        },
        Case(name: "link without target", reason: "no target") { TarBuilder.archive { $0.add(.init(name: Array("x".utf8), type: "2")) } },
        Case(name: "unknown type", reason: "unknown type") { TarBuilder.archive { $0.add(.init(name: Array("x".utf8), type: "Z")) } },
        Case(name: "entry without a name", reason: "no name") { TarBuilder.archive { $0.add(.init(name: [])) } },
        Case(name: "18 file capabilities of a wrong length", reason: "file capabilities") {
            TarBuilder.archive {
                $0.pax([("SCHILY.xattr.security.capability", [1, 0, 0, 2])])
                $0.file("x")
            }
        },
    ]

    @Test(arguments: cases) func isRefused(_ test: Case) throws {
        let fixture = try ExtractionFixture()
        let failure = try #require(throws: UnpackFailure.self) { try fixture.extract(test.archive()) }
        #expect(failure.reason.contains(test.reason), "\(failure.reason)")
        #expect(!failure.reason.utf8.contains { $0 < 0x20 || $0 == 0x7f }, "control characters of an archive in a message")
        try fixture.expectCanaryUntouched()
    }

    @Test("26 a bomb is stopped at the limit") func bomb() throws {
        let fixture = try ExtractionFixture()
        var limits = UnpackLimits(compressedBytes: 0)
        limits.streamBytes = 1 << 20
        let archive = TarBuilder.archive { $0.file("x", String(repeating: "0", count: 3 << 20)) }
        let failure = try #require(throws: UnpackFailure.self) { try fixture.extract(archive, limits: limits) }
        #expect(failure.reason.contains("decompression bomb"))
        try fixture.expectCanaryUntouched()
    }

    @Test("30 too many entries") func entries() throws {
        let fixture = try ExtractionFixture()
        var limits = UnpackLimits(compressedBytes: 0)
        #expect(limits.entries == 1_000_000)
        limits.entries = 100
        let archive = TarBuilder.archive { for index in 0...100 { $0.directory("d\(index)") } }
        let failure = try #require(throws: UnpackFailure.self) { try fixture.extract(archive, limits: limits) }
        #expect(failure.reason.contains("more than 100 entries"))
        try fixture.expectCanaryUntouched()
    }

    @Test("23 an extended header that is too long") func headerBytes() throws {
        let fixture = try ExtractionFixture()
        let archive = TarBuilder.archive {
            $0.pax([("comment", String(repeating: "x", count: 2 << 20))])
            $0.file("x")
        }
        let failure = try #require(throws: UnpackFailure.self) { try fixture.extract(archive) }
        #expect(failure.reason.contains("extended header is longer"))
        try fixture.expectCanaryUntouched()
    }
}
