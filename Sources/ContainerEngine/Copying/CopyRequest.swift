import Glibc
import ImageStore
import LaunchPlan
import LinuxKernel
import OCISpec
import StrictJSON

/// What the child of a `cp` is told: which tree, and what to do in it.
struct CopyRequest: Codable, Sendable {
    enum Direction: Codable, Sendable {
        /// Write `path` as a tar stream to standard output.
        case out(path: String, follow: Bool)
        /// Read a tar stream from standard input; `source` is the name of its one top entry, nil for a stream of the user's.
        case into(path: String, source: CopySource?, keepsOwners: Bool)
    }

    var direction: Direction
    /// The container's first process; 0 where it does not run.
    var pid: Int32
    /// The root of a container that does not run.
    var overlay: OverlayRoot
    var uidMappings: [RuntimeSpec.IDMapping]
    var gidMappings: [RuntimeSpec.IDMapping]

    var maps: IDMaps? {
        func lines(_ maps: [RuntimeSpec.IDMapping]) -> [IDMapping] {
            maps.map { IDMapping(inside: $0.containerID, outside: $0.hostID, count: $0.size) }
        }
        return uidMappings.isEmpty ? nil : IDMaps(users: lines(uidMappings), groups: lines(gidMappings))
    }
}

/// The one file or directory that is copied.
public struct CopySource: Codable, Sendable, Equatable {
    public var name: String
    public var isDirectory: Bool
    /// "DIR/.": the content, not the directory.
    public var contentOnly: Bool

    public init(name: String, isDirectory: Bool, contentOnly: Bool) {
        self.name = name
        self.isDirectory = isDirectory
        self.contentOnly = contentOnly
    }
}

/// Where a copy goes, by the rules of docker-cp(1).
public struct CopyTarget: Equatable, Sendable {
    /// The directory that is written to.
    public let directory: String
    /// What the source is called there; "" puts its content into the directory itself.
    public let name: String

    /// - Parameters:
    ///   - path: as the user wrote it; a slash at the end demands a directory.
    ///   - exists: what is at a path: true for a directory, false for something else, nil for nothing.
    public init(_ path: String, for source: CopySource, exists: (String) throws -> Bool?) throws {
        let clean = normalised(path)
        if try exists(clean) == true {
            directory = clean
            name = source.contentOnly ? "" : source.name
            return
        }
        let slash = clean.lastIndex(of: "/") ?? clean.startIndex
        directory = slash == clean.startIndex ? "/" : String(clean[..<slash])
        name = String(clean[clean.index(after: slash)...])
        if try exists(clean) == false {
            if source.isDirectory { throw EngineError("cannot copy a directory to \(path), which is a file", code: .failure) }
            if path.hasSuffix("/") { throw EngineError("\(path) is not a directory", code: .failure) }
        } else {
            if path.hasSuffix("/"), !source.isDirectory { throw EngineError("no such directory: \(path)", code: .failure) }
            if try exists(directory) != true { throw EngineError("no such directory: \(directory)", code: .failure) }
        }
    }
}
