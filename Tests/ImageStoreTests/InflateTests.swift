import Glibc
import LinuxKernel
import OCISpec
import Testing

@testable import ImageStore

/// Decompression through its own confined process.
@Suite(.serialized) struct InflateTests {
    static let sample: [UInt8] = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }

    private func inflate(_ bytes: [UInt8], _ algorithm: String) throws -> (output: [UInt8], complaint: String?) {
        let fixture = try StoreFixture()
        let source = try FileDescriptor.open(try fixture.write("stream", bytes), O_RDONLY)
        let inflater = try Inflater.start(StoreFixture.program, algorithm, source)
        let output = FileDescriptor(owning: inflater.output.release())
        return (try output.readAll(limit: 64 << 20), try inflater.finish())
    }

    @Test(arguments: [MediaType.Compression.gzip, .zstd]) func roundTrip(_ compression: MediaType.Compression) throws {
        let stored = compression == .gzip ? Compressed.gzip(Self.sample) : Compressed.zstd(Self.sample)
        for algorithm in [compression.rawValue, InflateProgram.detect] {
            let (output, complaint) = try inflate(stored, algorithm)
            #expect(complaint == nil)
            #expect(output == Self.sample)
        }
    }

    @Test func plainStreamPassesDetection() throws {
        let (output, complaint) = try inflate(Self.sample, InflateProgram.detect)
        #expect(complaint == nil)
        #expect(output == Self.sample)
    }

    /// Members of every small length, so that their ends meet the reader's buffer at many places.
    @Test func concatenatedMembers() throws {
        var stored: [UInt8] = []
        var plain: [UInt8] = []
        for length in (0..<300) + [70_000, 300_000, 1] {
            let part = Array(Self.sample.prefix(length))
            stored += Compressed.gzip(part)
            plain += part
        }
        let gzip = try inflate(stored, "gzip")
        #expect(gzip.complaint == nil)
        #expect(gzip.output == plain)
        let frames = try inflate(Compressed.zstd(Self.sample) + [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3] + Compressed.zstd([7]), "zstd")
        #expect(frames.complaint == nil)
        #expect(frames.output == Self.sample + [7])
    }

    @Test(arguments: ["gzip", "zstd"]) func damage(_ algorithm: String) throws {
        let stored = algorithm == "gzip" ? Compressed.gzip(Self.sample) : Compressed.zstd(Self.sample)
        for length in [1, 9, stored.count / 2, stored.count - 1] {
            #expect(try inflate(Array(stored.prefix(length)), algorithm).complaint?.contains("truncated") == true, "first \(length) bytes")
        }
        #expect(try inflate([], algorithm).complaint?.contains("empty") == true)
        #expect(try inflate(stored + Array("garbage".utf8), algorithm).complaint != nil)
        #expect(try inflate(Array("plain text, not compressed".utf8), algorithm).complaint != nil)
    }

    @Test func gzipChecksumIsVerified() throws {
        var stored = Compressed.gzip(Self.sample)
        stored[stored.count - 6] ^= 1  // CRC-32
        #expect(try inflate(stored, "gzip").complaint?.contains("wrong checksum") == true)
        stored = Compressed.gzip(Self.sample)
        stored[stored.count - 1] ^= 1  // length
        #expect(try inflate(stored, "gzip").complaint?.contains("wrong checksum") == true)
    }

    @Test func foreignCompressionIsNamed() throws {
        #expect(try inflate([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4], InflateProgram.detect).complaint?.contains("xz") == true)
        #expect(try inflate(Array("BZh91AY".utf8), InflateProgram.detect).complaint?.contains("bzip2") == true)
    }
}
