import ContainerEngine
import Glibc
import ImageStore
import OCISpec
import Rendering

/// The rows of `coffer images`: one for each name of an image.
enum ImageListing {
    struct Row {
        let image: StoredImage
        /// "nginx"; nil for an image without a name.
        let repository: String?
        let tag: String?
        /// The digest that the registry knows this repository's image by.
        let digest: String?

        /// - Parameter truncated: Shortens the ID.
        func value(truncated: Bool) -> TemplateValue {
            let created = image.configuration.created.flatMap { Timestamp(rfc3339: $0) }
            let size = HumanUnits.size(UInt64(max(0, image.size)))
            return .object([
                ("Containers", "N/A"),
                ("CreatedAt", .string(created?.goText ?? "")),
                ("CreatedSince", .string(created.map { HumanUnits.since($0) } ?? "N/A")),
                ("Digest", .string(digest ?? "<none>")),
                ("ID", .string(truncated ? image.id.short : image.id.description)),
                ("Repository", .string(repository ?? "<none>")),
                ("SharedSize", "N/A"),
                ("Size", .string(size)),
                ("Tag", .string(tag ?? "<none>")),
                ("UniqueSize", "N/A"),
                ("VirtualSize", .string(size)),
            ])
        }
    }

    static func listing(digests: Bool) -> Listing {
        Listing(
            columns: [
                .init("Containers", "CONTAINERS"), .init("CreatedAt", "CREATED AT"), .init("CreatedSince", "CREATED"),
                .init("Digest", "DIGEST"), .init("ID", "IMAGE ID"), .init("Repository", "REPOSITORY"),
                .init("SharedSize", "SHARED SIZE"), .init("Size", "SIZE"), .init("Tag", "TAG"), .init("UniqueSize", "UNIQUE SIZE"),
                .init("VirtualSize", "SIZE"),
            ],
            defaultColumns: ["Repository", "Tag"] + (digests ? ["Digest"] : []) + ["ID", "CreatedSince", "Size"],
            rowType: "*formatter.imageContext")
    }

    static func rows(of image: StoredImage) -> [Row] {
        // Digests by repository: "docker.io/library/nginx" to "sha256:…".
        var digests: [String: String] = [:]
        for text in image.repositoryDigests {
            guard let at = text.firstIndex(of: "@") else { continue }
            digests[String(text[..<at])] = String(text[text.index(after: at)...])
        }
        var rows = image.references.map { reference in
            Row(image: image, repository: reference.familiarName, tag: reference.tag, digest: digests[reference.name])
        }
        let named = Set(image.references.map(\.name))
        for (name, digest) in digests.sorted(by: { $0.key < $1.key }) where !named.contains(name) {
            rows.append(Row(image: image, repository: familiar(name), tag: nil, digest: digest))
        }
        return rows.isEmpty ? [Row(image: image, repository: nil, tag: nil, digest: nil)] : rows
    }

    private static func familiar(_ name: String) -> String {
        do { return try ImageReference(parsing: name).familiarName } catch { return name }
    }
}

/// What `coffer images` shows: `--filter` and the repository.
struct ImageFilter {
    private var isDangling: Bool?
    private var labels: [(name: String, value: String?)] = []
    private var patterns: [[String]] = []
    private var before: String?
    private var since: String?

    /// - Throws: `EngineError` for a filter that does not exist, `ImageStoreError` for an image that does not.
    init(_ filters: [String], repository: String?, in store: ImageStore) throws {
        var references: [String] = []
        for filter in filters {
            guard let separator = filter.firstIndex(of: "=") else {
                throw EngineError("invalid filter '\(filter)'", remedy: "write NAME=VALUE", code: .failure)
            }
            let value = String(filter[filter.index(after: separator)...])
            switch filter[..<separator] {
            case "dangling":
                guard let flag = ["true": true, "1": true, "false": false, "0": false][value] else {
                    throw EngineError("invalid filter 'dangling=\(value)'", remedy: "write true or false", code: .failure)
                }
                isDangling = flag
            case "label":
                let parts = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                labels.append((parts[0], parts.count > 1 ? parts[1] : nil))
            case "reference": references.append(value)
            case "before": before = try store.resolve(value).configuration.created ?? ""
            case "since": since = try store.resolve(value).configuration.created ?? ""
            default:
                throw EngineError(
                    "invalid filter '\(filter[..<separator])'", remedy: "there are dangling, label, reference, before and since",
                    code: .failure)
            }
        }
        if !references.isEmpty { patterns.append(references) }
        if let repository { patterns.append([repository]) }
    }

    func accepts(_ image: StoredImage) -> Bool {
        if let isDangling, image.references.isEmpty != isDangling { return false }
        let created = image.configuration.created ?? ""
        if let before, created >= before { return false }
        if let since, created <= since { return false }
        let own = image.configuration.config?.labels ?? [:]
        return labels.allSatisfy { label in own[label.name].map { label.value == nil || $0 == label.value } ?? false }
    }

    func accepts(_ row: ImageListing.Row) -> Bool {
        patterns.allSatisfy { alternatives in alternatives.contains { matches($0, row) } }
    }

    /// A pattern names the repository, the repository with its tag, or the full name of either.
    private func matches(_ pattern: String, _ row: ImageListing.Row) -> Bool {
        guard let repository = row.repository else { return false }
        var names = [repository, "docker.io/\(repository)", "docker.io/library/\(repository)"]
        if let tag = row.tag { names += names.map { "\($0):\(tag)" } }
        if let digest = row.digest { names += names.prefix(3).map { "\($0)@\(digest)" } }
        return names.contains { fnmatch(pattern, $0, FNM_PATHNAME) == 0 }
    }
}
