import OCISpec
import StrictJSON

/// What `coffer-registry` tells `coffer` during a pull (unix SOCK_SEQPACKET): one byte for the kind, then JSON.
///
///     coffer            PullRequest →
///     coffer-registry              ← layer, warning    any number, in order for each layer
///                                  ← done | failed     once, then it ends
///
/// A connection that closes without the last one is a program that was killed.
public enum PullMessage: Sendable, Equatable {
    case layer(Digest, LayerEvent)
    case warning(String)
    case done(PullResult)
    case failed(PullFailure)

    /// Bytes of a packet, of a request's too.
    public static let limit = 65536
    /// Characters of a text: a registry may have had a word in it.
    static let longestText = 4096

    public func encoded() throws -> [UInt8] {
        let encoder = StrictJSONEncoder()
        let bytes =
            switch self {
            case .layer(let digest, let event): [1] + (try encoder.encode(LayerReport(digest, event)))
            case .warning(let text): [2] + (try encoder.encode(Warning(text: String(text.prefix(Self.longestText)))))
            case .done(let result): [3] + (try encoder.encode(result))
            case .failed(let failure): [4] + (try encoder.encode(failure))
            }
        return try Self.bounded(bytes)
    }

    public init(decoding bytes: [UInt8]) throws {
        let decoder = StrictJSONDecoder()
        let body = Array(bytes.dropFirst())
        switch bytes.first {
        case 1:
            let report = try decoder.decode(LayerReport.self, from: body)
            self = .layer(report.digest, try report.event)
        case 2: self = .warning(try decoder.decode(Warning.self, from: body).text)
        case 3: self = .done(try decoder.decode(PullResult.self, from: body))
        case 4: self = .failed(try decoder.decode(PullFailure.self, from: body))
        default: throw PullMessageError.unknownKind
        }
    }

    static func bounded(_ bytes: [UInt8]) throws(PullMessageError) -> [UInt8] {
        if bytes.count > limit { throw .tooLong }
        return bytes
    }
}

/// A packet between the two programs that cannot be.
public enum PullMessageError: Error, Sendable, Equatable {
    case tooLong, unknownKind, incompleteEvent
}

/// What happens to a layer during a pull.
public enum LayerEvent: Sendable, Equatable {
    case waiting
    case exists
    /// Bytes that are there, and bytes in all.
    case downloading(done: Int64, total: Int64)
    /// Another attempt follows, for this reason.
    case retrying(reason: String)
    case downloaded
    /// Bytes of the layer as it was downloaded.
    case extracting(done: Int64, total: Int64)
    /// Extracted.
    case complete
}

/// An image that was pulled.
public struct PullResult: Codable, Sendable, Equatable {
    /// The full name that was pulled.
    public var image: String
    /// What the registry knows the name by: the digest of the index, where there is one.
    public var digest: Digest
    /// Whether the store had this image under this name already.
    public var wasUpToDate: Bool

    public init(image: ImageReference, digest: Digest, wasUpToDate: Bool) {
        self.image = image.description
        self.digest = digest
        self.wasUpToDate = wasUpToDate
    }
}

/// Why an image could not be pulled.
public struct PullFailure: Error, Codable, Sendable, Equatable, CustomStringConvertible {
    /// One sentence for the user.
    public var message: String
    /// The signal that ended it; nil for every other reason.
    public var signal: Int32?
    public var description: String { message }

    public init(_ message: String, signal: Int32? = nil) {
        self.message = String(message.prefix(PullMessage.longestText))
        self.signal = signal
    }

    /// A signal ended the pull.
    public static func interrupted(_ image: String, signal: Int32) -> PullFailure {
        PullFailure("the pull of \(image) was interrupted; nothing of it was kept", signal: signal)
    }
}

private struct Warning: Codable {
    var text: String
}

/// `LayerEvent` as it travels.
private struct LayerReport: Codable {
    enum Kind: String, Codable { case waiting, exists, downloading, retrying, downloaded, extracting, complete }
    var digest: Digest
    var kind: Kind
    var done: Int64?
    var total: Int64?
    var reason: String?

    init(_ digest: Digest, _ event: LayerEvent) {
        self.digest = digest
        switch event {
        case .waiting: kind = .waiting
        case .exists: kind = .exists
        case .downloading(let done, let total): (kind, self.done, self.total) = (.downloading, done, total)
        case .retrying(let reason): (kind, self.reason) = (.retrying, String(reason.prefix(PullMessage.longestText)))
        case .downloaded: kind = .downloaded
        case .extracting(let done, let total): (kind, self.done, self.total) = (.extracting, done, total)
        case .complete: kind = .complete
        }
    }

    var event: LayerEvent {
        get throws(PullMessageError) {
            switch (kind, done, total, reason) {
            case (.waiting, _, _, _): return .waiting
            case (.exists, _, _, _): return .exists
            case (.downloading, let done?, let total?, _): return .downloading(done: done, total: total)
            case (.retrying, _, _, let reason?): return .retrying(reason: reason)
            case (.downloaded, _, _, _): return .downloaded
            case (.extracting, let done?, let total?, _): return .extracting(done: done, total: total)
            case (.complete, _, _, _): return .complete
            default: throw .incompleteEvent
            }
        }
    }
}
