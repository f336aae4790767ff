/// The machine that an image is made for (OCI image index, "platform").
public struct Platform: Codable, Sendable, Hashable, CustomStringConvertible {
    /// GOARCH: "amd64", "arm64", …
    public var architecture: String
    /// GOOS: "linux".
    public var os: String
    public var variant: String?
    public var osVersion: String?
    public var osFeatures: [String]?

    enum CodingKeys: String, CodingKey {
        case architecture, os, variant
        case osVersion = "os.version"
        case osFeatures = "os.features"
    }

    public init(os: String, architecture: String, variant: String? = nil) {
        self.os = os
        self.architecture = architecture
        self.variant = variant
    }

    /// Parses `os/architecture[/variant]` or `architecture` alone, as `--platform` takes it.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isWord: (String) -> Bool = { part in
            !part.isEmpty
                && part.utf8.allSatisfy { ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7a || $0 >= 0x30 && $0 <= 0x39 || $0 == 0x5f || $0 == 0x2e }
        }
        guard parts.allSatisfy(isWord), parts.count <= 3 else { return nil }
        switch parts.count {
        case 1: self.init(os: "linux", architecture: Platform.goName(parts[0]))
        case 2: self.init(os: parts[0].lowercased(), architecture: Platform.goName(parts[1]))
        default: self.init(os: parts[0].lowercased(), architecture: Platform.goName(parts[1]), variant: parts[2].lowercased())
        }
    }

    /// What this program runs on.
    public static let current: Platform = {
        #if arch(x86_64)
            return Platform(os: "linux", architecture: "amd64")
        #elseif arch(arm64)
            return Platform(os: "linux", architecture: "arm64", variant: "v8")
        #else
            #error("Coffer supports x86-64 and aarch64")
        #endif
    }()

    /// Kernel and distribution names of architectures, in Go's words.
    private static func goName(_ name: String) -> String {
        switch name.lowercased() {
        case "x86_64", "x86-64": "amd64"
        case "aarch64": "arm64"
        case "i386", "i686", "x86": "386"
        case "armhf", "armel": "arm"
        default: name.lowercased()
        }
    }

    /// Whether an image for `self` serves a request for `wanted`. arm64 without variant is v8.
    public func satisfies(_ wanted: Platform) -> Bool {
        guard os == wanted.os, architecture == wanted.architecture else { return false }
        let normal: (String?) -> String = { $0 ?? (architecture == "arm64" ? "v8" : "") }
        return wanted.variant == nil || normal(variant) == normal(wanted.variant)
    }

    public var description: String { ([os, architecture] + [variant].compactMap { $0 }).joined(separator: "/") }
}
