import OCISpec
import Testing

@Suite struct ImageReferenceTests {
    private static let digest = "sha256:" + String(repeating: "0123456789abcdef", count: 4)

    @Test(
        arguments: [
            ("nginx", "docker.io/library/nginx:latest", "nginx"),
            ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx"),
            ("user/app", "docker.io/user/app:latest", "user/app"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx"),
            ("localhost/app", "localhost/app:latest", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app"),
            ("quay.io/a/b/c__d/e---f", "quay.io/a/b/c__d/e---f:latest", "quay.io/a/b/c__d/e---f"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app"),
            ("Host/app", "Host/app:latest", "Host/app"),
            ("a-b/app", "docker.io/a-b/app:latest", "a-b/app"),
            ("x:5000", "docker.io/library/x:5000", "x"),
        ] as [(String, String, String)])
    func completesNames(text: String, full: String, familiar: String) throws {
        let reference = try ImageReference(parsing: text)
        #expect(reference.description == full)
        #expect(reference.familiarName == familiar)
        #expect(try ImageReference(parsing: full) == reference)
    }

    @Test func digestsReplaceTheDefaultTag() throws {
        let pinned = try ImageReference(parsing: "nginx@\(Self.digest)")
        #expect(pinned.tag == nil)
        #expect(pinned.digest?.description == Self.digest)
        let both = try ImageReference(parsing: "quay.io/a/b:v1@\(Self.digest)")
        #expect(both.tag == "v1")
        #expect(both.description == "quay.io/a/b:v1@\(Self.digest)")
    }

    @Test(
        arguments: [
            ("Nginx", "invalid reference format: repository name (library/Nginx) must be lowercase"),
            ("quay.io/Foo/bar", "invalid reference format: repository name (Foo/bar) must be lowercase"),
            ("", "invalid reference format: the name is empty"),
            ("a b", "invalid reference format: the name has spaces or characters that are not ASCII"),
            (
                "nginx:", "invalid reference format: the tag () is not 1 to 128 letters, digits, dots, dashes and underscores"
            ),
            ("a@sha256:12", "invalid reference format: what follows the @ in a@sha256:12 is not a sha256 or sha512 digest"),
            ("-host.x/a", "invalid reference format: -host.x is not a registry's host name"),
        ] as [(String, String)])
    func explainsWhatIsWrong(text: String, message: String) {
        let error = #expect(throws: ImageReferenceError.self) { try ImageReference(parsing: text) }
        #expect(error?.description == message)
    }

    /// Each would end up in an address or in a path if it were accepted.
    @Test(arguments: [
        "../../etc/passwd", "a/../b", "a//b", "/a", "a/", "a..b", "a___b", "a/-b", "a_", ".a", "nginx:-x", "nginx:.x", "a:b:c/d",
        "host:99999/a", "host:/a", "https://quay.io/a", "a@b", "a?b", "a#b", "a%2fb", "user@host/a", "é", "a\u{0}", "a\nb",
        "[::1/a", "[x%]:1/a", String(repeating: "a", count: 300), String(repeating: "0123456789abcdef", count: 4),
        "a:" + String(repeating: "t", count: 129), "a@sha256:" + String(repeating: "G", count: 64),
        "a@md5:" + String(repeating: "a", count: 32), "a@sha256:" + String(repeating: "A", count: 64),
    ])
    func refusesHostileNames(text: String) {
        #expect(throws: ImageReferenceError.self) { try ImageReference(parsing: text) }
    }
}
