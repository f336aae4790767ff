import OCISpec
import PullMessages
import StrictJSON
import Testing

@Suite("Messages of a pull")
struct PullMessagesTests {
    let digest: Digest

    init() throws { digest = try #require(Digest("sha256:" + String(repeating: "a", count: 64))) }

    @Test func requestsSurviveTheWay() throws {
        let image = try ImageReference(parsing: "nginx")
        let plain = PullRequest(image: image, store: "/s")
        #expect(try PullRequest(decoding: plain.encoded()) == plain)
        let full = PullRequest(
            image: image, platform: Platform(os: "linux", architecture: "arm64", variant: "v8"), store: "/s",
            credentials: PullCredentials(option: "alice:a:\"b"), verifiesTLS: false, certificateDirectory: "/certs")
        #expect(try PullRequest(decoding: full.encoded()) == full)
        #expect(full.image == "docker.io/library/nginx:latest")
    }

    @Test func messagesSurviveTheWay() throws {
        let events: [LayerEvent] = [
            .waiting, .exists, .downloading(done: 1, total: 2), .retrying(reason: "lost"), .downloaded, .extracting(done: 0, total: .max), .complete,
        ]
        let result = PullResult(image: try ImageReference(parsing: "a/b"), digest: digest, wasUpToDate: true)
        let messages =
            events.map { PullMessage.layer(digest, $0) } + [
                .warning("w"), .done(result), .failed(PullFailure("no")), .failed(PullFailure("interrupted", signal: 2)),
            ]
        for message in messages { #expect(try PullMessage(decoding: message.encoded()) == message) }
    }

    @Test func whatCannotBeIsRefused() throws {
        #expect(throws: PullMessageError.unknownKind) { try PullMessage(decoding: []) }
        #expect(throws: PullMessageError.unknownKind) { try PullMessage(decoding: [9, 0x7b, 0x7d]) }
        let half = Array(#"{"digest":"\#(digest)","kind":"downloading","done":1}"#.utf8)
        #expect(throws: PullMessageError.incompleteEvent) { try PullMessage(decoding: [1] + half) }
        #expect(throws: (any Error).self) { try PullMessage(decoding: [3] + Array("{}".utf8)) }
        #expect(throws: (any Error).self) { try PullRequest(decoding: Array("{}".utf8)) }
        let request = PullRequest(image: try ImageReference(parsing: "a"), store: String(repeating: "s", count: PullMessage.limit))
        #expect(throws: PullMessageError.tooLong) { try request.encoded() }
    }

    @Test func textsHaveABound() throws {
        let long = String(repeating: "é", count: 100_000)
        for message in [PullMessage.warning(long), .failed(PullFailure(long)), .layer(digest, .retrying(reason: long))] {
            #expect(try message.encoded().count < PullMessage.limit)
        }
    }

    @Test func credentialsAreNotPrinted() throws {
        let credentials = try #require(PullCredentials(option: "alice:s3cret"))
        #expect(!"\(credentials) \(String(reflecting: credentials))".contains("s3cret"))
        #expect(PullCredentials(option: "alice") == nil)
        #expect(PullCredentials(option: ":x") == nil)
    }
}
