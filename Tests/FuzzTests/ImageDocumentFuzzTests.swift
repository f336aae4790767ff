import Fuzzing
import OCISpec
import StrictJSON
import Testing

/// Spoiled manifests, indexes and configurations of images, and names of images.
@Suite("Spoiled documents of images")
struct ImageDocumentFuzzTests {
    private func refusing(_ body: () throws -> Void) throws -> FuzzVerdict {
        do {
            try body()
            return .accepted
        } catch let finding as FuzzFinding {
            throw finding
        } catch {
            try Refusal.check(error)
            return .refused
        }
    }

    private func sameAgain<Value: Codable & Equatable>(_ value: Value) throws {
        let again = try StrictJSONDecoder().decode(Value.self, from: try StrictJSONEncoder().encode(value))
        if again != value { throw FuzzFinding("what is written is not what was read") }
    }

    @Test func documents() throws {
        let corpus = try Corpus.documents(Corpus.image)
        let words = Corpus.words(corpus)
        let here = Platform(os: "linux", architecture: "arm64", variant: "v8")
        let result = Fuzzer("image documents", corpus: corpus) { $0.mutate(&$1, words: words) }.run(12_000) { document in
            let bytes = document.bytes
            let asImage = try refusing {
                switch try StrictJSONDecoder().decode(ImageDocument.self, from: bytes) {
                case .manifest(let manifest): try sameAgain(manifest)
                case .index(let index):
                    try sameAgain(index)
                    if let entry = index.entry(for: here), ![.manifest, .index].contains(entry.mediaType.kind) {
                        throw FuzzFinding("an entry that is no image was chosen")
                    }
                }
                // Two readers must not see two images in it (GHSA-5j5w-g665-5m35).
                let members = try JSONParser().parse(bytes)
                if members["manifests"] != nil, members["layers"] != nil || members["config"] != nil { throw FuzzFinding("an ambiguous document") }
            }
            let asConfiguration = try refusing { try sameAgain(try StrictJSONDecoder().decode(ImageConfiguration.self, from: bytes)) }
            return asImage == .accepted || asConfiguration == .accepted ? .accepted : .refused
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }

    @Test func names() {
        let names = [
            "nginx", "docker.io/library/nginx:1.2-a_b", "localhost:5000/a/b__c/d-e.f:tag", "[::1]:5000/a", "a.b/c@sha256:\(Corpus.hex)",
            "x/y:t@sha512:\(Corpus.hex)\(Corpus.hex)",
        ]
        let corpus = names.map { (name: $0, input: Array($0.utf8)) }
        let result = Fuzzer("image names", corpus: corpus, mostMutations: 3, mutate: ByteMutation.apply).run(20_000) { bytes in
            try refusing {
                let text = String(decoding: bytes, as: UTF8.self)
                let reference = try ImageReference(parsing: text)
                if try ImageReference(parsing: reference.description) != reference {
                    throw FuzzFinding("\(reference) is another name when read again")
                }
                // What becomes part of a path or of a request must be nothing but a name (CVE-2024-3727).
                let parts = reference.repository.split(separator: "/", omittingEmptySubsequences: false)
                if parts.contains("") || parts.contains(".") || parts.contains("..") || reference.registry.contains("/") {
                    throw FuzzFinding("\(reference) has a part that leads elsewhere")
                }
            }
        }
        #expect(result.findings == [])
        #expect(result.isTelling())
    }
}
