import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ImageStore

@Suite(.serialized, .enabled(if: geteuid() == 0, "whiteouts of other owners")) struct ChangesTests {
    /// Three trees: a base, a layer above it that deletes and hides, and an upper directory.
    @Test func upperIsComparedWithMergedLayers() throws {
        let base = try ExtractionFixture()
        try base.extract(
            TarBuilder.archive {
                for name in ["etc/kept", "etc/edited", "etc/removed", "gone/x", "hidden/old", "opaque/old"] { $0.file(name, "1") }
                $0.file("was-file")
            })
        let middle = try ExtractionFixture()
        try middle.extract(
            TarBuilder.archive {
                $0.file(".wh.gone")
                $0.file("hidden/.wh..wh..opq")
                $0.file("hidden/new")
            })
        let upper = try ExtractionFixture()
        try upper.extract(
            TarBuilder.archive {
                $0.file("etc/edited", "2")
                $0.file("etc/.wh.removed")
                $0.file("etc/.wh.never-was")
                $0.file("etc/added")
                $0.file("gone/x", "again")
                $0.file("hidden/old", "again")
                $0.file("opaque/.wh..wh..opq")
                $0.file("opaque/old", "again")
                $0.directory("was-file")
            })
        let changes = try TreeOperations().changes(upper: upper.layer, lowers: [middle.layer, base.layer])
        #expect(
            changes.map { "\($0.kind.rawValue) \($0.path)" } == [
                "C /etc", "A /etc/added", "C /etc/edited", "D /etc/removed", "A /gone", "A /gone/x", "C /hidden", "A /hidden/old",
                "C /opaque", "A /opaque/old", "C /was-file",
            ])
    }

    @Test func diskUsageCountsHardLinksOnce() throws {
        let fixture = try ExtractionFixture()
        try fixture.extract(
            TarBuilder.archive {
                $0.file("a", String(repeating: "x", count: 1 << 20))
                $0.hardLink("b", to: "a")
                $0.symbolicLink("c", to: "/")
            })
        let usage = try TreeOperations().diskUsage(fixture.layer)
        #expect(usage >= 1 << 20 && usage < 2 << 20)
    }

    @Test func overlayDirectoriesBelongToTheirOwner() throws {
        let fixture = try ExtractionFixture()
        let paths = ["upper", "work"].map { "\(fixture.layer)/\($0)" }
        try TreeOperations().makeOverlayDirectories(paths, owner: 123_456)
        #expect(fixture.status("upper")?.st_uid == 123_456 && fixture.status("work")?.st_gid == 123_456)
        // Never through what is there already, be it a link.
        try retrying("symlink") { symlink(fixture.canary, "\(fixture.layer)/link") }
        #expect(throws: (any Error).self) { try TreeOperations().makeOverlayDirectories(["\(fixture.layer)/link"], owner: 1) }
        try fixture.expectCanaryUntouched()
    }
}
