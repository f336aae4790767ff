import CLinux
import Fuzzing
import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ImageStore

/// A tar archive as a list of entries, spoiled where it hurts: in fields of headers, with the checksum put right again.
private struct SpoiledArchive: Sendable {
    struct Entry: Sendable {
        var header: TarBuilder.Header
        var content: [UInt8] = []
    }

    var entries: [Entry]
    /// Seeds of damage to the finished bytes, checksums and all.
    var damage: [UInt64] = []
    /// Fewer than two blocks end an archive that somebody cut.
    var endBlocks = 2

    var bytes: [UInt8] {
        var builder = TarBuilder()
        for entry in entries { builder.add(entry.header, content: entry.content) }
        var bytes = builder.bytes + [UInt8](repeating: 0, count: 512 * endBlocks)
        for seed in damage {
            var generator = SeededGenerator(seed)
            _ = ByteMutation.apply(&bytes, &generator)
        }
        return bytes
    }

    private static let names =
        [
            "", ".", "..", "/", "./", "../x", "../canary/marker", "../canary", "/../canary/marker", "a/../../canary/marker", "a", "a/", "a/b", "link",
            "link/x", "link/marker", "./a/./b", "a//b", ".wh.", ".wh..", ".wh...", ".wh.a", ".wh..wh..opq", "a/.wh..wh..opq", "a/.wh.b", ".wh./x",
            ".wh.a/b", ".wh..wh.plnk", "dev/null", "proc", "x\0y", "one\ntwo", "\u{202e}", "PaxHeader", "././@LongLink",
        ].map { Array($0.utf8) } + [[0xff, 0xfe], [UInt8](repeating: 0x78, count: 255), [UInt8](repeating: 0x78, count: 256)]
        + [Array(String(repeating: "d/", count: 300).utf8)]
    private static let types = Array("01234567LKxgSVMN\0 A\u{7f}")
    private static let keys = [
        "path", "linkpath", "size", "uid", "gid", "mtime", "atime", "comment", "GNU.sparse.major", "GNU.sparse.name", "SCHILY.xattr.user.a",
        "SCHILY.xattr.security.capability", "SCHILY.xattr.trusted.overlay.opaque", "SCHILY.xattr.user.overlay.redirect", "SCHILY.xattr.", "",
        "hdrcharset",
    ]
    private static let values =
        [
            "", "0", "-1", "1.5", "-1.5", "1e9", "9223372036854775807", "9223372036854775808", "4294967295", "4294967296", "99999999999999999999",
            " 1", "x",
        ]
        .map { Array($0.utf8) }
    private static let fields: [(name: String, offset: Int, length: Int)] = [
        ("mode", 100, 8), ("uid", 108, 8), ("gid", 116, 8), ("size", 124, 12), ("mtime", 136, 12), ("type", 156, 1), ("magic", 257, 8),
        ("prefix", 345, 155), ("uname", 265, 32),
    ]

    /// Changes the archive once and says how.
    mutating func mutate(_ generator: inout SeededGenerator) -> String {
        if generator.once(in: 12) || entries.isEmpty {
            damage.append(generator.next())
            return "damage \(damage.last ?? 0)"
        }
        let position = generator.below(entries.count)
        switch generator.below(11) {
        case 0:
            entries.remove(at: position)
            return "entry \(position) is gone"
        case 1:
            entries.append(entries[position])
            return "entry \(position) again at the end"
        case 2:
            entries.swapAt(position, generator.below(entries.count))
            return "entry \(position) changes places"
        case 3, 4:
            let name = generator.pick(Self.names)
            entries[position].header.name = name
            return "entry \(position) is called \(printable(name))"
        case 5:
            let target = generator.pick(Self.names)
            entries[position].header.link = target
            return "entry \(position) links to \(printable(target))"
        case 6:
            let type = generator.pick(Self.types)
            entries[position].header.type = type
            return "entry \(position) is of type \(printable(String(type).utf8))"
        case 7: return spoilField(position, &generator)
        case 8:
            endBlocks = generator.below(3)
            return "\(endBlocks) blocks at the end"
        case 9:
            entries[position].header.size = generator.pick([0, 1, 511, 513, 1 << 20, 1 << 30, 1 << 33 - 1])
            return "entry \(position) claims \(entries[position].header.size ?? 0) bytes"
        default: return addExtended(before: position, &generator)
        }
    }

    private mutating func spoilField(_ position: Int, _ generator: inout SeededGenerator) -> String {
        let field = generator.pick(Self.fields)
        let fill = generator.pick([
            [UInt8](repeating: 0, count: field.length), [UInt8](repeating: 0xff, count: field.length), [UInt8](repeating: 0x37, count: field.length),
            [0x80] + [UInt8](repeating: 0, count: field.length - 1), [0xc0] + [UInt8](repeating: 0, count: field.length - 1),
            [UInt8](repeating: 0x20, count: field.length), Array("-1".utf8), [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], Array("ustar  \0".utf8),
        ])
        entries[position].header.rawFields.append((field.offset, Array(fill.prefix(field.length))))
        return "\(field.name) of entry \(position) begins with \(fill.prefix(4))"
    }

    private mutating func addExtended(before position: Int, _ generator: inout SeededGenerator) -> String {
        let type: Character = generator.pick(["x", "x", "x", "g", "L", "K"])
        var content: [UInt8] = []
        if type == "L" || type == "K" {
            content = generator.pick(Self.names + [[UInt8](repeating: 0x79, count: 5000)]) + [0]
        } else {
            for _ in 0...generator.below(3) {
                content += TarBuilder.record(generator.pick(Self.keys), generator.pick(Self.values + Self.names))
            }
            if generator.once(in: 4) { _ = ByteMutation.apply(&content, &generator) }
        }
        entries.insert(Entry(header: .init(name: Array("pax".utf8), type: type), content: content), at: position)
        return "extended header \(type) \(printable(content)) before entry \(position)"
    }
}

@Suite("Spoiled archives")
struct ArchiveFuzzTests {
    private static func entry(_ name: String, _ type: Character, link: String = "", _ content: String = "") -> SpoiledArchive.Entry {
        SpoiledArchive.Entry(header: .init(name: Array(name.utf8), type: type, link: Array(link.utf8)), content: Array(content.utf8))
    }

    private static let corpus: [(name: String, input: SpoiledArchive)] = [
        (
            "a layer",
            SpoiledArchive(entries: [
                entry("a/", "5"), entry("a/b", "0", "hello"), entry("link", "2", link: "a"), entry("hard", "1", link: "a/b"), entry("pipe", "6"),
                entry("a/.wh.old", "0"), entry("null", "3"), entry("big", "0", String(repeating: "x", count: 1500)),
            ])
        ),
        (
            "links that lead out",
            SpoiledArchive(entries: [
                entry("link", "2", link: "../canary"), entry("link/marker", "0", "spoiled"), entry("up", "2", link: ".."),
                entry("up/canary/x", "0", "spoiled"), entry("a", "1", link: "link/marker"), entry("a/.wh..wh..opq", "0"),
            ])
        ),
        ("nothing", SpoiledArchive(entries: [])),
    ]

    private func refusing(_ body: () throws -> Void) throws -> FuzzVerdict {
        do {
            try body()
            return .accepted
        } catch let failure as UnpackFailure {
            // One sentence for people, whatever the names are.
            let isClean = failure.reason.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f && $0.value != 0x202e }
            guard isClean, (8..<3000).contains(failure.reason.utf8.count) else {
                throw FuzzFinding("a refusal that is no sentence: \(failure.reason)")
            }
            return .refused
        }
    }

    /// A file in memory, at its beginning.
    private func file(_ bytes: [UInt8]) throws -> FileDescriptor {
        let file = FileDescriptor(owning: try retrying("memfd_create") { cl_memfd_create("fuzz", 1) })
        try file.writeAll(bytes)
        let raw = file.rawValue
        try retrying("lseek") { Int32(truncatingIfNeeded: lseek(raw, 0, SEEK_SET)) }
        return file
    }

    @Test func reading() {
        let result = Fuzzer("tar headers", corpus: Self.corpus, mostMutations: 5) { $0.mutate(&$1) }.run(8000) { archive in
            try refusing {
                let bytes = archive.bytes
                let file = try file(bytes)
                let limits = UnpackLimits(compressedBytes: Int64(bytes.count))
                let reader = TarReader(ByteSource(file.rawValue, hashing: nil), limits: limits)
                var content: Int64 = 0
                while let entry = try reader.next() {
                    guard !entry.path.isEmpty, entry.path.count <= limits.pathBytes, entry.size >= 0 else { throw FuzzFinding("entry \(entry)") }
                    guard entry.user != .max, entry.group != .max else { throw FuzzFinding("an owner that is none: \(entry)") }
                    try reader.content { content += Int64($0.count) }
                }
                if content > Int64(bytes.count) { throw FuzzFinding("more content than there are bytes") }
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func extracting() {
        let result = Fuzzer("layers", corpus: Self.corpus, mostMutations: 3) { $0.mutate(&$1) }.run(800) { archive in
            let fixture = try ExtractionFixture()
            let verdict = try refusing { try fixture.extract(archive.bytes) }
            try fixture.expectCanaryUntouched("\(archive.entries.map { printable($0.header.name) })")
            return verdict
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func streams() {
        let plain: [UInt8] = (0..<6000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
        let corpus = [
            ("gzip", Compressed.gzip(plain)), ("gzip, two members", Compressed.gzip(plain) + Compressed.gzip([1])), ("zstd", Compressed.zstd(plain)),
            ("zstd, two frames", Compressed.zstd(plain) + Compressed.zstd([1])),
        ].map { (name: $0.0, input: $0.1) }
        let result = Fuzzer("compressed streams", corpus: corpus, mostMutations: 3, mutate: ByteMutation.apply).run(3000) { bytes in
            try refusing {
                let source = try file(bytes)
                let output = try file([])
                var input = StreamInput(source.rawValue)
                switch try StreamFormat.compression(of: try input.peek(StreamFormat.magicBytes)) {
                case .gzip: try GzipStream.decompress(from: &input, to: output.rawValue)
                case .zstd: try ZstandardStream.decompress(from: &input, to: output.rawValue)
                case .none: break
                }
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }
}
